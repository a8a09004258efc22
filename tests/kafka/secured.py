"""A broker with TLS, passwords, tokens and permissions, as a production cluster has them.

Its listeners: PLAINTEXT for the tests' own administration, SASL_SSL for everybody else, and two
that advertise an address which nobody reaches: an unknown name, and a port where nothing listens.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streaming.broker.config import properties_text, server_properties
from streaming.broker.embedded import JAVA_OPTIONS
from streaming.broker.identity import free_ports
from streaming.broker.jars import java
from streaming.kafka.acls import Rule
from tests.java_archive import class_path_in
from tests.kafka.client_files import FORMS
from tests.kafka.tokens import AUDIENCE, ISSUER, Tokens, token_endpoint
from tests.support import wait_until

PASSWORD = "correct-horse"
USERS = (
    "producer",
    "processor",
    "analytics",
    "consumer",
    "dashboard",
    "operator",
    "stranger",
    "sa-123456",
)
SECURITY = "org.apache.kafka.common.security"
LISTENER = "listener.name.sasl_ssl"
CLUSTER_ID = "c2VjdXJlZC1jbHVzdGVyLQ"
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",
}
POLICY = "ManagedPolicy"
UNKNOWN_NAME = "broker-1.elsewhere.invalid"


class Ports(NamedTuple):
    """The ports of the broker's listeners."""

    plaintext: int
    secured: int
    controller: int
    unknown_name: int
    closed_port: int


@dataclass(frozen=True)
class Secured:
    """Where its listeners are; `authority` is the file of the certificate to trust."""

    plaintext: str
    secured: str
    unknown_name: str
    closed_port: str
    authority: Path
    directory: Path
    tokens: str

    def properties(self, name: str, user: str, **changed: str) -> Path:
        """Write a client.properties file for a user; `changed` has `_` for `.`."""
        lines = {
            "bootstrap.servers": self.secured,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.authority),
            **{name.replace("_", "."): value for name, value in changed.items()},
        }
        path = self.directory / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items() if value))
        return path

    def file(self, form: str, user: str, **changed: str) -> Path:
        """Write a file as Confluent Cloud hands it out, in one of `client_files.FORMS`."""
        values = {
            "servers": self.secured,
            "user": user,
            "password": PASSWORD,
            "authority": str(self.authority),
            "endpoint": self.tokens,
        }
        path = self.directory / f"{form}-{user}-{'-'.join(changed)}"
        path.write_text(FORMS[form].format_map(values | changed))
        return path

    def allow(self, user: str, kind: str, name: str, *operations: str) -> None:
        """Grant a user permissions on a topic, group, transactional id or the cluster."""
        for operation in operations:
            self.rule("ALLOW", user, kind, name, operation)

    def rule(self, permission: str, user: str, kind: str, name: str, operation: str) -> None:
        """Add a rule that lets a user do something, or denies it (`ALLOW`, `DENY`)."""
        self._add(AclBinding(*_rule(permission, user, kind, name, operation)))

    def grant(self, user: str, rules: Iterable[Rule]) -> None:
        """Permit a user what the rules say."""
        self._add(*(binding(rule, user) for rule in rules))

    def _add(self, *bindings: AclBinding) -> None:
        admin = AdminClient({"bootstrap.servers": self.plaintext})
        for made in admin.create_acls(list(bindings)).values():
            made.result(60)

    def remove_rule(self, permission: str, user: str, kind: str, name: str, operation: str) -> None:
        """Take such a rule away again."""
        admin = AdminClient({"bootstrap.servers": self.plaintext})
        binding = AclBindingFilter(*_rule(permission, user, kind, name, operation))
        assert admin.delete_acls([binding])[binding].result(60)


def binding(rule: Rule, user: str) -> AclBinding:
    """Return a rule for a user as the admin client takes it."""
    return AclBinding(
        ResourceType[rule.kind.replace(" ", "_").upper()],
        rule.name,
        ResourcePatternType.PREFIXED if rule.is_prefix else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[rule.operation],
        AclPermissionType.ALLOW,
    )


def _rule(permission: str, user: str, kind: str, name: str, operation: str) -> tuple[Any, ...]:
    return (
        ResourceType[kind],
        name,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operation],
        AclPermissionType[permission],
    )


@contextmanager
def secured_broker(jars: Path, directory: Path, *, managed: bool = False) -> Iterator[Secured]:
    """Run the broker, and what gives out tokens for it, for as long as the tests need them.

    A `managed` one refuses options of topics as `ManagedPolicy.java` says.
    """
    policy = _compile_policy(jars, directory) if managed else {}
    with (
        token_endpoint(PASSWORD, directory) as tokens,
        _broker(jars, directory, tokens, policy) as made,
    ):
        yield made


def _compile_policy(jars: Path, directory: Path) -> dict[str, str]:
    """Compile the policy; return the options of a broker that has it."""
    source = Path(__file__).with_name(f"{POLICY}.java")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", str(directory), str(source)], check=True)
    return {"create.topic.policy.class.name": POLICY}


@contextmanager
def _broker(
    jars: Path, directory: Path, tokens: Tokens, policy: dict[str, str]
) -> Iterator[Secured]:
    ports = Ports(*free_ports(len(Ports._fields)))
    authority = directory / "authority.pem"
    properties = directory / "server.properties"
    properties.write_text(
        properties_text(
            server_properties(directory / "data", ports.controller)
            | _listeners(ports)
            | _logins(tokens)
            | policy
            | certificate_properties(directory, authority)
        )
    )
    allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{tokens.keys}"
    command = [
        str(java()),
        allowed,
        *JAVA_OPTIONS,
        "-cp",
        f"{class_path_in(jars)}:{directory}",
    ]
    scram = [
        word
        for user in USERS
        for word in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={PASSWORD}]")
    ]
    _format(command, properties, scram)
    with (directory / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "kafka.Kafka", str(properties)], stdout=log, stderr=log
        )
    try:
        made = Secured(
            f"127.0.0.1:{ports.plaintext}",
            f"localhost:{ports.secured}",
            f"127.0.0.1:{ports.unknown_name}",
            f"127.0.0.1:{ports.closed_port}",
            authority,
            directory,
            tokens.endpoint,
        )
        admin = AdminClient({"bootstrap.servers": made.plaintext, "log_level": 0})
        wait_until(lambda: _serves(admin), 90, "the secured broker does not serve")
        yield made
    finally:
        process.kill()
        process.wait()


def _listeners(ports: Ports) -> dict[str, str]:
    shared = (
        f"PLAINTEXT://127.0.0.1:{ports.plaintext},SASL_SSL://localhost:{ports.secured},"
        f"CONTROLLER://127.0.0.1:{ports.controller}"
    )
    return {
        "listeners": f"{shared},UNKNOWN://127.0.0.1:{ports.unknown_name}"
        f",CLOSED://127.0.0.1:{ports.closed_port}",
        "advertised.listeners": f"{shared},UNKNOWN://{UNKNOWN_NAME}:9092,CLOSED://127.0.0.1:1",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT,UNKNOWN:PLAINTEXT"
            ",CLOSED:PLAINTEXT"
        ),
        **AUTHORIZER,
    }


def plain_login() -> dict[str, str]:
    """Return the property by which all users log in with their password."""
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
    return {
        f"{LISTENER}.plain.sasl.jaas.config": (
            f"{SECURITY}.plain.PlainLoginModule required {users};"
        )
    }


def _logins(tokens: Tokens) -> dict[str, str]:
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
        **plain_login(),
        f"{LISTENER}.scram-sha-512.sasl.jaas.config": (
            f"{SECURITY}.scram.ScramLoginModule required;"
        ),
        f"{LISTENER}.oauthbearer.sasl.jaas.config": (
            f"{SECURITY}.oauthbearer.OAuthBearerLoginModule required;"
        ),
        f"{LISTENER}.oauthbearer.sasl.server.callback.handler.class": (
            f"{SECURITY}.oauthbearer.OAuthBearerValidatorCallbackHandler"
        ),
        "sasl.oauthbearer.jwks.endpoint.url": f"file://{tokens.keys}",
        "sasl.oauthbearer.expected.issuer": ISSUER,
        "sasl.oauthbearer.expected.audience": AUDIENCE,
    }


def certificate_properties(directory: Path, authority: Path) -> dict[str, str]:
    """Return the properties of a certificate for `localhost`; the authority's goes to its file."""
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(str(authority))
    issued = issuer.issue_cert("localhost")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    keystore = directory / "keystore.pem"
    keystore.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain
    )
    return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)}


def _format(command: Sequence[str], properties: Path, scram: Sequence[str]) -> None:
    tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID]
    subprocess.run(
        [*command, *tool, "-c", str(properties), *scram],
        check=True,
        capture_output=True,
        env=dict(os.environ),
    )


def _serves(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=10).brokers)
    except KafkaException:
        return False
