"""The options of the topics that decide what a producer may do, and what Kafka deletes.

They are asked of the brokers here, and changed if a person says so. With which options a missing
topic is created stands in `topics`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.acls import Rule, lacking_sentence
from streaming.runtime.limits import CALL_SECONDS

MAX_BATCH_BYTES: Final = 1_048_588
"""Kafka's own default. A purchase has at most 256 KiB, with 512 KiB of headers and key."""
UNPACKED: Final = {
    "compression.type": "uncompressed",
    "max.message.bytes": str(MAX_BATCH_BYTES),
}
"""With both, the broker unpacks each batch that it is sent, and refuses one that is over 1 MiB
then. Otherwise 12 KB can unpack to more than a client reads, and end every reader of the topic."""
NOT_COMPACTED: Final = {"cleanup.policy": "delete"}
"""Of a compacted topic Kafka keeps only the latest record of each key, also if nobody has read the
others. It takes no record without a key."""

LOOK_SECONDS: Final = 6 * 60
"""How often a broker looks for what to delete (`log.retention.check.interval.ms`, 5 minutes), and
a minute until the file is gone."""

Options = Mapping[str, ConfigEntry]


@dataclass(frozen=True)
class UnsafeOption:
    """An option of a topic by which records are lost or end their readers, and its safe value."""

    topic: str
    name: str
    value: str
    safe_value: str


@dataclass(frozen=True)
class Retention:
    """How long, and how many bytes of a partition, a topic is kept; None is without a bound."""

    seconds: float | None
    size: int | None


def read_options(
    admin: AdminClient, topics: Iterable[str], timeout: float = CALL_SECONDS
) -> dict[str, Options]:
    """Return the options of each topic by name.

    Raises `Unavailable` if they are not answered in time, or this user may not see them.
    """
    names = list(topics)
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in names]
    asked = admin.describe_configs(resources, request_timeout=timeout)
    try:
        return {resource.name: future.result(timeout) for resource, future in asked.items()}
    except KafkaException as error:
        reason = error.args[0]
        if reason.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            lacking = [Rule("topic", name, "DESCRIBE_CONFIGS") for name in names]
            raise Unavailable(lacking_sentence(lacking)) from None
        raise Unavailable(f"The topics' options: {reason.str()}.") from None
    except TimeoutError:
        raise Unavailable("The broker does not answer in time.") from None


def unsafe_options(topic: str, options: Options, safe: Mapping[str, str]) -> list[UnsafeOption]:
    """Return those options of a topic that differ from the `safe` ones in what they let happen.

    One that the cluster does not let anybody change is none.
    """
    unsafe = []
    for name, safe_value in safe.items():
        entry = options.get(name)
        # A managed cluster may keep an option to itself, and a person could do nothing about it.
        if entry is None or entry.is_read_only or entry.value is None:
            continue
        # A smaller batch than ours is safe too; only a larger one unpacks to more than is read.
        is_safe = entry.value == safe_value or (
            name == "max.message.bytes" and int(entry.value) < MAX_BATCH_BYTES
        )
        if not is_safe:
            unsafe.append(UnsafeOption(topic, name, entry.value, safe_value))
    return unsafe


def retention(options: Options) -> Retention:
    """Return a topic's retention."""
    milliseconds, size = (
        None if entry is None or entry.value is None or int(entry.value) < 0 else int(entry.value)
        for entry in (options.get("retention.ms"), options.get("retention.bytes"))
    )
    return Retention(None if milliseconds is None else milliseconds / 1000, size)


def held_until(options: Options) -> datetime | None:
    """Return until when, in UTC, a topic may hold what was written until now; None is forever.

    Kafka deletes a whole segment when its last record is older than the retention. So a record
    may stay for as long as its segment takes records, and a look of the broker's, longer.
    """
    kept = retention(options).seconds
    policy, segment = options.get("cleanup.policy"), options.get("segment.ms")
    if kept is None or (policy is not None and "delete" not in (policy.value or "delete")):
        return None
    filling = 0 if segment is None or segment.value is None else int(segment.value) / 1000
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        return now + timedelta(seconds=kept + filling + LOOK_SECONDS)
    # Retention may be set to more years than a date has.
    except OverflowError:
        return None


def make_safe(admin: AdminClient, unsafe: Sequence[UnsafeOption]) -> None:
    """Set each option to its safe value. Raises `PurchasesError` with the cluster's reason."""
    changes: dict[str, list[ConfigEntry]] = {}
    for option in unsafe:
        entry = ConfigEntry(
            option.name, option.safe_value, incremental_operation=AlterConfigOpType.SET
        )
        changes.setdefault(option.topic, []).append(entry)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        for topic, entries in changes.items()
    ]
    if not resources:
        return
    asked = admin.incremental_alter_configs(resources, request_timeout=CALL_SECONDS)
    for resource, future in asked.items():
        try:
            future.result(CALL_SECONDS)
        except KafkaException as error:
            raise PurchasesError(
                f"The topic {resource.name} cannot be altered: {error.args[0].str()}."
            ) from None
        except TimeoutError:
            raise PurchasesError(
                f"The brokers did not say within {CALL_SECONDS:g} s whether the topic"
                f" {resource.name} was altered; try again."
            ) from None
