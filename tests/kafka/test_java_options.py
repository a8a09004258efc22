"""Files made for Java's clients work, or the file and line that does not is named."""

import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from streaming.errors import UsageError
from streaming.kafka.config import consumer_config, read_client_properties
from streaming.runtime.limits import SESSION_SECONDS
from streaming.settings import Settings
from tests.kafka.client_files import FORMS

JAAS = "org.apache.kafka.common.security"
LOGIN = {"sasl.username": "KEY", "sasl.password": 'se"cret'}
PASSWORD_OPTIONS = {
    "bootstrap.servers": "localhost:1",
    "security.protocol": "SASL_SSL",
    "sasl.username": "KEY",
    "sasl.password": "se+cr/et=",
    "ssl.ca.location": "",
}
TOKEN_OPTIONS = {
    "bootstrap.servers": "localhost:1",
    "security.protocol": "SASL_SSL",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "KEY",
    "sasl.oauthbearer.client.secret": "se+cr/et=",
    "sasl.oauthbearer.token.endpoint.url": "http://localhost:1/token",
    "sasl.oauthbearer.scope": "kafka",
    "sasl.oauthbearer.extensions": "logicalCluster=lkc-abc123,identityPoolId=pool-x1",
    "ssl.ca.location": "",
}
JAVA = {"client.dns.lookup": "use_all_dns_ips", "acks": "all"}
EXPECTED = {
    "python": PASSWORD_OPTIONS | {"sasl.mechanisms": "PLAIN"},
    "python-with-registry": PASSWORD_OPTIONS | {"sasl.mechanisms": "PLAIN"},
    "python-oidc": TOKEN_OPTIONS
    | {"sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.method": "OIDC"},
    "java-plain": PASSWORD_OPTIONS | JAVA | {"sasl.mechanism": "PLAIN"},
    "java-scram": PASSWORD_OPTIONS | JAVA | {"sasl.mechanism": "SCRAM-SHA-512"},
    "java-oauth": TOKEN_OPTIONS | JAVA | {"sasl.mechanism": "OAUTHBEARER"},
    "config.ini": PASSWORD_OPTIONS | {"sasl.mechanisms": "PLAIN"},
}


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
        ("schema.registry.url=http://localhost:8081\nbearer.auth.token=a\n", {}),
        (
            (
                f"sasl.jaas.config={JAAS}.oauthbearer.OAuthBearerLoginModule required ;\n"
                "sasl.oauthbearer.client.credentials.client.id=KEY\n"
                "sasl.oauthbearer.client.credentials.client.secret=secret\n"
                "sasl.oauthbearer.token.endpoint.url=http://localhost:1/\n"
                "sasl.oauthbearer.jwt.retriever.class=a.b.ClientCredentialsJwtRetriever\n"
            ),
            {
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.credentials.client.id": "KEY",
                "sasl.oauthbearer.client.credentials.client.secret": "secret",
                "sasl.oauthbearer.token.endpoint.url": "http://localhost:1/",
            },
        ),
        ("default.api.timeout.ms=60000\nsasl.login.read.timeout.ms=1\nmax.poll.records=1\n", {}),
        ("ssl.keystore.type=PKCS12\n", {}),
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


@pytest.mark.parametrize("form", FORMS)
def test_each_form_that_confluent_cloud_hands_out_makes_a_client(form: str, tmp_path: Path) -> None:
    """The registry's lines, other programs' sections and hints for old clients are left out."""
    values = {"servers": "localhost:1", "user": "KEY", "password": "se+cr/et=", "authority": ""}
    text = FORMS[form].format(endpoint="http://localhost:1/token", **values)
    assert read(tmp_path, text) == EXPECTED[form]
    settings = Settings(home=tmp_path, kafka_config=tmp_path / "client.properties")
    config = consumer_config(settings, "localhost:1", "test", "group")
    assert config["session.timeout.ms"] == SESSION_SECONDS * 1000
    assert config["auto.offset.reset"] == "error"
    Consumer(config).close()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a.b=1\n", 1, "sets a.b, which is no option that purchases takes"),
        ("sasl.other=1\n", 1, "sets sasl.other, which is no option that purchases takes"),
        ("\nsession.timeout.ms=45s\n", 2, "session.timeout.ms=45s, which is not a number"),
        ("\n\nretries=many\n", 3, "retries=many, which is not a number"),
        ("\nsocket.timeout.ms=99999999\n", 2, "is outside allowed range"),
        ("\nsecurity.protocol=SSL2\n", 2, 'Invalid value "SSL2"'),
        ("security.protocol=SASL_SSL\nsasl.mechanism=NOPE\n", 2, "Unsupported SASL mechanism"),
        ("\nssl.truststore.location=/etc/trust.jks\n", 2, "ssl.ca.location"),
        ("\nssl.keystore.type=JKS\n", 2, "ssl.certificate.location and ssl.key.location"),
        ("sasl.jaas.config=\n", 1, "sasl.username and sasl.password"),
        (
            "sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required;\n",
            1,
            "sasl.username and sasl.password",
        ),
        (f"sasl.jaas.config={JAAS}.plain.PlainLoginModule required a;\n", 1, "but not as"),
        (
            f"sasl.jaas.config={JAAS}.scram.ScramLoginModule required username=a;\n",
            1,
            "without username and password of ScramLoginModule",
        ),
        (
            (
                f"sasl.jaas.config={JAAS}.scram.ScramLoginModule required username=a password=b"
                " tokenauth=true;\n"
            ),
            1,
            "with tokenauth, which only Java knows",
        ),
        (
            (
                "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n"
                f"sasl.jaas.config={JAAS}.oauthbearer.OAuthBearerLoginModule required;\n"
            ),
            3,
            "`sasl.oauthbearer.token.endpoint.url` is mandatory",
        ),
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
