"""Which producer has a partition's open transaction, asked by the bytes of Kafka's protocol.

The client has no call for it (`DescribeProducers`). What to do about the producer is in `status`.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from streaming.events.record import TopicPartition

DESCRIBE_PRODUCERS: Final = struct.pack(">hhihb", 61, 0, 1, -1, 0)
"""The request's number and version, a correlation id, no client id, no tagged field."""
PARTITION: Final = struct.Struct(">ih")
PRODUCER: Final = struct.Struct(">qiiqiqB")
"""Id, epoch, last sequence, last timestamp, coordinator's epoch, start of the open transaction."""


def read_open_producer(
    leader: tuple[str, int], partition: TopicPartition, start: int, timeout: float
) -> int | None:
    """Return the id of the producer whose transaction is open since the offset `start`.

    `leader` is host and port of the partition's leader, which takes plaintext; `timeout` is in
    seconds. None if the leader does not answer, does not permit it, or knows no such transaction.
    """
    # Whatever is no answer is none: the id is a help to find a program, not a fact to rely on.
    with (
        suppress(OSError, struct.error, IndexError),
        socket.create_connection(leader, timeout) as connection,
    ):
        connection.settimeout(timeout)
        request = DESCRIBE_PRODUCERS + _encode_question(partition)
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", _receive(connection, 4))
        return next(
            (
                producer
                for producer, since in _decode_producers(_receive(connection, length), partition)
                if since == start
            ),
            None,
        )
    return None


def _encode_question(partition: TopicPartition) -> bytes:
    topic, number = partition
    name = topic.encode()
    return _length(1) + _length(len(name)) + name + _length(1) + struct.pack(">ixx", number)


def _decode_producers(answer: bytes, partition: TopicPartition) -> Iterator[tuple[int, int]]:
    """Yield the id of each producer of the partition, and since which offset it is open, or -1."""
    name = partition[0].encode()
    # Correlation id, tagged fields, throttling, and the arrays of one topic and one partition.
    at = 4 + 1 + 4 + 1 + len(_length(len(name))) + len(name) + 1
    _, error = PARTITION.unpack_from(answer, at)
    if error:
        return
    # The error's message is null, which is one byte.
    number, at = _read_length(answer, at + PARTITION.size + 1)
    for _ in range(number):
        producer, _, _, _, _, start, _ = PRODUCER.unpack_from(answer, at)
        yield producer, start
        at += PRODUCER.size


def _length(length: int) -> bytes:
    """Encode a length as the protocol's newer versions do: one more, 7 bits a byte."""
    rest, encoded = length + 1, b""
    while rest > 0x7F:
        encoded += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return encoded + bytes([rest])


def _read_length(answer: bytes, at: int) -> tuple[int, int]:
    """Return a length, and where what follows it begins."""
    length, shift = 0, 0
    while True:
        byte = answer[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return length - 1, at


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        if not more:
            raise ConnectionError
        received += more
    return received
