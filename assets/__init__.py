"""The batch half: tables, partitions and polars transforms over the stored events.

No thread, socket or Kafka client is here; sensors and schedules are in `orchestration`.
"""
