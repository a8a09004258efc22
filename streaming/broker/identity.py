"""The identity of a home's broker: cluster id, ports and password, chosen once and saved.

It is checked against Kafka's own data. Nothing is started here.
"""

import secrets
import socket
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, structs

from streaming.errors import PurchasesError
from streaming.events.identifiers import topic_id_text
from streaming.system.files import replace_file
from streaming.system.home import Home

HOST: Final = "127.0.0.1"
PORTS: Final = range(15_000, 32_768)
"""Below those that Linux gives to connections, which would take the port of a stopped broker."""
USER: Final = "purchases"
"""The one user: our programs, the broker itself and its controller log in as it, and may do all."""


class BrokerIdentity(Struct, frozen=True):
    """The cluster id, ports and password of a home's broker, as in `broker/broker.json`.

    `port` is that of the open listener, on which the broker listens if it `is_open`; `own_port` is
    the one where our programs log in. Before a broker of a release without the two was started
    again, `own_port` is 0 and `password` is empty.
    """

    cluster_id: str
    port: int
    controller_port: int
    own_port: int = 0
    password: str = ""
    is_open: bool = True

    @property
    def open_address(self) -> str | None:
        """The address at which anybody may connect; None if there is none."""
        return f"{HOST}:{self.port}" if self.is_open else None

    @property
    def client_properties(self) -> dict[str, str]:
        """What a client of librdkafka needs to connect and to log in."""
        if not self.password:
            return {"bootstrap.servers": f"{HOST}:{self.port}"}
        return {
            "bootstrap.servers": f"{HOST}:{self.own_port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": self.password,
        }


def read_identity(home: Path) -> BrokerIdentity | None:
    """Return the saved identity; None if the home never had a broker.

    Raises `PurchasesError` if the file was not written by this program.
    """
    path = Home(home).broker_identity
    try:
        return msgspec.json.decode(path.read_bytes(), type=BrokerIdentity)
    except FileNotFoundError:
        return None
    except ValueError:
        raise PurchasesError(
            f"{path} is not what this program wrote; remove it, and new ports are chosen."
        ) from None


def require_identity(home: Path, *, is_open: bool) -> BrokerIdentity:
    """Return the home's identity; what of it is missing is chosen, and it is saved.

    Raises `PurchasesError` if Kafka's data belongs to another cluster, or a port is taken.
    """
    saved = read_identity(home)
    identity = structs.replace(_complete(home, saved), is_open=is_open)
    if identity != saved:
        with replace_file(Home(home).broker_identity) as file:
            file.write(msgspec.json.encode(identity))
    data_cluster_id = _read_data_cluster_id(home)
    if data_cluster_id not in {None, identity.cluster_id}:
        raise PurchasesError(
            f"The data in {Home(home).broker_data} is of cluster {data_cluster_id}, but {home}"
            f" belongs to cluster {identity.cluster_id}; put the right data back, or name another"
            " PURCHASES_HOME."
        )
    shared = [identity.port] if is_open else []
    for port in (*shared, identity.own_port, identity.controller_port):
        _require_free(port, home)
    return identity


def _complete(home: Path, saved: BrokerIdentity | None) -> BrokerIdentity:
    """Choose free ports and a password, and a cluster id unless Kafka's data has one already."""
    if saved is not None and saved.password:
        return saved
    port, controller_port, own_port = free_ports(3)
    password = secrets.token_urlsafe(32)
    if saved is not None:
        return structs.replace(saved, own_port=own_port, password=password)
    cluster_id = _read_data_cluster_id(home) or topic_id_text(uuid.uuid4().bytes)
    return BrokerIdentity(cluster_id, port, controller_port, own_port, password)


def free_ports(number: int) -> list[int]:
    """Return as many ports of loopback, all different, on which nobody listens."""
    free: list[int] = []
    with ExitStack() as held:
        while len(free) < number:
            # By chance, because the ports of another home look free while its broker is stopped.
            port = secrets.choice(PORTS)
            # All stay bound until the end, so that they differ.
            with suppress(OSError):
                held.enter_context(socket.socket()).bind((HOST, port))
                free.append(port)
    return free


def _read_data_cluster_id(home: Path) -> str | None:
    """Return the cluster id in Kafka's data; None if it is not formatted yet."""
    path = Home(home).broker_data / "meta.properties"
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "cluster.id":
            return value.strip()
    return None


def _require_free(port: int, home: Path) -> None:
    with socket.socket() as probe:
        # Without it, connections of the last broker in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PurchasesError(
                f"Port {port}, which the broker of this home uses, is taken by another program;"
                f" end that one, or remove {Home(home).broker_identity} to choose other ports."
            ) from None
