"""What is wrong with a connection is said in one sentence."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from streaming.kafka import preflight
from streaming.kafka.config import consumer_config
from streaming.settings import Settings
from tests.in_process import run_here
from tests.kafka.secured import PASSWORD, UNKNOWN_NAME, Secured
from tests.support import Broker

WHOLE_DEADLINE = {
    "test_something_that_is_no_kafka",
    "test_plaintext_to_a_tls_port",
    "test_tls_to_a_plaintext_port",
}
"""Nothing comes there that says more, so that the whole deadline is waited for."""


@pytest.fixture(autouse=True)
def unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute for what says what is wrong: on a busy machine it may come after the deadline."""
    if request.function.__name__ in WHOLE_DEADLINE:
        monkeypatch.setattr(preflight, "PATIENT_SECONDS", preflight.DEADLINE_SECONDS)
    else:
        monkeypatch.setattr(preflight, "DEADLINE_SECONDS", 60.0)
        monkeypatch.setattr(preflight, "PATIENT_SECONDS", 60.0)


def run(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with these settings in a home."""
    return subprocess.run(
        [sys.executable, "-m", "streaming", *arguments],
        env=environment(home, settings),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command with these settings in a home."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
    more = {f"PURCHASES_{name}": value for name, value in settings.items()}
    return {**clean, "PURCHASES_HOME": str(home), **more}


def refusal_sentence(home: Path, *arguments: str, **settings: str) -> str:
    """Return the one sentence, without the password, of a command that must fail with 1."""
    words = arguments or ("process", "--until-caught-up")
    done = run_here("streaming", words, environment(home, settings))
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stderr


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Listen as something that is no Kafka: silent, or with one answer to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_a_host_name_that_nobody_knows(tmp_path: Path) -> None:
    """The name is repeated, as it is what was mistyped."""
    sentence = refusal_sentence(tmp_path, BOOTSTRAP_SERVERS="no-such-host.invalid:9092")
    assert "no-such-host.invalid is not known" in sentence


def test_a_port_where_nothing_listens(tmp_path: Path) -> None:
    """A port that was free an instant ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "Nothing listens" in refusal_sentence(tmp_path, BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")


def test_what_is_not_host_and_port(tmp_path: Path) -> None:
    """A server without a port is the usual slip."""
    assert "not host:port" in refusal_sentence(tmp_path, BOOTSTRAP_SERVERS="localhost")


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_that_is_no_kafka(answer: bytes | None, tmp_path: Path) -> None:
    """Silent or talkative: it does not answer as a broker does, which is said."""
    with listener(answer) as servers:
        assert servers in refusal_sentence(tmp_path, BOOTSTRAP_SERVERS=servers)


def test_a_wrong_password(secured: Secured, tmp_path: Path) -> None:
    """Neither the right nor the wrong one is repeated."""
    file = secured.properties("wrong", "producer", sasl_password="wrong-horse")
    sentence = refusal_sentence(tmp_path, KAFKA_CONFIG=str(file))
    assert "does not accept user and password" in sentence
    assert "wrong-horse" not in sentence


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong-horse"}, 'no token is given out ({"error": "invalid_client"'),
        ({"endpoint": "http://127.0.0.1:1/token"}, "no token is given out (Failed to connect"),
    ],
)
def test_a_token_that_is_not_given_out(
    secured: Secured, tmp_path: Path, changed: dict[str, str], words: str
) -> None:
    """The broker was not even asked, and neither user nor password is to blame."""
    sentence = refusal_sentence(
        tmp_path, KAFKA_CONFIG=str(secured.file("python-oidc", "operator", **changed))
    )
    assert words in sentence
    assert "sasl.oauthbearer.client.secret" in sentence
    assert "sasl.username" not in sentence
    assert "wrong-horse" not in sentence


def test_plaintext_to_a_tls_port(secured: Secured, tmp_path: Path) -> None:
    """The broker ends such a connection without a word."""
    sentence = refusal_sentence(tmp_path, BOOTSTRAP_SERVERS=secured.secured)
    assert "security.protocol" in sentence


def test_tls_to_a_plaintext_port(secured: Secured, tmp_path: Path) -> None:
    """The same mistake the other way round."""
    file = secured.properties("reverse", "producer", bootstrap_servers=secured.plaintext)
    assert "security.protocol" in refusal_sentence(tmp_path, KAFKA_CONFIG=str(file))


def test_a_certificate_that_is_not_trusted(secured: Secured, tmp_path: Path) -> None:
    """Signed by an authority other than the one that was named."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    file = secured.properties("untrusted", "producer", ssl_ca_location=str(other))
    assert "not trusted" in refusal_sentence(tmp_path, KAFKA_CONFIG=str(file))


def test_a_certificate_for_another_host_name(secured: Secured, tmp_path: Path) -> None:
    """The certificate is for localhost, and this asks for 127.0.0.1."""
    servers = secured.secured.replace("localhost", "127.0.0.1")
    file = secured.properties("host", "producer", bootstrap_servers=servers)
    assert "another host name" in refusal_sentence(tmp_path, KAFKA_CONFIG=str(file))


@pytest.mark.parametrize("command", [["process"], ["topics", "create"], ["produce"]])
@pytest.mark.parametrize(
    ("listener", "address"),
    [("unknown_name", f"{UNKNOWN_NAME} is not known"), ("closed_port", "listens at 127.0.0.1:1 ")],
)
def test_an_advertised_address_that_nobody_reaches(
    secured: Secured, tmp_path: Path, listener: str, address: str, command: list[str]
) -> None:
    """The broker is reached, but sends its clients to another address, which is named."""
    sentence = refusal_sentence(tmp_path, *command, BOOTSTRAP_SERVERS=getattr(secured, listener))
    assert address in sentence
    assert "advertised.listeners" in sentence


def test_a_topic_that_is_missing(broker: Broker, namespace: str, tmp_path: Path) -> None:
    """The remedy is a command."""
    servers = broker.bootstrap_servers
    sentence = refusal_sentence(tmp_path, BOOTSTRAP_SERVERS=servers, NAMESPACE=namespace)
    assert f"{namespace}.purchases does not exist" in sentence
    assert "purchases topics create" in sentence


def test_an_option_that_exactly_once_needs_otherwise(secured: Secured, tmp_path: Path) -> None:
    """It is refused by name, before anything is connected."""
    file = secured.properties("conflict", "producer", isolation_level="read_uncommitted")
    done = run(tmp_path, "process", KAFKA_CONFIG=str(file))
    assert done.returncode == 2
    assert "isolation.level" in done.stderr


def test_our_client_id_stands_over_that_of_the_file(tmp_path: Path) -> None:
    """Ours says which host and home works a slot; the file is used as it is handed out."""
    file = tmp_path / "client.properties"
    file.write_text("client.id=ccloud-python-client-5c7d2f9a\n")
    settings = Settings(home=tmp_path, kafka_config=file)
    config = consumer_config(settings, "localhost:1", "processor-0", "group")
    assert str(config["client.id"]).startswith("purchases-processor-0@")
