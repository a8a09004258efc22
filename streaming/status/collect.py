"""Everything that a status is made of: files, database and broker asked at once, in under a second.

Nothing here waits for what does not answer, and nothing raises for it: that it does not is the
answer. What is wrong is told by `judge`.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError
from streaming.events.record import TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.lag import PartitionLag, TopicMissing, read_partitions
from streaming.kafka.names import Names
from streaming.runtime.status_file import WorkerStatus
from streaming.settings import Settings
from streaming.status.diagnose import judged, of_app
from streaming.status.estimates import disk_left, with_lag
from streaming.status.model import (
    Broker,
    Database,
    Partition,
    Problem,
    Refusals,
    Section,
    Status,
)
from streaming.status.slots import look_at_app, time_text
from streaming.store.connection import StoreConnection, read_store
from streaming.store.deployment import recorded_deployment
from streaming.store.live_totals import live_figures
from streaming.system.disk_space import free_bytes

SectionOf = Callable[[Settings], Section]

BROKER_SECONDS: Final = 0.8
LOCK_SECONDS: Final = 0.2
FEWEST_RECORDS: Final = 20


@dataclass(frozen=True)
class _Stored:
    """What the database says, with the positions of the consumer's group on both topics."""

    database: Database
    positions: Mapping[TopicPartition, int]


def gather(settings: Settings, sections: Mapping[str, SectionOf], app: str | None = None) -> Status:
    """Look at everything once, and judge it, or what concerns `app` alone.

    `sections` are what other parts add, by name.
    """
    stored, names = _read_database(settings), Names.of(settings)
    with ThreadPoolExecutor(1) as background:
        asked = background.submit(_ask_broker, settings, stored.positions, app)
        processor, writers = look_at_app(settings.home, "processor", settings.processor_slots)
        analytics, readers = look_at_app(settings.home, "analytics", settings.analytics_slots)
        added = {name: _section(settings, section) for name, section in sections.items()}
        broker, lags = asked.result()
    if broker.state != "answering":
        written, read = _own_word("processor", writers), _own_word("analytics", readers)
    else:
        written = _partitions("processor", [names.purchases], lags)
        read = _partitions("analytics", [names.analytics, names.dead_letters], lags)
    apps = (with_lag(processor, written), with_lag(analytics, read))
    free = min(free_bytes(settings.home), free_bytes(settings.database_path))
    found = Status(
        healthy=False,
        verdict="",
        problems=(),
        as_of=time_text(time.time()) or "",
        home=str(settings.home),
        broker=broker,
        database=stored.database,
        apps=apps,
        partitions=(*written, *read),
        refusals=refusals_of(writers, settings.refusal_share),
        disk=disk_left(free, stored.database, apps[1].out_per_second),
        sections=added,
    )
    return judged(found if app is None else of_app(found, app))


def refusals_of(workers: Sequence[WorkerStatus], limit: float) -> Refusals:
    """Sum what the processor's workers refused in their windows; too few records exceed nothing."""
    reasons: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for worker in workers:
        reasons.update(worker.refusals.reasons)
        keys.update(worker.refusals.keys)
    records = sum(worker.refusals.records for worker in workers)
    refused = sum(worker.refusals.refused for worker in workers)
    share = refused / records if records else 0.0
    return Refusals(
        records=records,
        refused=refused,
        share=round(share, 6),
        limit=limit,
        exceeded=records >= FEWEST_RECORDS and share > limit,
        top_reason=next((reason for reason, _ in reasons.most_common(1)), None),
        top_key=next((key for key, _ in keys.most_common(1)), None),
    )


def _read_database(settings: Settings) -> _Stored:
    path = settings.database_path
    try:
        with read_store(settings, LOCK_SECONDS) as store:
            return _stored(settings, store, path)
    except PurchasesError as error:
        nothing = Database("unreadable", str(error), str(path), None, None, None, None, None)
        return _Stored(nothing, {})


def _stored(settings: Settings, store: StoreConnection, path: Path) -> _Stored:
    figures = live_figures(store)
    deployment = recorded_deployment(store)
    group = Names.of(settings).analytics_group(deployment.deployment_id if deployment else "")
    rows = store.execute(
        "SELECT topic, partition, next_offset, duplicates, conflicting FROM stream_offset"
        " WHERE consumer_group = ?",
        (group,),
    ).fetchall()
    files = (path, path.with_name(f"{path.name}-wal"))
    database = Database(
        state="ok",
        detail="",
        path=str(path),
        events=figures.events,
        duplicates=sum(row[3] for row in rows),
        conflicting=sum(row[4] for row in rows),
        refused=figures.refused,
        bytes=sum(file.stat().st_size for file in files if file.exists()),
    )
    return _Stored(database, {(row[0], row[1]): row[2] for row in rows})


def _ask_broker(
    settings: Settings, positions: Mapping[TopicPartition, int], app: str | None
) -> tuple[Broker, list[PartitionLag]]:
    """Ask about what `app` reads, as its user may see no more; about all where None is named."""
    names, servers = Names.of(settings), None
    read = {"processor": [names.purchases], "analytics": [names.analytics, names.dead_letters]}
    topics = [topic for one, topics in read.items() if app in (None, one) for topic in topics]
    try:
        servers = bootstrap_servers(settings)
        lags = read_partitions(settings, topics, positions, BROKER_SECONDS, patient=False)
    except TopicMissing as error:
        return Broker("topic_missing", servers, str(error)), []
    except PurchasesError as error:
        return Broker("down", servers, str(error)), []
    return Broker("answering", servers, ""), lags


def _section(settings: Settings, section: SectionOf) -> Section:
    """Ask another part; that it does not answer is a problem of its own."""
    try:
        return section(settings)
    except PurchasesError as error:
        return Section({}, (Problem("unreadable", str(error), "See what it says."),))


def _partitions(app: str, topics: Sequence[str], lags: Sequence[PartitionLag]) -> list[Partition]:
    return [
        Partition(
            app=app,
            topic=lag.topic,
            partition=lag.partition,
            position=lag.position,
            end=lag.end,
            lag_records=lag.records,
            lag_seconds=_rounded(lag.seconds),
            hidden_records=lag.hidden_records,
            hidden_seconds=_rounded(lag.hidden_seconds),
        )
        for lag in lags
        if lag.topic in topics
    ]


def _own_word(app: str, workers: Sequence[WorkerStatus]) -> list[Partition]:
    """Give the partitions as the workers last saw them, where no broker can be asked."""
    return [
        Partition(app, p.topic, p.partition, p.position, p.end, p.end - p.position, *[None] * 3)
        for worker in workers
        for p in worker.positions
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
