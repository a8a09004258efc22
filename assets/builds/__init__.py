"""How a partition of a table is built: read, computed, audited, written."""
