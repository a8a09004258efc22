"""Records from the client's messages: decoded once, where they enter, so that nobody else asks.

What a record's key, value and headers mean is in `events`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Final, NamedTuple, cast

from confluent_kafka import Message

from streaming.events.record import UNREADABLE, Headers, Record, TopicPartition

READ_BYTES: Final = 64 * 1024 * 1024
"""Of the records of one fetch in memory; a full batch with some ten headers each has room."""
HEADER_BYTES: Final = 200
"""What a header takes beside its value: a name, a pair and two objects, of four bytes sent."""

_headers: Final = cast("Callable[[Message], Headers | None]", Message.headers)
_raise_pending_error: Final = methodcaller("__len__")
"""The client may fail and return a result too; Python sees the error at the next call into C."""


class Unpacked(NamedTuple):
    """Records, of how many messages they are, and what keys and headers make them in memory."""

    records: list[Record]
    messages: int
    size: int


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


def unpack(
    messages: Sequence[Message], topic_ids: Mapping[str, bytes], most_bytes: int
) -> Unpacked:
    """Return the records of the leading messages that are no errors; `topic_ids` are by topic.

    They end with the message that reaches so many bytes in memory. Those of a value alone do not
    count, because the client bounds them.
    """
    records, size = list[Record](), 0
    # This runs for every record, so `read_record` is written out: a call for each made this a tenth
    # slower, and `map` over the client's methods, which looks faster, did too.
    for number, message in enumerate(messages, 1):
        if message.error() is not None:
            continue
        key, headers = message.key(), headers_of(message)
        records.append(
            Record(
                topic := message.topic() or "",
                topic_ids[topic],
                message.partition() or 0,
                message.offset() or 0,
                message.timestamp()[1],
                key,
                message.value(),
                headers,
            )
        )
        if headers:
            size += bytes_of(records[-1])
        elif key:
            size += len(key)
        if size >= most_bytes:
            return Unpacked(records, number, size)
    return Unpacked(records, len(messages), size)


def first_offsets(
    records: Iterable[Record], messages: Iterable[Message]
) -> dict[TopicPartition, int]:
    """Return the first offset in each partition, of records and of messages that follow them."""
    offsets = [((record.topic, record.partition), record.offset) for record in records]
    offsets += [
        ((message.topic() or "", message.partition() or 0), message.offset() or 0)
        for message in messages
        if message.error() is None
    ]
    # The first of them stays, as it is written last.
    return dict(reversed(offsets))


def bytes_of(record: Record) -> int:
    """Return what key, value and headers of a record take in memory.

    What they take in a transaction is less, and counted by `leading_records`.
    """
    headers = sum(HEADER_BYTES + len(value or b"") for _, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


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
