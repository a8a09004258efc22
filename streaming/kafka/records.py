"""Records from the client's messages: decoded once, where they enter, so that nobody else asks.

What a record's key, value and headers mean is in `events`.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from typing import Final, cast

from confluent_kafka import Message

from streaming.events.record import UNREADABLE, Headers, Record

_headers: Final = cast("Callable[[Message], Headers | None]", Message.headers)
_raise_pending_error: Final = methodcaller("__len__")
"""The client may fail and return a result too; Python sees the error at the next call into C."""


def read_record(message: Message, topic_id: bytes = b"") -> Record:
    """Return the record of a message without an error; `topic_id` is Kafka's 16 bytes."""
    # The client types all of these as optional, because an error's message lacks some of them.
    return Record(
        message.topic() or "",
        topic_id,
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


def read_records(messages: Iterable[Message], topic_ids: Mapping[str, bytes]) -> list[Record]:
    """Return the records of those messages that are no errors; `topic_ids` are by topic."""
    # This runs for every record, so `read_record` is written out: a call for each made this a tenth
    # slower, and `map` over the client's methods, which looks faster, did too.
    return [
        Record(
            topic := message.topic() or "",
            topic_ids[topic],
            message.partition() or 0,
            message.offset() or 0,
            message.timestamp()[1],
            message.key(),
            message.value(),
            headers_of(message),
        )
        for message in messages
        if message.error() is None
    ]


def headers_of(message: Message) -> Headers:
    """Return a message's headers as pairs of text and bytes.

    A name that is not UTF-8 makes the client fail. What it then keeps of the headers ends the
    process when they are asked for again, so they are replaced by one that says so.
    """
    try:
        headers = _headers(message)
        if headers is None:
            return ()
        _raise_pending_error(headers)
    except (SystemError, UnicodeDecodeError):
        message.set_headers([UNREADABLE])
        return (UNREADABLE,)
    return headers
