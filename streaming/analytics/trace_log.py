"""W3C trace contexts: which of the stored events came with a `traceparent` header.

The processor passes headers on to `analytics` and `purchases.dlq` by itself. Here they are only
read, for the consumer's log at debug level.
"""

import re
from collections.abc import Iterable
from typing import Final

from streaming.events.identifiers import event_id_text
from streaming.events.record import Record
from streaming.store.rows import STREAM_OFFSET, STREAM_PARTITION, EventRow
from streaming.system.logs import get_logger

HEADER: Final = "traceparent"
_valid = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def log_traces(rows: Iterable[EventRow], records: Iterable[Record], analytics: str) -> None:
    """Log a line for each stored row whose record of the topic `analytics` had a valid header."""
    # By position: a duplicate has the same event id, but was not stored.
    ids = {(row[STREAM_PARTITION], row[STREAM_OFFSET]): row[0] for row in rows}
    for record in records:
        if record.topic != analytics:
            continue
        traceparent = dict(record.headers).get(HEADER) or b""
        event_id = ids.get((record.partition, record.offset))
        if event_id is not None and _valid(traceparent):
            get_logger().debug(
                "stored", event_id=event_id_text(event_id), traceparent=traceparent.decode()
            )
