"""The embedded broker's configuration, as Java reads it."""

from msgspec import structs

from streaming.broker.config import (
    LEAST_SEGMENT_BYTES,
    MESSAGE_MAX_BYTES,
    PARTITIONS,
    listener_properties,
    properties_text,
    retention_properties,
)
from streaming.broker.identity import BrokerIdentity
from streaming.kafka.names import Names
from streaming.kafka.topics import topic_definitions


def test_the_broker_listens_on_loopback_only() -> None:
    """Whether it is open or not, whose listener alone has no password."""
    identity = BrokerIdentity("x", 1, 2, 3, "word")
    shared = "SASL://127.0.0.1:3,CONTROLLER://127.0.0.1:2"
    properties = listener_properties(identity)
    assert properties["listeners"] == f"{shared},OPEN://127.0.0.1:1"
    assert properties["listener.security.protocol.map"].count("SASL_PLAINTEXT") == 2
    assert listener_properties(structs.replace(identity, is_open=False))["listeners"] == shared


def test_a_client_logs_in_as_soon_as_there_is_a_password() -> None:
    """The broker of a release before listens without, until it is started again."""
    assert BrokerIdentity("x", 1, 2).client_properties == {"bootstrap.servers": "127.0.0.1:1"}
    properties = BrokerIdentity("x", 1, 2, 3, "word").client_properties
    assert properties["bootstrap.servers"] == "127.0.0.1:3"
    assert properties["sasl.password"] == "word"


def test_a_backslash_is_doubled() -> None:
    r"""Java would read `\n` in a path as a line feed."""
    assert properties_text({"log.dirs": r"C:\new"}) == "log.dirs=C:\\\\new\n"


def test_all_topics_together_take_half_of_the_disk() -> None:
    """Each partition may have an equal part, and a segment more, which Kafka deletes as a whole."""
    assert sum(partitions for partitions, _ in topic_definitions(Names()).values()) == PARTITIONS
    properties = retention_properties(500_000_000_000)
    size, segment = (int(properties[f"log.{name}.bytes"]) for name in ("retention", "segment"))
    assert PARTITIONS * size <= 250_000_000_000 < PARTITIONS * (size + segment)
    assert segment < size / 4
    assert int(retention_properties(0)["log.segment.bytes"]) == LEAST_SEGMENT_BYTES
    assert LEAST_SEGMENT_BYTES > MESSAGE_MAX_BYTES
