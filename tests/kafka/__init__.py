"""Tests of the connection to Kafka."""
