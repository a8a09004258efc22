"""The stored positions of both apps against the log, and what is wrong with one.

The processor's positions are its group's committed offsets, the consumer's are in the database. How
they are moved is in `reset`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.apps import ANALYTICS, APPS, PROCESSOR
from streaming.errors import Mismatch
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config, common_config
from streaming.kafka.missing_offsets import published_without_offsets
from streaming.kafka.names import Names
from streaming.kafka.offsets import committed_offsets, list_bounds
from streaming.kafka.preflight import Cluster, preflight
from streaming.kafka.retry import answer
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.store.deployment import recorded_deployment
from streaming.store.offsets import StoredOffset, read_offsets

CLIENT: Final = "offsets"
CALL_SECONDS: Final = 5.0
NEVER: Final = -1
MEANINGS: Final = {
    "lost": "what comes next was deleted before it was read",
    "ahead": "that is past its end",
    "other_topic": "the topic was deleted and created again",
    "other_cluster": "the position is of another cluster",
    "deleted": "Kafka deleted the position, with its topic or as nothing was read for long",
}


class Position(Struct, frozen=True):
    """Where an app stands in a partition, and what the log holds: from `first` to before `end`.

    `position` is -1 where there is none. `state` is `ok`, `new` (no position yet), `lost` (records
    were deleted before they were read: `missing` many), `ahead` (of the log's end), `other_topic`
    (made anew under this name), `other_cluster` or `deleted` (by Kafka: with the topic, or as
    the processor did not run for longer than it keeps offsets, a week of itself).
    """

    app: str
    topic: str
    partition: int
    position: int
    first: int
    end: int
    state: str
    missing: int = 0


def list_positions(settings: Settings) -> list[Position]:
    """Give all positions of both apps. Raises `Unavailable` where the brokers do not answer."""
    return look(settings, [app.name for app in APPS])[0]


def require_positions_of_this_log(settings: Settings, app: str) -> None:
    """Raise `Mismatch` where a position of the app is of another log, or not in it any more.

    Its workers would stop there too; but a position past the end looks like one that is caught up.
    """
    for at in look(settings, [app])[0]:
        if at.state not in {"ok", "new"}:
            target = "latest" if at.state == "ahead" else "earliest"
            position = "no position" if at.position < 0 else f"position {at.position}"
            raise Mismatch(
                f"{app} has {position} in {at.topic}-{at.partition}, which holds {at.first} to"
                f" {at.end}: {MEANINGS[at.state]}. See `purchases offsets list`, and"
                f" go on with `purchases offsets reset {app} --to {target}`."
            )


def state_of(
    position: int, first: int, end: int, known: StoredOffset | None, now: StoredOffset
) -> tuple[str, int]:
    """Judge a position; give its state, and how many records it has missed."""
    if known is not None and known.cluster_id and known.cluster_id != now.cluster_id:
        return "other_cluster", 0
    if known is not None and known.topic_id and known.topic_id != now.topic_id:
        return "other_topic", 0
    if position < 0:
        return "new", 0
    if position < first:
        return "lost", first - position
    return ("ahead" if position > end else "ok"), 0


def look(settings: Settings, apps: Sequence[str]) -> tuple[list[Position], Cluster]:
    """Look at the positions of `apps`, asking for no more than these may see; give the cluster too.

    Raises what `preflight` does, and `Unavailable` where the brokers do not answer.
    """
    names = Names.of(settings)
    published = names.read_by(ANALYTICS)
    read = {app.name: names.read_by(app) for app in APPS if app.name in apps}
    topics = [topic for topics in read.values() for topic in topics]
    group = names.processor_group if PROCESSOR.name in apps else None
    read_too = published if group else []
    cluster = preflight(settings, reads=[*read_too, *topics], group=group)
    places = _places(cluster, topics)
    common = common_config(settings, cluster.bootstrap_servers, CLIENT)
    bounds = list_bounds(AdminClient(common), places, stable=False, timeout=CALL_SECONDS)
    known = {} if group is None else _committed(common, group)
    deleted = group is not None and not known and _is_deleted(common, group, cluster, published)
    if ANALYTICS.name in apps:
        known |= _stored(settings)
    found = []
    for app, topics_read in read.items():
        for place in (place for place in places if place[0] in topics_read):
            first, end = bounds[place]
            stored = known.get(place)
            position = NEVER if stored is None else stored.next_offset
            topic_id = topic_id_text(cluster.topics[place[0]].topic_id)
            now = StoredOffset(0, topic_id, cluster.cluster_id)
            state, missing = state_of(position, first, end, stored, now)
            if deleted and app == PROCESSOR.name:
                state = "deleted"
            found.append(Position(app, *place, position, first, end, state, missing))
    return found, cluster


def _places(cluster: Cluster, topics: Sequence[str]) -> list[TopicPartition]:
    return [(topic, n) for topic in topics for n in range(cluster.topics[topic].partitions)]


def _is_deleted(common: Config, group: str, cluster: Cluster, published: Sequence[str]) -> bool:
    places = _places(cluster, published)
    return answer(lambda _: published_without_offsets(common, group, places)) is not None


def _committed(common: Config, group: str) -> dict[TopicPartition, StoredOffset]:
    """Give the processor's offsets; their metadata is the topic's id."""
    admin = AdminClient(common)
    found = answer(lambda seconds: committed_offsets(admin, group, seconds))
    return {
        place: StoredOffset(offset.offset, offset.metadata or "", "")
        for place, offset in found.items()
    }


def _stored(settings: Settings) -> Mapping[TopicPartition, StoredOffset]:
    if not settings.database_path.exists():
        return {}
    with read_store(settings) as store:
        return read_offsets(store, group_of(settings, store))


def group_of(settings: Settings, store: StoreConnection) -> str:
    """Give the consumer's group, which is of the deployment that the database records."""
    deployment = recorded_deployment(store)
    return Names.of(settings).analytics_group(deployment.deployment_id if deployment else "")
