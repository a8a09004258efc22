"""Three brokers with TLS, passwords and permissions: a cluster that a shop would run itself.

Clients log in by SASL_SSL. The plaintext listeners are for the brokers themselves, and for what a
test does as their administrator.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streaming.broker.identity import free_ports
from streaming.kafka.acls import Role, rules_of
from streaming.settings import Settings
from tests.faults.cluster import Cluster, Node, running_cluster
from tests.kafka.secured import (
    AUTHORIZER,
    PASSWORD,
    Secured,
    certificate_properties,
    plain_login,
)

BROKERS: Final = 3
TIMEOUTS: Final = {
    "broker.session.timeout.ms": "9000",
    "controller.quorum.fetch.timeout.ms": "8000",
    "controller.quorum.request.timeout.ms": "8000",
}
"""Where hosts, brokers and a load share two cores, a broker that is slow must not count as dead."""
SERVICE_ACCOUNT: Final = "sa-123456"
USERS: Final[Mapping[str, Sequence[Role]]] = {
    "producer": ("producer",),
    "processor": ("processor",),
    "consumer": ("consumer",),
    "operator": ("operator",),
    SERVICE_ACCOUNT: ("processor", "consumer", "dashboard", "operator"),
}
"""The roles of each user. What one `up` runs has one user, because it reads one file."""


@dataclass(frozen=True)
class SecuredCluster:
    """The brokers, and how users reach them."""

    brokers: Cluster
    access: Secured

    @property
    def producer_options(self) -> dict[str, str]:
        """Return what a producer of another program logs in by, as librdkafka takes it."""
        return {
            "bootstrap.servers": self.access.secured,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "producer",
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.access.authority),
        }

    def file(self, user: str) -> str:
        """Return the path of the file by which a user logs in, in Confluent Cloud's form."""
        return str(self.access.file("python", user))

    def grant_roles(self, settings: Settings) -> None:
        """Permit each user what the roles need that it has in the deployment of `settings`."""
        for user, roles in USERS.items():
            rules = [rule for role in roles for rule in rules_of(role, settings)]
            self.access.grant(user, dict.fromkeys(rules))


@contextmanager
def secured_cluster(jars: Path, directory: Path) -> Iterator[SecuredCluster]:
    """Run the brokers for as long as a test needs them."""
    directory.mkdir()
    authority = directory / "authority.pem"
    shared = certificate_properties(directory, authority) | AUTHORIZER | plain_login()
    ports = free_ports(BROKERS)

    def properties(node: Node) -> dict[str, str]:
        listeners = (
            f"PLAINTEXT://127.0.0.1:{node.port},SASL_SSL://localhost:{ports[node.number - 1]}"
            f",CONTROLLER://127.0.0.1:{node.controller_port}"
        )
        return shared | {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
            ),
            "sasl.enabled.mechanisms": "PLAIN",
            **TIMEOUTS,
        }

    with running_cluster(jars, directory / "nodes", BROKERS, properties) as brokers:
        secured = ",".join(f"localhost:{port}" for port in ports)
        plaintext = ",".join(f"127.0.0.1:{node.port}" for node in brokers.nodes)
        yield SecuredCluster(
            brokers, Secured(plaintext, secured, "", "", authority, directory, tokens="")
        )
