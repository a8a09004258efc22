"""Moving the stored positions, where that is the way out.

A position is only moved while nobody works, and by a person who has seen what that loses or
repeats. What a position is, and what is wrong with one, is in `positions`.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from streaming.apps import APPS, PROCESSOR, app_named
from streaming.errors import PurchasesError, UsageError
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import commit_offsets
from streaming.kafka.preflight import Cluster
from streaming.kafka.retry import answer
from streaming.offsets.inspect import CALL_SECONDS, CLIENT, Position, group_of, look
from streaming.settings import Settings
from streaming.store.connection import write_store
from streaming.store.deployment import recorded_deployment
from streaming.store.offsets import StoredOffset, move_offsets
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.units import micros_of

LEAVING_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5


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


def reset(settings: Settings, app: str, target: Target, where: Where, *, do: bool) -> list[Move]:
    """Move an app's positions `where` it is said; without `do` only say how.

    Raises `UsageError` for an app, topic or partition that is not there, an offset outside the log,
    or one of several topics; `PurchasesError` while a worker of the app runs here, or for one of
    several partitions whose positions were all deleted.
    """
    if app_named(app) is None:
        raise UsageError(f"{app} must be one of {', '.join(one.name for one in APPS)}.")
    _require_stopped(settings, app)
    positions, cluster = look(settings, [app])
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
    if do and app == PROCESSOR.name:
        _commit(settings, cluster, moves)
    elif do:
        _store(settings, cluster, moves)
    return moves


def _require_stopped(settings: Settings, app: str) -> None:
    home = Home(settings.home)
    for path in (home.supervisor_lease(app), *home.list_worker_leases(app)):
        if pid := holder(path):
            raise PurchasesError(
                f"{app} runs as process {pid}; stop it first (`purchases down`), as a position that"
                " moves under a worker is written over."
            )


def _offsets_at(
    settings: Settings, cluster: Cluster, chosen: Sequence[Position], since: datetime | None
) -> dict[TopicPartition, int]:
    """Give for each partition the first offset at or after a time; the end where there is none."""
    if since is None:
        return {}
    milliseconds = micros_of(since) // 1000
    config = consumer_config(settings, cluster.bootstrap_servers, CLIENT, CLIENT)
    with closing(Consumer(config)) as consumer:
        asked = [PartitionOffset(p.topic, p.partition, milliseconds) for p in chosen]
        found = answer(lambda seconds: consumer.offsets_for_times(asked, timeout=seconds))
    return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}


def _move(position: Position, target: Target, times: Mapping[TopicPartition, int]) -> Move:
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
        PartitionOffset(move.topic, move.partition, move.after, ids[move.topic]) for move in moves
    ]
    session = int(consumer_config(settings, "", CLIENT, group)["session.timeout.ms"]) / 1000
    deadline = time.monotonic() + session + LEAVING_SECONDS
    # Each time by a new client: one asks its first coordinator for ever.
    while reason := commit_offsets(AdminClient(config), group, offsets, CALL_SECONDS):
        if time.monotonic() > deadline:
            raise PurchasesError(
                f"The group {group} takes no offsets: {reason}. Does a processor run elsewhere?"
            )
        time.sleep(LOOK_SECONDS)


def _store(settings: Settings, cluster: Cluster, moves: Sequence[Move]) -> None:
    positions = {
        (move.topic, move.partition): StoredOffset(
            move.after, topic_id_text(cluster.topics[move.topic].topic_id), cluster.cluster_id
        )
        for move in moves
    }
    with write_store(settings) as store:
        if recorded_deployment(store) is None:
            raise PurchasesError(
                f"{settings.database_path} has no positions yet; the first `purchases analyze`"
                " begins with the first record."
            )
        analytics = Names.of(settings).analytics
        move_offsets(store, group_of(settings, store), analytics, positions)
