"""Waiting for the schemas of a batch: a registry that is away pauses the worker, and no more.

What is asked, and how often, is in `kafka.registry`. How framed values are read is in `events`.
"""

from collections.abc import Sequence

from streaming.errors import Unavailable
from streaming.events.record import Record
from streaming.kafka.registry.schemas import SchemaCache
from streaming.runtime.limits import REGISTRY_WATCHDOG_SECONDS
from streaming.runtime.worker import Runtime


def learn_schemas(schemas: SchemaCache, batch: Sequence[Record], runtime: Runtime) -> bool:
    """Look up the schemas that a batch names; False after a pause, if the registry is away."""
    try:
        with runtime.watchdog_limit(REGISTRY_WATCHDOG_SECONDS):
            schemas.learn(batch, runtime.heartbeat)
    except Unavailable as error:
        runtime.pause(str(error))
        return False
    finally:
        # Also after a failure: what was looked up until then stays, and is counted.
        runtime.status.lookups = schemas.lookups
    return True
