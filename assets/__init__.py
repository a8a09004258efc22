"""The batch half: tables, partitions and polars transforms over the stored events.

No thread, socket or Kafka consumer ever lives here.
"""
