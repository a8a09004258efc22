"""The contracts of the topics as pure functions: no I/O, no clock, no Kafka client."""
