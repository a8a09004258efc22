"""A client file connects and tunes: it runs no code, and sends no secret where others read it."""

from pathlib import Path

import pytest

from streaming.errors import UsageError
from streaming.kafka.client_options import DANGEROUS, unverified_options
from streaming.kafka.config import common_config, read_client_properties
from streaming.settings import Settings

PLAIN = "sasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=hunter2\n"
TOKEN = """\
sasl.mechanism=OAUTHBEARER
sasl.oauthbearer.method=oidc
sasl.oauthbearer.client.id=a
sasl.oauthbearer.client.secret=hunter2
sasl.oauthbearer.token.endpoint.url=https://idp.example/token
"""


def settings_of(folder: Path, text: str) -> Settings:
    """Return settings that name a file of this text."""
    file = folder / "client.properties"
    file.write_text(text)
    return Settings(home=folder, kafka_config=file)


@pytest.mark.parametrize(
    "name", [*DANGEROUS, "offset.store.path", "metadata.broker.list", "opaque"]
)
def test_an_option_that_neither_connects_nor_tunes_is_refused_by_name(
    tmp_path: Path, name: str
) -> None:
    """Also those that librdkafka would take, before it sees them: a library would be loaded."""
    library = tmp_path / "library.so"
    settings = settings_of(tmp_path, f"bootstrap.servers=one:9092\n{name}={library}\n")
    assert settings.kafka_config is not None
    with pytest.raises(UsageError, match=rf"client\.properties:2 sets {name}, which .*remove the"):
        read_client_properties(settings.kafka_config)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("security.protocol=SASL_PLAINTEXT\n" + PLAIN, "the password of PLAIN to kafka.example"),
        (
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=SCRAM-SHA-512\n" + PLAIN,
            "password of PLAIN",
        ),
        ("security.protocol=sasl_plaintext\n" + TOKEN, "the token of OAUTHBEARER to kafka.example"),
        (
            "security.protocol=SASL_SSL\n" + TOKEN.replace("https", "http"),
            "the client's secret to idp.example",
        ),
    ],
)
def test_a_secret_is_not_sent_to_another_host_unencrypted(
    tmp_path: Path, text: str, secret: str
) -> None:
    """Neither a password nor a token; the message does not name it."""
    with pytest.raises(UsageError, match=f"would send .*{secret}.* unencrypted") as refused:
        common_config(settings_of(tmp_path, text), "localhost:9092,kafka.example:9092", "test")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "security.protocol=SASL_SSL\nbootstrap.servers=kafka.example:9092\n" + PLAIN,
        "security.protocol=SASL_PLAINTEXT\nbootstrap.servers=localhost:9092,127.0.0.2:1,[::1]:1\n"
        + PLAIN,
        "security.protocol=SASL_PLAINTEXT\nbootstrap.servers=kafka.example:9092\n"
        + PLAIN.replace("PLAIN", "SCRAM-SHA-512"),
    ],
)
def test_a_secret_may_go_encrypted_or_within_this_host(tmp_path: Path, text: str) -> None:
    """And SCRAM sends none."""
    assert "sasl.mechanism" in common_config(settings_of(tmp_path, text), "", "test")


def test_a_connection_whose_certificate_is_not_verified_is_known() -> None:
    """By the certificate itself, or by the name in it; without TLS there is none to verify."""
    off = {"enable.ssl.certificate.verification": "False"}
    assert unverified_options({"security.protocol": "ssl", **off}) == (
        "enable.ssl.certificate.verification is False",
    )
    named = {"security.protocol": "SASL_SSL", "ssl.endpoint.identification.algorithm": "none"}
    assert unverified_options(named) == ("ssl.endpoint.identification.algorithm is none",)
    assert unverified_options({"security.protocol": "PLAINTEXT", **off}) == ()
    assert unverified_options({"security.protocol": "SASL_SSL"}) == ()
