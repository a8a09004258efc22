"""Pure functions from a record to an event or a refusal; no I/O, no clock, no Kafka client."""
