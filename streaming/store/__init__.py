"""The event store: its tables, its one writer per batch, its readers and its upkeep."""
