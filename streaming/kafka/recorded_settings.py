"""The settings of a namespace that are fixed, recorded with the processor's offsets.

Every host can read them there: they need no topic of their own, and live as long as the offsets,
which the processor cannot do without. What a database records is in `store.deployment`.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.apps import PROCESSOR
from streaming.errors import Mismatch
from streaming.events.record import TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import committed_offsets
from streaming.runtime.limits import COORDINATOR_REQUEST_SECONDS
from streaming.settings import PREFIX, Settings
from streaming.system.deadline import Deadline

ANSWER_SECONDS: Final = 5.0
"""For the whole question: a fresh broker needs about a second before it answers about a group, and
one far away about ten times as long as for one answer."""
LEAST: Final = 0.1
"""Of a call's timeout in seconds, because the client refuses 0."""


class RecordedSettings(NamedTuple):
    """The settings of which a namespace has one value each, as text."""

    currency: str
    timezone: str

    @classmethod
    def of(cls, settings: Settings) -> "RecordedSettings":
        """Return what the processor records at its first commit with these settings."""
        return cls(settings.currency, settings.timezone)


def offset_metadata(topic_id: str, recorded: RecordedSettings) -> str:
    """Return what is committed with an offset: the topic's id, and the settings."""
    return " ".join((topic_id, *recorded))


def topic_id_in(metadata: str | None) -> str:
    """Return the topic's id of an offset's metadata; empty if another tool committed it."""
    return (metadata or "").partition(" ")[0]


def settings_in(metadata: str | None) -> RecordedSettings | None:
    """Return the settings of an offset's metadata; None if an older release or a tool wrote it."""
    words = (metadata or "").split(" ")
    return RecordedSettings(*words[1:]) if len(words) == 3 else None


def agreed_settings(offsets: Mapping[TopicPartition, PartitionOffset]) -> RecordedSettings | None:
    """Return the settings that the group's offsets record: those of the lowest partition.

    Two hosts that start for the first time at once may record two. Then all hosts agree on these.
    """
    all_recorded = (settings_in(offsets[partition].metadata) for partition in sorted(offsets))
    return next((recorded for recorded in all_recorded if recorded is not None), None)


def require_recorded_settings(settings: Settings) -> None:
    """Raise `Mismatch` naming the first setting that differs from what the processor recorded.

    If nothing is recorded, or this user may not see it, nothing is compared. Blocks for 5 s at
    most. Raises `PurchasesError` if there is no embedded broker.
    """
    recorded = _read_recorded(settings)
    if recorded is not None:
        _require_same(settings, recorded)


def require_settings_of(offsets: Iterable[PartitionOffset], settings: Settings) -> None:
    """Raise `Mismatch` as `require_recorded_settings` does, asking only if an offset differs."""
    given = RecordedSettings.of(settings)
    all_recorded = (settings_in(offset.metadata) for offset in offsets)
    other = next((one for one in all_recorded if one not in {None, given}), None)
    if other is not None:
        _require_same(settings, _read_recorded(settings) or other)


def _require_same(settings: Settings, recorded: RecordedSettings) -> None:
    given = RecordedSettings.of(settings)
    for field, right, here in zip(RecordedSettings._fields, recorded, given, strict=True):
        if right != here:
            name = field.upper()
            change = {
                "timezone": "or change it, where the database is, with"
                f" `purchases db rebuild --timezone {here}`"
            }
            other = change.get(field, f"or name another {PREFIX}NAMESPACE")
            raise Mismatch(
                f"{PREFIX}{name} is {here} here, but the processor was started with {right}"
                f" (recorded in the group {Names.of(settings).processor_group}): set"
                f" {PREFIX}{name}={right}, {other}."
            )


def _read_recorded(settings: Settings) -> RecordedSettings | None:
    names, deadline = Names.of(settings), Deadline.after(ANSWER_SECONDS)
    group = names.processor_group
    common = common_config(settings, bootstrap_servers(settings), "recorded-settings")
    try:
        # All topics, because a client that asks for one may create it.
        admin = AdminClient(common)
        listed = admin.list_topics(timeout=deadline.left()).topics
        # If this user may not see the group, this fails at once, and the next call never would.
        described = admin.describe_consumer_groups(
            [group], request_timeout=COORDINATOR_REQUEST_SECONDS
        )
        described[group].result(deadline.left(LEAST))
        read = [
            (n, p) for n in names.read_by(PROCESSOR) if n in listed for p in listed[n].partitions
        ]
        return agreed_settings(committed_offsets(common, group, read, deadline.left(LEAST)))
    except (KafkaException, TimeoutError):
        return None
