"""Files made for Java's clients work, or the file and line that does not is named."""

import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from streaming.errors import UsageError
from streaming.kafka.config import consumer_config, read_client_properties
from streaming.settings import Settings

JAAS = "org.apache.kafka.common.security"
LOGIN = {"sasl.username": "KEY", "sasl.password": 'se"cret'}
CONFLUENT_CLOUD = f"""# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers=pkc-1.eu-central-1.aws.confluent.cloud:9092
security.protocol=SASL_SSL
sasl.jaas.config={JAAS}.plain.PlainLoginModule required username='KEY' password='se"cret';
sasl.mechanism=PLAIN
# Required for correctness in Apache Kafka clients prior to 2.6
client.dns.lookup=use_all_dns_ips
# Best practice for higher availability in Apache Kafka clients prior to 3.0
session.timeout.ms=45000
acks=all
client.id=ccloud-java-client-1
# Required connection configs for Confluent Cloud Schema Registry
schema.registry.url=https://psrc-1.eu-central-1.aws.confluent.cloud
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=KEY:SECRET
"""


def read(folder: Path, text: str) -> dict[str, str]:
    """Read a file of this text."""
    file = folder / "client.properties"
    file.write_bytes(text.encode())
    return read_client_properties(file)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            (
                f"sasl.jaas.config={JAAS}.scram.ScramLoginModule required \\\n"
                f'  username="KEY" \\\n  password="se\\\\"cret";\n'
            ),
            LOGIN,
        ),
        (
            (
                "key.serializer=org.apache.kafka.common.serialization.StringSerializer\n"
                "value.deserializer=io.confluent.kafka.serializers.KafkaAvroDeserializer\n"
            ),
            {},
        ),
        ("schema.registry.url=http://localhost:8081\nbasic.auth.user.info=a:b\n", {}),
        (
            "ssl.truststore.type=PEM\nssl.truststore.location=/etc/ca.pem\n",
            {"ssl.ca.location": "/etc/ca.pem"},
        ),
        ("\ufeffsecurity.protocol=PLAINTEXT\n", {"security.protocol": "PLAINTEXT"}),
        ("socket.timeout.ms : 30000\n", {"socket.timeout.ms": "30000"}),
    ],
)
def test_a_file_for_java_works(tmp_path: Path, text: str, options: dict[str, str]) -> None:
    """A login, options of serializers and registry, a trust store in PEM, a byte order mark."""
    assert read(tmp_path, text) == options


def test_confluent_clouds_file_for_java_makes_a_client(tmp_path: Path) -> None:
    """As it is handed out."""
    options = read(tmp_path, CONFLUENT_CLOUD)
    assert LOGIN.items() <= options.items()
    settings = Settings(home=tmp_path, kafka_config=tmp_path / "client.properties")
    Consumer(consumer_config(settings, "localhost:1", "test", "group")).close()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a.b=1\n", 1, 'No such configuration property: "a.b"'),
        ("\nsession.timeout.ms=45s\n", 2, "session.timeout.ms=45s, which is not a number"),
        ("\n\nretries=many\n", 3, "retries=many, which is not a number"),
        ("\nsession.timeout.ms=99999999\n", 2, "is outside allowed range"),
        ("\nsecurity.protocol=SSL2\n", 2, 'Invalid value "SSL2"'),
        ("security.protocol=SASL_SSL\nsasl.mechanism=NOPE\n", 2, "Unsupported SASL mechanism"),
        ("\nssl.truststore.location=/etc/trust.jks\n", 2, "ssl.ca.location"),
        (
            f"\nsasl.jaas.config={JAAS}.oauthbearer.OAuthBearerLoginModule required;\n",
            2,
            "sasl.username and sasl.password",
        ),
        ("sasl.jaas.config=\n", 1, "sasl.username and sasl.password"),
        ("ssl.endpoint.identification.algorithm=\n", 1, "cannot be set to empty value"),
    ],
)
def test_what_does_not_work_is_named_by_file_and_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    """Before anything connects, and without a traceback."""
    where = re.escape(f"{tmp_path}/client.properties:{line}")
    with pytest.raises(UsageError, match=f"{where}.*{re.escape(message)}"):
        read(tmp_path, text)
