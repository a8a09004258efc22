"""The whole command line, composed from the packages below; no computation, SQL or Kafka client."""
