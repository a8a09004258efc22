"""Offset reset: the change of an app's stored positions by a person.

A position is only moved while no worker of the app runs, and by somebody who has seen what that
skips or repeats. What a position is, and what is wrong with one, is in `positions`.
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

from streaming.apps import APPS, PROCESSOR, App, app_named
from streaming.errors import PurchasesError, UsageError
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import commit_offsets, committed_offsets, offset_at
from streaming.kafka.preflight import Cluster
from streaming.kafka.recorded_settings import RecordedSettings, agreed_settings, offset_metadata
from streaming.kafka.retry import answer
from streaming.offsets.positions import (
    CLIENT,
    StoredPosition,
    group_of,
    partitions_of,
    read_positions,
)
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.store.connection import sentence_start, write_store
from streaming.store.deployment import recorded_deployment
from streaming.store.offsets import StoredOffset, move_offsets
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.units import micros_of

LEAVING_SECONDS: Final = 2.0
"""For the broker to notice that a session is over."""
RETRY_SECONDS: Final = 0.5
"""Far below the session timeout (6 s), which is what is waited for."""


class Move(Struct, frozen=True):
    """A position that is, or would be, moved; `skipped` and `repeated` count offsets.

    For a deleted position nobody knows what was read: both are then the most that it can be.
    """

    app: str
    topic: str
    partition: int
    before: int
    after: int
    skipped: int
    repeated: int


class Target(Struct, frozen=True):
    """The target: `earliest`, `latest`, an offset, or the first record at or after a time."""

    text: str
    offset: int | None = None
    time: datetime | None = None


class PartitionFilter(Struct, frozen=True):
    """Which partitions: of one topic or of all that an app reads, of one number or of all."""

    topic: str | None = None
    partition: int | None = None

    def __str__(self) -> str:
        """Return it as a message names it."""
        number = [] if self.partition is None else [f"partition {self.partition}"]
        return " of ".join([*number, *([] if self.topic is None else [f"topic {self.topic}"])])

    def takes(self, position: StoredPosition) -> bool:
        """Return whether the position is of such a partition."""
        return self.topic in {None, position.topic} and self.partition in {None, position.partition}


def reset(
    settings: Settings, name: str, target: Target, partitions: PartitionFilter, *, apply: bool
) -> list[Move]:
    """Move the named app's positions in the `partitions`; unless `apply`, only return the moves.

    Raises `UsageError` for an app, topic or partition that is not there, an offset outside the log,
    or one offset for several topics; `PurchasesError` while a worker of the app runs here, or for
    some of the partitions if the positions of all were deleted.
    """
    app = app_named(name)
    if app is None:
        raise UsageError(f"{name} must be one of {', '.join(one.name for one in APPS)}.")
    # A worker that starts after this does no harm. Kafka takes no offsets for a group with members,
    # and the store's writer notices a position that has moved.
    _require_stopped(settings, name)
    positions, cluster = read_positions(settings, [app])
    chosen = _choose(app, positions, target, partitions)
    times = _offsets_at(settings, cluster, chosen, target.time)
    moves = [plan_move(position, target, times) for position in chosen]
    if apply and app is PROCESSOR:
        _commit(settings, cluster, moves)
    elif apply:
        _store(settings, cluster, moves)
    return moves


def _choose(
    app: App, positions: Sequence[StoredPosition], target: Target, partitions: PartitionFilter
) -> list[StoredPosition]:
    """Return the positions to move, refusing a choice of which the target makes no sense."""
    chosen = [position for position in positions if partitions.takes(position)]
    if not chosen:
        raise UsageError(f"{app.name} reads no {partitions}; see `purchases offsets list`.")
    if len(chosen) < len(positions) and chosen[0].state == "deleted":
        raise PurchasesError(
            "Kafka deleted the positions of all partitions; with one of them set, the others would"
            " begin with the first record unasked. Leave out --partition and --topic."
        )
    topics = sorted({position.topic for position in chosen})
    if target.offset is not None and len(topics) > 1:
        raise UsageError(
            f"--to {target.offset} is an offset of one topic, but {app.name} reads several; add"
            f" --topic {topics[0]}, for example."
        )
    return chosen


def _require_stopped(settings: Settings, app: str) -> None:
    # Leases tell of this home only. On other hosts the group's members do, in `_commit`.
    home = Home(settings.home)
    for path in (home.supervisor_lease(app), *home.list_worker_leases(app)):
        if pid := holder(path):
            raise PurchasesError(
                f"{app} runs as process {pid}; stop it first (`purchases down`): a running worker"
                " would overwrite the position."
            )


def _offsets_at(
    settings: Settings, cluster: Cluster, chosen: Sequence[StoredPosition], since: datetime | None
) -> dict[TopicPartition, int]:
    """Return for each partition the first offset at or after a time; no entry if there is none."""
    if since is None:
        return {}
    milliseconds = micros_of(since) // 1000
    config = consumer_config(settings, cluster.bootstrap_servers, CLIENT, CLIENT)
    with closing(Consumer(config)) as consumer:
        asked = [PartitionOffset(p.topic, p.partition, milliseconds) for p in chosen]
        offsets = answer(lambda seconds: consumer.offsets_for_times(asked, timeout=seconds))
    return {(p.topic, p.partition): p.offset for p in offsets if p.offset >= 0}


def plan_move(
    position: StoredPosition, target: Target, times: Mapping[TopicPartition, int]
) -> Move:
    """Return how a position is moved; `times` are the offsets of a target that is a time.

    Raises `UsageError` for an offset outside the log.
    """
    after = _offset_of(target, position, times)
    # Of another log, or none: what it had read counts from the first record there is.
    before = position.position if position.state in {"ok", "lost", "ahead"} else position.first
    read_at_most = position.end if position.state == "deleted" else before
    # What retention deleted before it was read is not skipped by this move.
    return Move(
        position.app,
        position.topic,
        position.partition,
        position.position,
        after,
        skipped=max(after - max(before, position.first), 0),
        repeated=max(min(read_at_most, position.end) - after, 0),
    )


def _offset_of(
    target: Target, position: StoredPosition, times: Mapping[TopicPartition, int]
) -> int:
    if target.offset is not None:
        if not position.first <= target.offset <= position.end:
            raise UsageError(
                f"--to {target.offset} is outside {position.topic}-{position.partition}, which"
                f" holds {position.first} to {position.end}."
            )
        return target.offset
    if target.time is not None:
        return times.get((position.topic, position.partition), position.end)
    return position.first if target.text == "earliest" else position.end


def _commit(settings: Settings, cluster: Cluster, moves: Sequence[Move]) -> None:
    """Commit for the processor, with the topic's id and the settings that were recorded before."""
    ids = {name: topic_id_text(topic.topic_id) for name, topic in cluster.topics.items()}
    # What was recorded stays: a reset from a host with other settings must not change them for all
    # hosts.
    recorded = agreed_settings(read_committed(settings, cluster)) or RecordedSettings.of(settings)
    offsets = [
        offset_at(
            (at.topic, at.partition), at.after, None, offset_metadata(ids[at.topic], recorded)
        )
        for at in moves
    ]
    commit_for_processor(settings, cluster, offsets)


def read_committed(settings: Settings, cluster: Cluster) -> dict[TopicPartition, PartitionOffset]:
    """Read the processor's committed offsets with their metadata."""
    names = Names.of(settings)
    config = common_config(settings, cluster.bootstrap_servers, CLIENT)
    read = partitions_of(cluster, names.read_by(PROCESSOR))
    return answer(lambda seconds: committed_offsets(config, names.processor_group, read, seconds))


def commit_for_processor(
    settings: Settings, cluster: Cluster, offsets: list[PartitionOffset]
) -> None:
    """Commit offsets for the processor's group, while no processor runs.

    Kafka refuses while the group has members. One that has just died is a member until its session
    times out, which is waited for. Raises `PurchasesError` if one lives.
    """
    group = Names.of(settings).processor_group
    config = common_config(settings, cluster.bootstrap_servers, CLIENT)
    session = int(consumer_config(settings, "", CLIENT, group)["session.timeout.ms"]) / 1000
    deadline = Deadline.after(session + LEAVING_SECONDS)
    # By a new client each time: one keeps asking its first coordinator, even one that is gone.
    while reason := commit_offsets(AdminClient(config), group, offsets, CALL_SECONDS):
        if deadline.is_over():
            raise PurchasesError(
                f"The group {group} takes no offsets: {reason}. Does a processor run elsewhere?"
            )
        time.sleep(RETRY_SECONDS)


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
                f"{sentence_start(settings.database)} has no positions yet; the first"
                " `purchases analyze` begins with the first record."
            )
        analytics = Names.of(settings).analytics
        move_offsets(store, group_of(settings, store), analytics, positions)
