"""Which of the rules in `acls` the cluster grants to this user; all that lacks is found at once.

Connecting is in `preflight`. What the brokers do not say is not found lacking.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from streaming.errors import PurchasesError
from streaming.kafka.acls import Rule, lacking_sentence
from streaming.kafka.config import Config
from streaming.kafka.topics import NO_DESCRIPTION, Topic, topic_id_of
from streaming.runtime.limits import COORDINATOR_REQUEST_SECONDS
from streaming.system.deadline import Deadline

TOO_LONG_MILLISECONDS: Final = 2**31 - 1
"""A transaction timeout that no broker takes: the broker refuses it after it has looked at the
permission, and before it would fence the id's present holder."""


@dataclass
class PermissionReport:
    """The topics that exist, and the rules that are not granted.

    `forbidden` are those without which nothing works. `unnoticed` are others, and those of a topic
    that may be missing: who may not see it does not learn which.
    """

    topics: dict[str, Topic] = field(default_factory=dict)
    forbidden: list[Rule] = field(default_factory=list)
    unnoticed: list[Rule] = field(default_factory=list)

    def add_lacking(self, rules: Iterable[Rule], *, may_be_missing: bool = False) -> None:
        """Add rules that are not granted."""
        for rule in rules:
            optional = may_be_missing or bool(rule.without)
            (self.unnoticed if optional else self.forbidden).append(rule)


def find_permissions(
    admin: AdminClient,
    config: Config,
    needs: Sequence[Rule],
    optional: Iterable[str],
    deadline: Deadline,
) -> PermissionReport:
    """Ask for the topics of `needs`, and which of the rules are granted.

    `optional` topics may be missing. Raises `PurchasesError` for another one that is, and naming
    all that lacks.
    """
    report = PermissionReport()
    _find_topics(admin, needs, set(optional), deadline, report)
    _find_groups(admin, needs, deadline, report)
    _find_transactional_ids(config, needs, deadline, report)
    if report.forbidden:
        lacking = {*report.forbidden, *report.unnoticed}
        raise PurchasesError(lacking_sentence([rule for rule in needs if rule in lacking]))
    return report


def _find_topics(
    admin: AdminClient,
    needs: Sequence[Rule],
    optional: set[str],
    deadline: Deadline,
    report: PermissionReport,
) -> None:
    names = dict.fromkeys([*(rule.name for rule in needs if rule.kind == "topic"), *optional])
    if not names:
        return
    left = deadline.left(least=1.0)
    futures = admin.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=left
    )
    for name, future in futures.items():
        rules = [rule for rule in needs if (rule.kind, rule.name) == ("topic", name)]
        try:
            description = future.result(left)
        except TimeoutError:
            raise PurchasesError(NO_DESCRIPTION.format(name=name)) from None
        except KafkaException as error:
            _take_topic_error(name, error.args[0], rules, report, may_be_missing=name in optional)
        else:
            report.topics[name] = Topic(name, topic_id_of(description), len(description.partitions))
            report.add_lacking(_not_among(rules, description.authorized_operations))


def _take_topic_error(
    name: str,
    error: KafkaError,
    rules: Sequence[Rule],
    report: PermissionReport,
    *,
    may_be_missing: bool,
) -> None:
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        report.add_lacking(rules, may_be_missing=may_be_missing)
    elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise PurchasesError(f"The topic {name} cannot be described: {error.str()}.")
    elif not may_be_missing:
        raise PurchasesError(
            f"The topic {name} does not exist; create it with `purchases topics create`."
        )


def _find_groups(
    admin: AdminClient, needs: Sequence[Rule], deadline: Deadline, report: PermissionReport
) -> None:
    for rule, group in _examples(needs, "group"):
        future = admin.describe_consumer_groups(
            [group],
            include_authorized_operations=True,
            request_timeout=COORDINATOR_REQUEST_SECONDS,
        )[group]
        try:
            allowed = future.result(deadline.left(least=1.0)).authorized_operations
        except KafkaException as error:
            # Other errors are the coordinator's, which may be elsewhere in a moment: the worker
            # waits for it.
            if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                report.add_lacking([rule])
        except TimeoutError:
            continue
        else:
            report.add_lacking(_not_among([rule], allowed))


def _find_transactional_ids(
    config: Config, needs: Sequence[Rule], deadline: Deadline, report: PermissionReport
) -> None:
    """Ask by producers that cannot start: no question of the admin client says it."""
    for rule, transactional_id in _examples(needs, "transactional id"):
        probe: Config = {
            **config,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TOO_LONG_MILLISECONDS,
        }
        if rule not in report.forbidden and _is_refused(Producer(probe), deadline):
            report.add_lacking([rule])


def _is_refused(producer: Producer, deadline: Deadline) -> bool:
    try:
        # Connected first: a producer that is not yet asks for its coordinator half a second later.
        producer.list_topics(timeout=deadline.left(least=0.5))
        producer.init_transactions(deadline.left(least=0.5))
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    return False


def _examples(needs: Iterable[Rule], kind: str) -> Iterator[tuple[Rule, str]]:
    for rule in needs:
        if rule.kind == kind:
            for name in rule.examples if rule.is_prefix else [rule.name]:
                yield rule, name


def _not_among(rules: Iterable[Rule], allowed: Sequence[Any] | None) -> list[Rule]:
    """Return the rules that a broker does not grant; one that says nothing is believed later.

    To create a topic that exists needs no permission.
    """
    if not allowed:
        return []
    return [
        rule
        for rule in rules
        if rule.operation != "CREATE" and AclOperation[rule.operation] not in allowed
    ]
