"""The embedded broker's configuration, as Java reads it."""

from pathlib import Path

from streaming.broker.config import properties_text, server_properties
from streaming.broker.identity import BrokerIdentity


def test_the_broker_listens_on_loopback_only() -> None:
    """The embedded broker has no password."""
    properties = server_properties(Path("/data"), 1, 2)
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert BrokerIdentity("x", 1, 2).bootstrap_servers == "127.0.0.1:1"


def test_a_backslash_is_doubled() -> None:
    r"""Java would read `\n` in a path as a line feed."""
    assert properties_text({"log.dirs": r"C:\new"}) == "log.dirs=C:\\\\new\n"
