"""The batch half: tables, partitions and polars transforms over the stored events.

Empty until Dagster joins; no thread, socket or Kafka consumer ever lives here.
"""
