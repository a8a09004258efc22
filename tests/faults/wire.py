"""Requests of Kafka's protocol as bytes, for what no client does: see `Transaction`.

The formats are those of https://kafka.apache.org/protocol and of its record batches (version 2).
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INIT_PRODUCER_ID, PRODUCE = (22, 1), (0, 7)
TXN_OFFSET_COMMIT, WRITE_TXN_MARKERS = (28, 2), (27, 1)
TRANSACTIONAL = 0x10
TIMEOUT_MILLISECONDS = 10_000


def leave_open(port: int, transactional_id: str, topic: str, partition: int, value: bytes) -> None:
    """Publish a record of an open transaction that the coordinator knows nothing of."""
    with begin(port, transactional_id) as transaction:
        transaction.produce(topic, partition, value)


@dataclass(frozen=True)
class Transaction:
    """A transaction that the coordinator knows nothing of: as a forgotten end leaves it behind.

    The broker must not check (`transaction.partition.verification.enable=false`).
    """

    connection: socket.socket
    transactional_id: str
    producer: int
    epoch: int

    def produce(self, topic: str, partition: int, value: bytes) -> None:
        """Publish a record, the first of this transaction in the partition."""
        batch = _batch(self.producer, self.epoch, value)
        answer = _ask(
            self.connection,
            PRODUCE,
            _text(self.transactional_id)
            + struct.pack(">hii", -1, TIMEOUT_MILLISECONDS, 1)
            + _text(topic)
            + struct.pack(">iii", 1, partition, len(batch))
            + batch,
        )
        (error,) = struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)
        assert error == 0, f"not taken: error {error}"

    def send_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Leave the offset of a group undecided."""
        answer = _ask(
            self.connection,
            TXN_OFFSET_COMMIT,
            _text(self.transactional_id)
            + _text(group)
            + struct.pack(">qhi", self.producer, self.epoch, 1)
            + _text(topic)
            + struct.pack(">iiqi", 1, partition, offset, -1)
            + _text(""),
        )
        (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic) + 4 + 4)
        assert error == 0, f"the offset was not taken: error {error}"

    def write_commit_marker(self, topic: str, partition: int) -> None:
        """Commit what this transaction has in one partition, as the coordinator would."""
        name = topic.encode()
        answer = _ask(
            self.connection,
            WRITE_TXN_MARKERS,
            # Arrays and texts of this version have their length and one more before them.
            struct.pack(">bbqhbbb", 0, 2, self.producer, self.epoch, 1, 2, len(name) + 1)
            + name
            + struct.pack(">bibibb", 2, partition, 0, 0, 0, 0),
        )
        assert answer[-5:] == bytes(5), f"the marker was not taken: {answer!r}"


@contextmanager
def begin(port: int, transactional_id: str) -> Iterator[Transaction]:
    """Begin a transaction of a producer by what it sends, not at its coordinator."""
    with socket.create_connection(("127.0.0.1", port), 120) as connection:
        asked = _text(transactional_id) + struct.pack(">i", TIMEOUT_MILLISECONDS)
        answer = _ask(connection, INIT_PRODUCER_ID, asked)
        error, producer, epoch = struct.unpack_from(">hqh", answer, 4)
        assert error == 0, f"no producer id: error {error}"
        yield Transaction(connection, transactional_id, producer, epoch)


def _ask(connection: socket.socket, request: tuple[int, int], body: bytes) -> bytes:
    """Send a request; give what follows the header of the answer."""
    message = struct.pack(">hhi", *request, 1) + _text("tests") + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    (length,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, length)[4:]


def _receive(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        assert more, "the broker hung up"
        received += more
    return received


def _batch(producer: int, epoch: int, value: bytes) -> bytes:
    """Encode a batch of one record, without key and headers."""
    record = b"\0" + _number(0) + _number(0) + _number(-1) + _number(len(value)) + value
    record += _number(0)
    now = int(time.time() * 1000)
    checked = struct.pack(">hiqqqhii", TRANSACTIONAL, 0, now, now, producer, epoch, 0, 1) + (
        _number(len(record)) + record
    )
    head = struct.pack(">ibI", -1, 2, _crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _number(number: int) -> bytes:
    """Encode a signed number in as few bytes as it needs."""
    number, encoded = (number << 1) ^ (number >> 63), b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def _crc32c(checked: bytes) -> int:
    """Compute the Castagnoli checksum of RFC 3720."""
    checksum = 0xFFFFFFFF
    for byte in checked:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF
