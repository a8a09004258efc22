"""The embedded broker's configuration, as text; pure.

What anybody may do on its open listener is in `kafka.open_listener`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streaming.broker.identity import HOST, USER, BrokerIdentity

MOST_CONNECTIONS: Final = {"OPEN": 500, "SASL": 2_000, "CONTROLLER": 100}
"""Of each listener. Each costs the broker a file, and without files it dies: anybody may connect,
also where a password is asked for afterwards. 64 slots of both apps need some 800; the controller
is for the broker itself."""
MESSAGE_MAX_BYTES: Final = 17 * 1024 * 1024
"""A dead letter holds a refused record of up to 16 MiB, and its headers."""
OFFSETS_RETENTION_MINUTES: Final = 525_600
"""A year; with Kafka's week, an app that was off over a holiday would lose its positions."""

DISK_SHARE: Final = 0.5
"""Of the disk that holds the home. The database, which nothing deletes, grows in the other half."""
PARTITIONS: Final = 13
"""Of all topics of a deployment (`kafka.topics`). Each may have its part of Kafka's half."""
SEGMENTS: Final = 8
"""Kafka deletes whole segments, and never the last one: with few it would keep much more."""
LEAST_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""More than the largest batch, which has to fit into one."""
MOST_SEGMENT_BYTES: Final = 1024**3
"""Kafka's own default."""

MOST_TRANSACTION_SECONDS: Final = 60
"""The default of most clients. Nobody hides the records behind an open transaction for longer."""


def server_properties(data: Path, controller_port: int) -> dict[str, str]:
    """Return the properties of one node that is broker and controller, but for its listeners.

    Java splits `data` at commas, and reads it in an encoding of its own. So only a plain name,
    relative to the working directory of Kafka, is sure to be the directory that is meant.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        # One node needs it too: `format --standalone` makes a quorum that is found by it.
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "offsets.topic.replication.factor": "1",
        # A few groups need none of the default's 50 partitions.
        "offsets.topic.num.partitions": "1",
        "offsets.retention.minutes": str(OFFSETS_RETENTION_MINUTES),
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.max.timeout.ms": str(MOST_TRANSACTION_SECONDS * 1000),
        # By default a new group waits three seconds for members that will not come.
        "group.initial.rebalance.delay.ms": "0",
        # With another protocol, any client can take the coordinator of all groups down
        # (docs/decisions/0009).
        "group.coordinator.rebalance.protocols": "classic",
        "message.max.bytes": str(MESSAGE_MAX_BYTES),
        # A topic that is created in passing would have the time of its sender
        # (docs/decisions/0003).
        "auto.create.topics.enable": "false",
        # The default, 128 MiB, would be a quarter of the heap.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }


def listener_properties(identity: BrokerIdentity) -> dict[str, str]:
    """Return the listeners, all on loopback: `SASL` for who logs in, `OPEN` for anybody.

    The controller has a password too: over plaintext the broker itself would have no name.
    """
    addresses = {"SASL": identity.own_port, "CONTROLLER": identity.controller_port}
    if identity.is_open:
        addresses["OPEN"] = identity.port
    listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in addresses.items())
    login = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required"
        f' username="{USER}" password="{identity.password}" user_{USER}="{identity.password}";'
    )
    return {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": (
            "SASL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,OPEN:PLAINTEXT"
        ),
        "inter.broker.listener.name": "SASL",
        # SCRAM does not serve the controller: its users are in what the controller writes.
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": login,
        "listener.name.controller.plain.sasl.jaas.config": login,
        **{
            f"listener.name.{name.lower()}.max.connections": str(most)
            for name, most in MOST_CONNECTIONS.items()
        },
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{USER}",
        "allow.everyone.if.no.acl.found": "false",
    }


def retention_properties(disk_bytes: int) -> dict[str, str]:
    """Return what each partition keeps at most, beside its time, on a disk of that size.

    Topics with a bound of their own keep that.
    """
    size = int(disk_bytes * DISK_SHARE / PARTITIONS)
    segment = min(max(size // SEGMENTS, LEAST_SEGMENT_BYTES), MOST_SEGMENT_BYTES)
    return {"log.retention.bytes": str(size), "log.segment.bytes": str(segment)}


def properties_text(properties: Mapping[str, str]) -> str:
    """Return properties as Java reads them: a backslash in a value is doubled."""
    lines = (f"{name}={value}".replace("\\", "\\\\") for name, value in properties.items())
    return "\n".join(lines) + "\n"
