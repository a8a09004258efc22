"""Builds of partitions: events are read, rows computed, audited and written."""
