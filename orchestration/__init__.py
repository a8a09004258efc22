"""Dagster's automation and the composed command line; no computation, SQL or Kafka client."""
