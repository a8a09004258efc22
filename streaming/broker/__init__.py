"""The embedded broker: Apache Kafka itself, from its own jars on a Java that pip brought."""
