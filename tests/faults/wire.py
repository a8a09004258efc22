"""Two requests of Kafka's protocol as bytes, for what no client does: see `leave_open`.

The formats are those of https://kafka.apache.org/protocol and of its record batches (version 2).
"""

import socket
import struct

INIT_PRODUCER_ID, PRODUCE = (22, 1), (0, 7)
TRANSACTIONAL = 0x10
TIMEOUT_MILLISECONDS = 10_000


def leave_open(port: int, transactional_id: str, topic: str, partition: int, value: bytes) -> None:
    """Publish a record of an open transaction that the coordinator knows nothing of.

    That is what a forgotten end of a transaction leaves behind. The broker at `port` must not check
    (`transaction.partition.verification.enable=false`).
    """
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        asked = _text(transactional_id) + struct.pack(">i", TIMEOUT_MILLISECONDS)
        answer = _ask(connection, INIT_PRODUCER_ID, asked)
        error, producer, epoch = struct.unpack_from(">hqh", answer, 4)
        assert error == 0, f"no producer id: error {error}"
        batch = _batch(producer, epoch, value)
        answer = _ask(
            connection,
            PRODUCE,
            _text(transactional_id)
            + struct.pack(">hii", -1, TIMEOUT_MILLISECONDS, 1)
            + _text(topic)
            + struct.pack(">iii", 1, partition, len(batch))
            + batch,
        )
        (error,) = struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)
        assert error == 0, f"not taken: error {error}"


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
    checked = struct.pack(">hiqqqhii", TRANSACTIONAL, 0, 0, 0, producer, epoch, 0, 1) + (
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
