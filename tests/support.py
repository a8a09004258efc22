"""What tests of every part need: waiting for a condition, and the session's broker."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from streaming.broker.identity import free_ports
from streaming.kafka.open_listener import ANYBODY

BUSY_FACTOR: Final = 4
"""How many times as long as on a quiet machine a test waits for something.

Beside five other processes on two cores everything takes several times as long. What comes sooner
is not waited for, so no run that succeeds takes longer by it.
"""

OPEN_TRANSACTION_SECONDS: Final = 600
"""How long a transaction may stay open on the session's broker: as long as a test may take."""


def allow_everything() -> list[AclBinding]:
    """Return rules of an open listener by which anybody may do everything."""
    anything = ResourcePatternType.LITERAL, ANYBODY, "*", AclOperation.ALL, AclPermissionType.ALLOW
    kinds = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
    return [
        *(AclBinding(kind, "*", *anything) for kind in kinds),
        AclBinding(ResourceType.BROKER, "kafka-cluster", *anything),
    ]


@dataclass(frozen=True)
class Broker:
    """The session's embedded broker: the home it runs in, and where it listens."""

    home: Path
    bootstrap_servers: str


def unique_namespace() -> str:
    """Return a namespace for Kafka that nothing else on the session's broker has."""
    return f"t{uuid.uuid4().hex[:10]}"


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    return free_ports(1)[0]


def wait_until(
    condition: Callable[[], object],
    deadline: float,
    message: str,
    *,
    factor: float = BUSY_FACTOR,
) -> None:
    """Check every 50 ms until the condition holds; else fail with the message.

    `deadline` is that of a quiet machine (s), and the wait ends after `factor` times as long: 1
    where a test judges how long it takes. A costly condition is checked for a tenth of the time,
    because what it waits for needs the CPU.
    """
    start = time.monotonic()
    end = start + factor * deadline
    while True:
        begun = time.monotonic()
        if condition():
            return
        ended = time.monotonic()
        assert ended < end, f"{message} (waited {ended - start:.1f} s)"
        time.sleep(min(max(9 * (ended - begun), 0.05), 0.5))


def leave_group(member: Consumer) -> None:
    """End a group's member, which may have an assignment still to be served.

    Closed with one, librdkafka stands still for good, with the interpreter's lock held (#4884).
    """
    member.unsubscribe()
    for _ in range(5):
        member.poll(0.1)
    member.close()
