"""Kafka seen from our clients: names, configurations, connection checks, topics and positions."""
