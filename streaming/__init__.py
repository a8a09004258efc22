"""The live half: event contracts, Kafka clients, the three apps, event store, embedded broker.

Nothing here imports `assets`, `orchestration` or dagster.
"""
