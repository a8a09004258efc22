"""The embedded broker's configuration, as Java reads it."""

from pathlib import Path

from streaming.broker.config import (
    LEAST_SEGMENT_BYTES,
    MESSAGE_MAX_BYTES,
    PARTITIONS,
    properties_text,
    retention_properties,
    server_properties,
)
from streaming.broker.identity import BrokerIdentity
from streaming.kafka.names import Names
from streaming.kafka.topics import wanted_topics


def test_the_broker_listens_on_loopback_only() -> None:
    """The embedded broker has no password."""
    properties = server_properties(Path("/data"), 1, 2)
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert BrokerIdentity("x", 1, 2).bootstrap_servers == "127.0.0.1:1"


def test_a_backslash_is_doubled() -> None:
    r"""Java would read `\n` in a path as a line feed."""
    assert properties_text({"log.dirs": r"C:\new"}) == "log.dirs=C:\\\\new\n"


def test_all_topics_together_take_half_of_the_disk() -> None:
    """Each partition may have an equal part, and a segment more, which Kafka deletes as a whole."""
    assert sum(partitions for partitions, _ in wanted_topics(Names()).values()) == PARTITIONS
    properties = retention_properties(500_000_000_000)
    size, segment = (int(properties[f"log.{name}.bytes"]) for name in ("retention", "segment"))
    assert PARTITIONS * size <= 250_000_000_000 < PARTITIONS * (size + segment)
    assert segment < size / 4
    assert int(retention_properties(0)["log.segment.bytes"]) == LEAST_SEGMENT_BYTES
    assert LEAST_SEGMENT_BYTES > MESSAGE_MAX_BYTES
