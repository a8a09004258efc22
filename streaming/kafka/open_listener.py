"""The open listener of the embedded broker: what anybody may do there, as rules in Kafka.

Its users have no name (`User:ANONYMOUS`), and may do what a rule permits. Ours log in, and may do
everything. The listeners are in `broker.config`; what a user of a cluster needs is not here.
"""

from collections.abc import Callable, Sequence
from typing import Final

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

from streaming.broker.embedded import BrokerStatus, start_broker
from streaming.errors import PurchasesError
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.system.deadline import Deadline, wait_until

ANYBODY: Final = "User:ANONYMOUS"
RULES_SECONDS: Final = 30.0
"""Rules hold a moment after they were made, and a broker that has just started answers late; on a
loaded machine both take longer."""


def start_embedded_broker(settings: Settings, progress: Callable[[str], None]) -> BrokerStatus:
    """Start the broker of the home, and wait until the rules of its open listener hold.

    A broker that runs is returned. Raises `PurchasesError` with the reason.
    """
    status = start_broker(settings.home, progress, is_open=settings.broker_open)
    # A broker that runs since before an update of this program knows no rules.
    if status.client_properties is not None and settings.broker_open:
        require_rules(settings, open_rules(Names.of(settings)))
    return status


def open_rules(names: Names) -> list[AclBinding]:
    """Return what anybody may do: write and read purchases, and read the other topics.

    Anybody may have groups, but not join one of ours: a member takes partitions away from our
    workers, and commits positions for them.
    """
    return [
        _rule(ResourceType.TOPIC, names.purchases, AclOperation.WRITE),
        *(_rule(ResourceType.TOPIC, topic, AclOperation.READ) for topic in names.topics),
        _rule(ResourceType.GROUP, "*", AclOperation.READ),
        # For Kafka a denial goes before any permission, and so before the star above.
        _denial(names.processor_group, ResourcePatternType.LITERAL),
        _denial(names.analytics_groups, ResourcePatternType.PREFIXED),
    ]


def require_rules(settings: Settings, rules: Sequence[AclBinding]) -> None:
    """Make the rules that are missing, and wait until all hold.

    Raises `PurchasesError` with the broker's reason.
    """
    admin = AdminClient(common_config(settings, bootstrap_servers(settings), "rules"))
    missing = set(rules) - _rules_of_anybody(admin)
    try:
        # The client refuses an empty list.
        for made in admin.create_acls(list(missing)).values() if missing else ():
            made.result(RULES_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise _failure(error) from None
    # The broker answers by the rules that it uses.
    if not wait_until(
        lambda: set(rules) <= _rules_of_anybody(admin), Deadline.after(RULES_SECONDS)
    ):
        raise PurchasesError(
            f"The rules of the open listener do not hold after {RULES_SECONDS:g} s; stop the broker"
            " with `purchases broker stop`, and start it again."
        )


def _rules_of_anybody(admin: AdminClient) -> set[AclBinding]:
    # None is any; the client's types do not know it.
    every = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        ANYBODY,
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    try:
        described = admin.describe_acls(every, request_timeout=RULES_SECONDS)
        return set(described.result(RULES_SECONDS))
    except (KafkaException, TimeoutError) as error:
        raise _failure(error) from None


def _rule(
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
    permission: AclPermissionType = AclPermissionType.ALLOW,
) -> AclBinding:
    return AclBinding(kind, name, pattern, ANYBODY, "*", operation, permission)


def _denial(group: str, pattern: ResourcePatternType) -> AclBinding:
    permission = AclPermissionType.DENY
    return _rule(ResourceType.GROUP, group, AclOperation.READ, pattern, permission)


def _failure(error: Exception) -> PurchasesError:
    reason = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
    return PurchasesError(f"The rules of the open listener cannot be made: {reason}.")
