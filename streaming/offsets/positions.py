"""The stored positions of both apps against the log, and what is wrong with one.

The processor's positions are its group's committed offsets, the consumer's are in the database. How
they are moved is in `reset`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka.admin import AdminClient
from msgspec import Struct, structs

from streaming.apps import APPS, PROCESSOR, App
from streaming.errors import Mismatch
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.acls import consumer_rules, reader_rules
from streaming.kafka.config import Config, common_config
from streaming.kafka.missing_offsets import published_without_offsets
from streaming.kafka.names import Names
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.preflight import Cluster, preflight
from streaming.kafka.recorded_settings import topic_id_in
from streaming.kafka.retry import answer
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store, store_exists
from streaming.store.deployment import recorded_deployment
from streaming.store.offsets import StoredOffset, read_offsets

CLIENT: Final = "offsets"
NO_POSITION: Final = -1
MEANINGS: Final = {
    "lost": "what comes next was deleted before it was read",
    "ahead": "that is past its end",
    "other_topic": "the topic was deleted and created again",
    "other_cluster": "the position is of another cluster",
    "deleted": "Kafka deleted the position, with its topic or because nothing was read for long",
}


class StoredPosition(Struct, frozen=True):
    """An app's position in a partition, and what the log holds: from `first` to before `end`.

    `position` is -1 if there is none. `state` is `ok`, `new` (no position yet), `lost` (records
    were deleted before they were read: `missing` many), `ahead` (of the log's end), `other_topic`
    (created again under this name), `other_cluster` or `deleted` (by Kafka: with the topic, or
    because the processor did not run for longer than it keeps offsets, by default a week).
    """

    app: str
    topic: str
    partition: int
    position: int
    first: int
    end: int
    state: str
    missing: int = 0


def list_positions(settings: Settings) -> list[StoredPosition]:
    """Return all positions of both apps. Raises `Unavailable` if the brokers do not answer."""
    return read_positions(settings, APPS)[0]


def require_positions_of_this_log(settings: Settings, app: App) -> None:
    """Raise `Mismatch` if a position of the app is of another log, or not in it any more.

    Its workers would stop there too. But a position past the end looks like one that is caught up.
    """
    for at in read_positions(settings, [app])[0]:
        if at.state not in {"ok", "new"}:
            target = "latest" if at.state == "ahead" else "earliest"
            position = "no position" if at.position < 0 else f"position {at.position}"
            raise Mismatch(
                f"{app.name} has {position} in {at.topic}-{at.partition}, which holds {at.first} to"
                f" {at.end}: {MEANINGS[at.state]}. See `purchases offsets list`, and"
                f" go on with `purchases offsets reset {app.name} --to {target}`."
            )


def state_of(
    position: int, first: int, end: int, stored: StoredOffset | None, now: StoredOffset
) -> tuple[str, int]:
    """Return a position's state, and how many records it has missed.

    `stored` and `now` say of which topic and cluster the position is, and which there are.
    """
    # The ids first: compared with another log an offset means nothing.
    # The cluster before the topic, because on another one each topic has another id too.
    if stored is not None and stored.cluster_id and stored.cluster_id != now.cluster_id:
        return "other_cluster", 0
    if stored is not None and stored.topic_id and stored.topic_id != now.topic_id:
        return "other_topic", 0
    if position < 0:
        return "new", 0
    if position < first:
        return "lost", first - position
    return ("ahead" if position > end else "ok"), 0


def read_positions(settings: Settings, apps: Sequence[App]) -> tuple[list[StoredPosition], Cluster]:
    """Return the positions of `apps`, and the cluster; only what these may see is asked for.

    Raises what `preflight` does, and `Unavailable` if the brokers do not answer.
    """
    cluster = _preflight(settings, apps)
    positions: list[StoredPosition] = []
    for app in apps:
        if app is PROCESSOR:
            positions += _processor_positions(settings, cluster)
        else:
            positions += _compare(settings, cluster, app, _read_stored(settings))
    return positions, cluster


def group_of(settings: Settings, store: StoreConnection) -> str:
    """Return the consumer's group, which is of the deployment that the database records."""
    deployment = recorded_deployment(store)
    return Names.of(settings).analytics_group(deployment.deployment_id if deployment else "")


def _preflight(settings: Settings, apps: Sequence[App]) -> Cluster:
    names = Names.of(settings)
    # What the processor published tells whether a group without offsets has lost them.
    needs = reader_rules(names) if PROCESSOR in apps else consumer_rules(names)
    return preflight(settings, needs, optional=[names.redrive])


def _processor_positions(settings: Settings, cluster: Cluster) -> list[StoredPosition]:
    """Return the processor's positions: all `deleted` if it has published, but has no offset."""
    names = Names.of(settings)
    common, group = _common(settings, cluster), names.processor_group
    read = partitions_of(cluster, names.read_by(PROCESSOR))
    committed = _read_committed(common, group, read)
    positions = _compare(settings, cluster, PROCESSOR, committed)
    # Only then: the question reads what was published, which takes seconds.
    if not committed:
        published = partitions_of(cluster, [names.analytics, names.dead_letters])
        if answer(lambda _: published_without_offsets(common, group, read, published)) is not None:
            return [structs.replace(position, state="deleted") for position in positions]
    return positions


def _compare(
    settings: Settings,
    cluster: Cluster,
    app: App,
    offsets: Mapping[TopicPartition, StoredOffset],
) -> list[StoredPosition]:
    """Compare an app's stored offsets with what its partitions hold now."""
    partitions = partitions_of(cluster, Names.of(settings).read_by(app))
    admin = AdminClient(_common(settings, cluster))
    # The high watermark: a reset to `latest` may have set a position behind an open transaction.
    bounds = list_bounds(admin, partitions, stable=False, timeout=CALL_SECONDS)
    positions = []
    for partition in partitions:
        first, end = bounds[partition]
        stored = offsets.get(partition)
        position = NO_POSITION if stored is None else stored.next_offset
        topic_id = topic_id_text(cluster.topics[partition[0]].topic_id)
        now = StoredOffset(0, topic_id, cluster.cluster_id)
        state, missing = state_of(position, first, end, stored, now)
        positions.append(StoredPosition(app.name, *partition, position, first, end, state, missing))
    return positions


def partitions_of(cluster: Cluster, topics: Sequence[str]) -> list[TopicPartition]:
    """Return all partitions of those of the topics that exist."""
    existing = [cluster.topics[topic] for topic in topics if topic in cluster.topics]
    return [(topic.name, number) for topic in existing for number in range(topic.partitions)]


def _common(settings: Settings, cluster: Cluster) -> Config:
    return common_config(settings, cluster.bootstrap_servers, CLIENT)


def _read_committed(
    common: Config, group: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, StoredOffset]:
    """Return the processor's committed offsets; their metadata has the topic's id."""
    offsets = answer(lambda seconds: committed_offsets(common, group, partitions, seconds))
    return {
        partition: StoredOffset(offset.offset, topic_id_in(offset.metadata), "")
        for partition, offset in offsets.items()
    }


def _read_stored(settings: Settings) -> Mapping[TopicPartition, StoredOffset]:
    # Before the first `analyze` there is no database, and every position is new.
    if not store_exists(settings):
        return {}
    with read_store(settings) as store:
        return read_offsets(store, group_of(settings, store))
