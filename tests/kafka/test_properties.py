"""A client.properties file is read as Java reads it, and a mistake is named by file and line."""

from pathlib import Path

import pytest

from streaming.errors import UsageError
from streaming.kafka.config import consumer_config, read_client_properties
from streaming.settings import Settings

FILE = r"""# handed out by the cluster
! an old form of comment
bootstrap.servers: one:9092,\
                   two:9092

sasl.username = a\=b
sasl.password=p\u00e4ss\\word
security.protocol SASL_SSL
sasl.mechanism=PLAIN
"""


def test_a_file_of_every_valid_form_is_read(tmp_path: Path) -> None:
    """Continued lines, three separators, escapes, comments, a byte order mark, Windows' lines."""
    file = tmp_path / "client.properties"
    file.write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    assert read_client_properties(file) == {
        "bootstrap.servers": "one:9092,two:9092",
        "sasl.username": "a=b",
        "sasl.password": "päss\\word",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
    }


def test_the_options_reach_the_client(tmp_path: Path) -> None:
    """The file wins over our defaults."""
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.servers=one:9092\nfetch.wait.max.ms : 500\n")
    config = consumer_config(Settings(home=tmp_path, kafka_config=file), "one:9092", "a", "group")
    assert config["fetch.wait.max.ms"] == "500"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1\n\nlonely\n", r"client\.properties:3 is not name=value"),
        ("a=1,\\\n2\nb=\\u12\n", r"client\.properties:3: Invalid \\u escape"),
        ("a=1\nenable.idempotence=false\n", r":2 sets enable\.idempotence=false, but exactly-once"),
        ("[consumer]\nlonely\n[default]\nlonely\n", r":4 is not name=value"),
        ("a=1,\\\n2\ngroup.id=mine\n", r":3 sets group\.id, which purchases sets itself"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """The line where the option begins, after continued ones too."""
    file = tmp_path / "client.properties"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_client_properties(file)


def test_what_exactly_once_needs_may_be_said(tmp_path: Path) -> None:
    """In Java's words: -1 for all, and any case of true and false; an empty value is one."""
    file = tmp_path / "client.properties"
    file.write_text("acks=-1\nenable.idempotence=TRUE\nssl.ca.location=\n")
    assert read_client_properties(file)["ssl.ca.location"] == ""


def test_of_sections_only_the_default_one_is_read(tmp_path: Path) -> None:
    """As in a quick start's `config.ini`, whose other sections are for its own programs."""
    file = tmp_path / "config.ini"
    file.write_text("[consumer]\ngroup.id=mine\n\n[default]\n; a comment\nacks=all\n")
    assert read_client_properties(file) == {"acks": "all"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing one, and one that is not text."""
    file = tmp_path / "client.properties"
    with pytest.raises(UsageError, match=r"client\.properties cannot be read"):
        read_client_properties(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"client\.properties cannot be read"):
        read_client_properties(file)
