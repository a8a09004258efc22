"""The deployment's topics: how they are created, and what they are now."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streaming.errors import PurchasesError, Unavailable
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
PARTITION_BYTES: Final = 32 * 1024**3
"""Of a partition of `purchases`, whose batches are not compressed. All four hold a weekend at 2,000
purchases a second, and seven days at 800; without a bound they would fill the disk."""
"""Above what a topic takes by default (1 MiB), so that large refused records are kept whole."""
APPEND_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
"""Otherwise a client could choose the time by which its purchases are judged."""


@dataclass(frozen=True)
class Topic:
    """A topic that exists; `topic_id` is Kafka's 16 bytes."""

    name: str
    topic_id: bytes
    partitions: int


def wanted_topics(names: Names) -> dict[str, tuple[int, dict[str, str]]]:
    """Return each topic's partitions and configuration, by which a missing one is created.

    Event time lives in the payload, so `purchases` has the time of append: retention reads it.
    """
    return {
        names.purchases: (
            4,
            _retained(7) | APPEND_TIME | UNPACKED | {"retention.bytes": str(PARTITION_BYTES)},
        ),
        names.redrive: (4, _retained(7) | APPEND_TIME),
        names.analytics: (4, _retained(7)),
        names.dead_letters: (1, _retained(30) | {"max.message.bytes": str(DEAD_LETTER_BYTES)}),
    }


def create_topics(settings: Settings, bootstrap_servers: str) -> list[str]:
    """Create the topics that are missing, wait until the cluster knows them, return their names.

    Existing ones stay as they are: see `alter_topics`. A missing `purchases.redrive` gets as many
    partitions as `purchases` has. If the cluster refuses an option, such as 16 MiB for dead
    letters, it chooses its own, with a line on stderr. Raises `PurchasesError` with the cluster's
    reason.
    """
    admin = AdminClient(common_config(settings, bootstrap_servers, "topics"))
    names = Names.of(settings)
    wanted = wanted_topics(names)
    if settings.embedded_broker:
        # It bounds every topic by the size of its disk.
        del wanted[names.purchases][1]["retention.bytes"]
    existing = describe_topics(admin, wanted)
    if purchases := existing.get(names.purchases):
        # The same key goes to the same partition of both, and so keeps its order.
        wanted[names.redrive] = (purchases.partitions, wanted[names.redrive][1])
    created = [name for name in wanted if name not in existing and _create(admin, name, wanted)]
    if not wait_until(
        lambda: len(describe_topics(admin, wanted)) == len(wanted), Deadline.after(CREATE_SECONDS)
    ):
        missing = min(set(wanted) - set(describe_topics(admin, wanted)))
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
        options = read_options(admin, wanted_topics(names))
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


def describe_topics(
    admin: AdminClient, names: Iterable[str], timeout: float = CALL_SECONDS
) -> dict[str, Topic]:
    """Return those of the topics that exist. Raises `PurchasesError` if the brokers do not say."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    found = {}
    futures = admin.describe_topics(TopicCollection(wanted), request_timeout=timeout)
    for name, future in futures.items():
        try:
            description = future.result(timeout)
        except TimeoutError:
            raise PurchasesError(NO_DESCRIPTION.format(name=name)) from None
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise PurchasesError(
                    f"The topic {name} cannot be described: {error.args[0].str()}."
                ) from None
        else:
            found[name] = Topic(name, topic_id_of(description), len(description.partitions))
    return found


def topic_id_of(description: Any) -> bytes:  # noqa: ANN401 - the client does not export its type
    """Return the 16 bytes of the id in a topic's description."""
    topic_id = description.topic_id
    halves = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    # Java's halves of an id are signed.
    return b"".join((half % 2**64).to_bytes(8, "big") for half in halves)


def _create(
    admin: AdminClient, name: str, wanted: Mapping[str, tuple[int, dict[str, str]]]
) -> bool:
    partitions, configuration = wanted[name]
    error = _try_to_create(admin, name, partitions, configuration)
    if error is not None and error.code() in {
        KafkaError.INVALID_CONFIG,
        KafkaError.POLICY_VIOLATION,
    }:
        sys.stderr.write(
            f"The cluster refuses the wanted limits of {name} ({error.str()}); it gets the"
            " cluster's own.\n"
        )
        # The time of append stays even then, because purchases are judged by it
        # (docs/decisions/0003).
        kept = dict((APPEND_TIME | UNPACKED | NOT_COMPACTED).items() & configuration.items())
        error = _try_to_create(admin, name, partitions, kept)
    if error is not None and error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise PurchasesError(f"The topic {name} cannot be created: {error.str()}.")
    return error is None


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


def _retained(days: int) -> dict[str, str]:
    return NOT_COMPACTED | {"retention.ms": str(days * DAY_MILLISECONDS)}
