"""A record as only librdkafka itself can send it: the Python client takes no such header name."""

import ctypes
from pathlib import Path

import confluent_kafka

TOPIC, VALUE, KEY, FLAGS, HEADER, END = 1, 4, 5, 7, 9, 0
COPY = 2
PRODUCER = 0


def library() -> ctypes.CDLL:
    """Load the library that the Python client brings along."""
    package = Path(confluent_kafka.__file__).parent
    (path,) = package.with_name("confluent_kafka.libs").glob("librdkafka*.so*")
    loaded = ctypes.CDLL(str(path))
    loaded.rd_kafka_conf_new.restype = ctypes.c_void_p
    loaded.rd_kafka_new.restype = ctypes.c_void_p
    return loaded


def send_with_header(servers: str, topic: str, key: bytes, value: bytes, header: bytes) -> None:
    """Send a record with a header of this name, and wait until it is acknowledged."""
    kafka, said = library(), ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(kafka.rd_kafka_conf_new())
    servers_set = kafka.rd_kafka_conf_set(conf, b"bootstrap.servers", servers.encode(), said, 512)
    assert servers_set == 0, said.value
    producer = ctypes.c_void_p(kafka.rd_kafka_new(PRODUCER, conf, said, 512))
    length = ctypes.c_size_t
    failed = kafka.rd_kafka_producev(
        producer,
        *(TOPIC, topic.encode()),
        *(FLAGS, COPY),
        *(KEY, key, length(len(key))),
        *(VALUE, value, length(len(value))),
        *(HEADER, header, b"x", length(1)),
        END,
    )
    assert failed == 0
    assert kafka.rd_kafka_flush(producer, 30_000) == 0
    kafka.rd_kafka_destroy(producer)
