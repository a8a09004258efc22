"""The identity of a home's broker: the cluster id and the ports, chosen once and saved.

It is checked against Kafka's own data. Nothing is started here.
"""

import socket
import uuid
from pathlib import Path

import msgspec
from msgspec import Struct

from streaming.broker.config import HOST
from streaming.errors import PurchasesError
from streaming.events.identifiers import topic_id_text
from streaming.system.files import replace_file
from streaming.system.home import Home


class BrokerIdentity(Struct, frozen=True):
    """The cluster id and the ports of a home's broker, as in `broker/broker.json`."""

    cluster_id: str
    port: int
    controller_port: int

    @property
    def bootstrap_servers(self) -> str:
        """The address at which clients connect."""
        return f"{HOST}:{self.port}"


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


def require_identity(home: Path) -> BrokerIdentity:
    """Return the home's identity, chosen and saved if there is none yet.

    Raises `PurchasesError` if Kafka's data belongs to another cluster, or a port is taken.
    """
    identity = read_identity(home) or _create_identity(home)
    data_cluster_id = _read_data_cluster_id(home)
    if data_cluster_id not in {None, identity.cluster_id}:
        raise PurchasesError(
            f"The data in {Home(home).broker_data} is of cluster {data_cluster_id}, but {home}"
            f" belongs to cluster {identity.cluster_id}; put the right data back, or name another"
            " PURCHASES_HOME."
        )
    for port in (identity.port, identity.controller_port):
        _require_free(port, home)
    return identity


def _create_identity(home: Path) -> BrokerIdentity:
    """Choose free ports, and a cluster id unless Kafka's data has one already."""
    cluster_id = _read_data_cluster_id(home) or topic_id_text(uuid.uuid4().bytes)
    # Both are bound at once, so that they differ.
    with socket.socket() as first, socket.socket() as second:
        first.bind((HOST, 0))
        second.bind((HOST, 0))
        identity = BrokerIdentity(cluster_id, first.getsockname()[1], second.getsockname()[1])
    with replace_file(Home(home).broker_identity) as file:
        file.write(msgspec.json.encode(identity))
    return identity


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
