"""The deployment's topics: how they are created, and what they are now."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.acls import Rule, create_rules, lacking_sentence
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.topic_options import (
    NOT_COMPACTED,
    UNPACKED,
    UnsafeOption,
    make_safe,
    read_options,
    unsafe_options,
)
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.system.deadline import Deadline, wait_until

CREATE_SECONDS: Final = 30.0
"""A cluster of several brokers elects leaders before it describes a new topic."""
NO_DESCRIPTION: Final = "The brokers do not describe the topic {name} in time; try again."
DAY_MILLISECONDS: Final = 86_400_000
DEAD_LETTER_BYTES: Final = 16 * 1024 * 1024
"""Above what a topic takes by default (1 MiB), so that large refused records are kept whole."""
MANAGED_BYTES: Final = 8 * 1024 * 1024
"""What managed clusters take at most, such as Confluent Cloud's Basic and Standard."""
PARTITION_BYTES: Final = 32 * 1024**3
"""Of a partition of `purchases`, whose batches are not compressed. All four hold a weekend at 2,000
purchases a second, and seven days at 800; without a bound they would fill the disk."""
APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
"""Otherwise a client could choose the time by which its purchases are judged."""
KEPT: Final = APPEND_TIME | NOT_COMPACTED
"""Without these purchases would be lost or judged wrongly: a topic that cannot have them is not
created (docs/decisions/0003)."""
REFUSED: Final = frozenset({KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION})
NOT_PERMITTED: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)


@dataclass(frozen=True)
class Topic:
    """A topic that exists; `topic_id` is Kafka's 16 bytes."""

    name: str
    topic_id: bytes
    partitions: int


def topic_definitions(names: Names) -> dict[str, tuple[int, dict[str, str]]]:
    """Return each topic's partitions and configuration, by which a missing one is created.

    Event time lives in the payload, so `purchases` has the time of append: retention reads it.
    """
    return {
        names.purchases: (
            4,
            _retention_options(7)
            | APPEND_TIME
            | UNPACKED
            | {"retention.bytes": str(PARTITION_BYTES)},
        ),
        names.redrive: (4, _retention_options(7) | APPEND_TIME),
        names.analytics: (4, _retention_options(7)),
        names.dead_letters: (
            1,
            _retention_options(30) | {"max.message.bytes": str(DEAD_LETTER_BYTES)},
        ),
    }


def create_topics(settings: Settings, bootstrap_servers: str) -> list[str]:
    """Create the topics that are missing, wait until the cluster knows them, return their names.

    Existing ones stay as they are: see `alter_topics`. A missing `purchases.redrive` gets as many
    partitions as `purchases` has. Of options that the cluster refuses, such as 16 MiB for dead
    letters, a topic gets the next best, with a line on stderr. Raises `PurchasesError` with the
    cluster's reason, or naming all permissions that lack.
    """
    admin = AdminClient(common_config(settings, bootstrap_servers, "topics"))
    names = Names.of(settings)
    definitions = topic_definitions(names)
    if settings.embedded_broker:
        # It bounds every topic by the size of its disk.
        del definitions[names.purchases][1]["retention.bytes"]
    existing = _describe_topics(admin, names)
    if purchases := existing.get(names.purchases):
        # The same key goes to the same partition of both, and so keeps its order.
        definitions[names.redrive] = (purchases.partitions, definitions[names.redrive][1])
    # Permissions that lack are collected, so that one message names them all (docs/decisions/0043).
    created, lacking = [], []
    for name in [name for name in definitions if name not in existing]:
        error = _create(admin, name, *definitions[name])
        if error is None:
            created.append(name)
        elif error.code() in NOT_PERMITTED:
            lacking.append(Rule("topic", name, "CREATE"))
        elif error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise PurchasesError(f"The topic {name} cannot be created: {error.str()}.")
    if lacking:
        raise PurchasesError(lacking_sentence(lacking))
    if not wait_until(
        lambda: len(_describe_topics(admin, names)) == len(definitions),
        Deadline.after(CREATE_SECONDS),
    ):
        missing = min(set(definitions) - set(_describe_topics(admin, names)))
        raise PurchasesError(
            f"The topic {missing} was created, but the brokers do not describe it after"
            f" {CREATE_SECONDS:g} s; try again."
        )
    return created


def alter_topics(settings: Settings, bootstrap_servers: str, *, apply: bool) -> list[UnsafeOption]:
    """Return the unsafe options of existing topics, and with `apply` make them safe.

    Options that this user may not see are none. Raises `PurchasesError` with the cluster's reason.
    """
    admin = AdminClient(common_config(settings, bootstrap_servers, "topics"))
    names = Names.of(settings)
    try:
        options = read_options(admin, topic_definitions(names))
        unsafe = unsafe_options(names.purchases, options[names.purchases], UNPACKED)
        for name, its in options.items():
            unsafe += unsafe_options(name, its, NOT_COMPACTED)
    except Unavailable:
        if apply:
            raise
        return []
    if apply:
        make_safe(admin, unsafe)
    return unsafe


def _describe_topics(admin: AdminClient, names: Names) -> dict[str, Topic]:
    """Return those of the topics that exist. Raises `PurchasesError` if the brokers do not say."""
    existing, hidden = {}, []
    futures = admin.describe_topics(TopicCollection(names.topics), request_timeout=CALL_SECONDS)
    for name, future in futures.items():
        try:
            description = future.result(CALL_SECONDS)
        except TimeoutError:
            raise PurchasesError(NO_DESCRIPTION.format(name=name)) from None
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hidden.append(name)
            elif reason.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise PurchasesError(
                    f"The topic {name} cannot be described: {reason.str()}."
                ) from None
        else:
            existing[name] = Topic(name, topic_id_of(description), len(description.partitions))
    if hidden:
        raise PurchasesError(
            lacking_sentence([rule for rule in create_rules(names) if rule.name in hidden])
        )
    return existing


def topic_id_of(description: Any) -> bytes:  # noqa: ANN401 - the client does not export its type
    """Return the 16 bytes of the id in a topic's description."""
    topic_id = description.topic_id
    halves = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    # Java's halves of an id are signed.
    return b"".join((half % 2**64).to_bytes(8, "big") for half in halves)


def fallbacks(configuration: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield what to ask the cluster for, one after the other until it takes one.

    First all, then 8 MiB instead of a larger limit, then without as few options as possible: no
    cluster says which one it refuses in a way that a program understands. `KEPT` ones stay.
    """
    whole = dict(configuration)
    yield whole
    if int(whole.get("max.message.bytes", 0)) > MANAGED_BYTES:
        yield whole | {"max.message.bytes": str(MANAGED_BYTES)}
    optional = [name for name in whole if name not in KEPT]
    for number in range(1, len(optional) + 1):
        for dropped in combinations(optional, number):
            yield {name: value for name, value in whole.items() if name not in dropped}


def _create(
    admin: AdminClient, name: str, partitions: int, configuration: Mapping[str, str]
) -> KafkaError | None:
    """Create a topic with the options that the cluster takes; return why it is not created."""
    refusal = None
    for options in fallbacks(configuration):
        error = _try_to_create(admin, name, partitions, options)
        if error is None or error.code() not in REFUSED:
            break
        # The first one is about what was wanted; later ones are about what is left of it.
        refusal = refusal or error
    if error is None and refusal is not None:
        changed = configuration.items() - options.items()
        instead = ", ".join(
            f"{option}={options.get(option, 'what the cluster chooses')} instead of {value}"
            for option, value in sorted(changed)
        )
        sys.stderr.write(f"The topic {name} has {instead}: {refusal.str()}.\n")
    return error


def _try_to_create(
    admin: AdminClient, name: str, partitions: int, configuration: dict[str, str]
) -> KafkaError | None:
    # -1 is the cluster's own replication.
    topic = NewTopic(name, partitions, -1, config=configuration)
    try:
        admin.create_topics([topic], operation_timeout=CREATE_SECONDS)[name].result(CREATE_SECONDS)
    except TimeoutError:
        raise PurchasesError(
            f"The brokers did not say within {CREATE_SECONDS:g} s whether the topic {name} was"
            " created; try again."
        ) from None
    except KafkaException as error:
        reason: KafkaError = error.args[0]
        return reason
    return None


def _retention_options(days: int) -> dict[str, str]:
    return NOT_COMPACTED | {"retention.ms": str(days * DAY_MILLISECONDS)}
