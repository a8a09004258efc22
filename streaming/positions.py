"""The stored positions of both apps against the log: what is wrong with one, and moving it.

The processor's positions are its group's committed offsets, the consumer's are in the database. A
position is only moved while nobody works, and by a person who has seen what that loses or repeats.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.errors import Mismatch, PurchasesError, UsageError
from streaming.events.record import topic_id_text
from streaming.events.values import micros_of
from streaming.kafka.answers import answer
from streaming.kafka.config import Config, common_config, consumer_config
from streaming.kafka.deleted import published_without
from streaming.kafka.names import Names
from streaming.kafka.offsets import Place, committed_offsets, list_bounds
from streaming.kafka.preflight import Cluster, preflight
from streaming.lease import holder
from streaming.settings import Settings
from streaming.store.connection import connect_current, store_errors
from streaming.store.migrate import recorded_deployment
from streaming.store.offsets import StoredOffset, move_offsets, read_offsets
from streaming.supervisor import supervisor_path

CLIENT: Final = "offsets"
CALL_SECONDS: Final = 5.0
LEAVING_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
APPS: Final = ("processor", "analytics")
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


class Move(Struct, frozen=True):
    """A position that is, or would be, moved; `skipped` and `repeated` count offsets.

    Of a deleted position nobody knows what was read: both are then the most that it can be.
    """

    app: str
    topic: str
    partition: int
    before: int
    after: int
    skipped: int
    repeated: int


class Target(Struct, frozen=True):
    """Where to: `earliest`, `latest`, an offset, or the first record at or after a time."""

    text: str
    offset: int | None = None
    time: datetime | None = None


class Where(Struct, frozen=True):
    """Which partitions: of one topic or of all that an app reads, of one number or of all."""

    topic: str | None = None
    partition: int | None = None

    def __str__(self) -> str:
        """Give it as a message names it."""
        place = [] if self.partition is None else [f"partition {self.partition}"]
        return " of ".join([*place, *([] if self.topic is None else [f"topic {self.topic}"])])


def list_positions(settings: Settings) -> list[Position]:
    """Give all positions of both apps. Raises `Unavailable` where the brokers do not answer."""
    return _look(settings, APPS)[0]


def require_positions_of_this_log(settings: Settings, app: str) -> None:
    """Raise `Mismatch` where a position of the app is of another log, or not in it any more.

    Its workers would stop there too; but a position past the end looks like one that is caught up.
    """
    for at in _look(settings, [app])[0]:
        if at.state not in {"ok", "new"}:
            raise Mismatch(
                f"{app} stands at {at.position} of {at.topic}-{at.partition}, which holds"
                f" {at.first} to {at.end}: {MEANINGS[at.state]}. See `purchases offsets list`, and"
                f" go on with `purchases offsets reset {app}`."
            )


def reset(settings: Settings, app: str, target: Target, where: Where, *, do: bool) -> list[Move]:
    """Move an app's positions `where` it is said; without `do` only say how.

    Raises `UsageError` for an app, topic or partition that is not there, an offset outside the log,
    or one of several topics; `PurchasesError` while a worker of the app runs here, or for one of
    several partitions whose positions were all deleted.
    """
    if app not in APPS:
        raise UsageError(f"{app} must be one of {', '.join(APPS)}.")
    _require_stopped(settings, app)
    positions, cluster = _look(settings, [app])
    chosen = [
        p
        for p in positions
        if p.app == app
        and where.topic in (None, p.topic)
        and where.partition in (None, p.partition)
    ]
    if not chosen:
        raise UsageError(f"{app} reads no {where}; see `purchases offsets list`.")
    if len(chosen) < len(positions) and chosen[0].state == "deleted":
        raise PurchasesError(
            "Kafka deleted the positions of all partitions; with one of them set, the others would"
            " begin with the first record unasked. Leave out --partition and --topic."
        )
    topics = sorted({p.topic for p in chosen})
    if target.offset is not None and len(topics) > 1:
        raise UsageError(f"--to {target.offset} is of one topic: add --topic {topics[0]}, say.")
    times = _offsets_at(settings, cluster, chosen, target.time)
    moves = [_move(position, target, times) for position in chosen]
    if do and app == "processor":
        _commit(settings, cluster, moves)
    elif do:
        _store(settings, cluster, moves)
    return moves


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


def _look(settings: Settings, apps: Sequence[str]) -> tuple[list[Position], Cluster]:
    """Look at the apps' positions, asking for no more than these may see."""
    names = Names.of(settings)
    published = [names.analytics, names.dead_letters]
    every = {"processor": [names.purchases], "analytics": published}
    read = {app: every[app] for app in apps}
    topics = [topic for topics in read.values() for topic in topics]
    group = names.processor_group if "processor" in apps else None
    read_too = published if group else []
    cluster = preflight(settings, reads=[*read_too, *topics], group=group)
    places = _places(cluster, topics)
    common = common_config(settings, cluster.bootstrap_servers, CLIENT)
    bounds = list_bounds(AdminClient(common), places, stable=False, timeout=CALL_SECONDS)
    known = {} if group is None else _committed(common, group)
    deleted = group is not None and not known and _is_deleted(common, group, cluster, published)
    if "analytics" in apps:
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
            if deleted and app == "processor":
                state = "deleted"
            found.append(Position(app, *place, position, first, end, state, missing))
    return found, cluster


def _places(cluster: Cluster, topics: Sequence[str]) -> list[Place]:
    return [(topic, n) for topic in topics for n in range(cluster.topics[topic].partitions)]


def _is_deleted(common: Config, group: str, cluster: Cluster, published: Sequence[str]) -> bool:
    places = _places(cluster, published)
    return answer(lambda _: published_without(common, group, places)) is not None


def _committed(common: Config, group: str) -> dict[Place, StoredOffset]:
    """Give the processor's offsets; their metadata is the topic's id."""
    admin = AdminClient(common)
    found = answer(lambda seconds: committed_offsets(admin, group, seconds))
    return {
        place: StoredOffset(offset.offset, offset.metadata or "", "")
        for place, offset in found.items()
    }


def _stored(settings: Settings) -> Mapping[Place, StoredOffset]:
    path = settings.database_path
    if not path.exists():
        return {}
    with closing(connect_current(path, read_only=True)) as store, store_errors(path):
        return read_offsets(store, _group(settings, store))


def _group(settings: Settings, store: sqlite3.Connection) -> str:
    deployment = recorded_deployment(store)
    return Names.of(settings).analytics_group(deployment.deployment_id if deployment else "")


def _require_stopped(settings: Settings, app: str) -> None:
    leases = [supervisor_path(settings.home, app)]
    leases += sorted((settings.home / "workers").glob(f"{app}-*.lock"))
    for path in leases:
        if pid := holder(path):
            raise PurchasesError(
                f"{app} runs as process {pid}; stop it first (`purchases down`), as a position that"
                " moves under a worker is written over."
            )


def _offsets_at(
    settings: Settings, cluster: Cluster, chosen: Sequence[Position], since: datetime | None
) -> dict[Place, int]:
    """Give for each partition the first offset at or after a time; the end where there is none."""
    if since is None:
        return {}
    milliseconds = micros_of(since) // 1000
    config = consumer_config(settings, cluster.bootstrap_servers, CLIENT, CLIENT)
    with closing(Consumer(config)) as consumer:
        asked = [TopicPartition(p.topic, p.partition, milliseconds) for p in chosen]
        found = answer(lambda seconds: consumer.offsets_for_times(asked, timeout=seconds))
    return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}


def _move(position: Position, target: Target, times: Mapping[Place, int]) -> Move:
    after = position.end
    if target.offset is not None:
        after = target.offset
        if not position.first <= after <= position.end:
            raise UsageError(
                f"--to {after} is outside {position.topic}-{position.partition}, which holds"
                f" {position.first} to {position.end}."
            )
    elif target.time is not None:
        after = times.get((position.topic, position.partition), position.end)
    elif target.text == "earliest":
        after = position.first
    before = position.position if position.state in {"ok", "lost", "ahead"} else position.first
    known_to = position.end if position.state == "deleted" else before
    return Move(
        position.app,
        position.topic,
        position.partition,
        position.position,
        after,
        skipped=max(after - max(before, position.first), 0),
        repeated=max(min(known_to, position.end) - after, 0),
    )


def _commit(settings: Settings, cluster: Cluster, moves: Sequence[Move]) -> None:
    """Commit for the group, with the topic's id.

    A member that has just died is still one until its session times out; that is waited for.
    Raises `PurchasesError` where one lives.
    """
    group = Names.of(settings).processor_group
    config = common_config(settings, cluster.bootstrap_servers, CLIENT)
    ids = {name: topic_id_text(topic.topic_id) for name, topic in cluster.topics.items()}
    offsets = [
        TopicPartition(move.topic, move.partition, move.after, ids[move.topic]) for move in moves
    ]
    session = int(consumer_config(settings, "", CLIENT, group)["session.timeout.ms"]) / 1000
    deadline = time.monotonic() + session + LEAVING_SECONDS
    # Each time by a new client: one asks its first coordinator for ever.
    while reason := _refusal(AdminClient(config), group, offsets):
        if time.monotonic() > deadline:
            raise PurchasesError(
                f"The group {group} takes no offsets: {reason}. Does a processor run elsewhere?"
            )
        time.sleep(LOOK_SECONDS)


def _refusal(admin: AdminClient, group: str, offsets: list[TopicPartition]) -> str | None:
    """Alter the group's offsets; give why it would not, None where it did."""
    asked = [ConsumerGroupTopicPartitions(group, offsets)]
    try:
        done = admin.alter_consumer_group_offsets(asked, request_timeout=CALL_SECONDS)[
            group
        ].result(CALL_SECONDS)
    except KafkaException as error:
        return str(error.args[0].str())
    except TimeoutError:
        return "the brokers do not answer"
    errors = (partition.error for partition in done.topic_partitions)
    return next((error.str() for error in errors if error is not None), None)


def _store(settings: Settings, cluster: Cluster, moves: Sequence[Move]) -> None:
    path = settings.database_path
    positions = {
        (move.topic, move.partition): StoredOffset(
            move.after, topic_id_text(cluster.topics[move.topic].topic_id), cluster.cluster_id
        )
        for move in moves
    }
    with closing(connect_current(path)) as store, store_errors(path):
        if recorded_deployment(store) is None:
            raise PurchasesError(
                f"{path} has no positions yet; the first `purchases analyze` begins with the first"
                " record."
            )
        analytics = Names.of(settings).analytics
        move_offsets(store, _group(settings, store), analytics, positions)
