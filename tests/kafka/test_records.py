"""A message is decoded once, into a record."""

import pytest
from confluent_kafka import Message

from streaming.events.record import UNREADABLE, Record
from streaming.kafka.records import headers_of, read_record, unpack

TOPIC_ID = bytes(range(16))


def message(**more: object) -> Message:
    """Return a message of the client's own class."""
    fields = {"topic": "purchases", "partition": 1, "offset": 7, "timestamp": (1, 1_700)}
    return Message(**{**fields, **more})  # type: ignore[arg-type]


def test_a_record_has_all_that_the_message_has() -> None:
    """One by one or as a batch; no value, no key and no header are a record too."""
    full = message(key=b"k", value=b"v", headers=[("a", b"1")])
    record = Record("purchases", TOPIC_ID, 1, 7, 1_700, b"k", b"v", [("a", b"1")])
    empty = Record("purchases", TOPIC_ID, 1, 7, 1_700, None, None, ())
    assert read_record(full, TOPIC_ID) == record
    assert read_record(message()) == Record("purchases", b"", 1, 7, 1_700, None, None, ())
    assert unpack([full, message()], {"purchases": TOPIC_ID}, 1000).records == [record, empty]


@pytest.mark.parametrize("headers", [None, [("a", None), ("a", b"\xff")]])
def test_headers_stay_as_they_are(headers: list[tuple[str, bytes | None]] | None) -> None:
    """Names may come twice, and values may be missing."""
    assert list(headers_of(message(headers=headers))) == (headers or [])
    assert UNREADABLE not in headers_of(message(headers=headers))
