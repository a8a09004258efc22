"""The event store: its tables, its one writer per batch, its readers, backup and migrations."""
