"""W3C trace contexts: which of the stored events came with a `traceparent` header.

Headers go along from `purchases` to `analytics` and `purchases.dlq` without this; here they are
only found again, for the consumer's log at debug level.
"""

import re
from collections.abc import Iterable
from typing import Final

from confluent_kafka import Message

from streaming.kafka.consumer import headers_of
from streaming.store.rows import STREAM_OFFSET, STREAM_PARTITION, EventRow
from streaming.system.logs import get_logger

HEADER: Final = "traceparent"
_valid = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def log_stored(rows: Iterable[EventRow], messages: Iterable[Message], analytics: str) -> None:
    """Log a line for each stored row whose message of the topic `analytics` had a valid header."""
    ids = {(row[STREAM_PARTITION], row[STREAM_OFFSET]): row[0] for row in rows}
    for message in messages:
        if message.topic() != analytics:
            continue
        traceparent = dict(headers_of(message)).get(HEADER) or b""
        event_id = ids.get((message.partition() or 0, message.offset() or 0))
        if event_id is not None and _valid(traceparent):
            get_logger().debug("stored", event_id=event_id, traceparent=traceparent.decode())
