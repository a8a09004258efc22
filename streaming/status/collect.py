"""The parts of a status: files, database and broker, asked at once, in under a second.

Nothing here waits or raises for a part that does not answer: its absence is part of the status.
What is wrong with it is in `diagnose`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient
from msgspec import structs

from streaming.apps import ANALYTICS, APPS, PROCESSOR, App
from streaming.errors import PurchasesError
from streaming.events.record import TopicPartition
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import common_config, unverified_connection
from streaming.kafka.lag import ANSWER_SECONDS, PartitionLag, TopicMissing, read_partitions
from streaming.kafka.names import Names
from streaming.kafka.topic_options import (
    NOT_COMPACTED,
    UNPACKED,
    Options,
    read_options,
    retention,
    unsafe_options,
)
from streaming.runtime.status_file import WorkerStatus
from streaming.settings import Settings
from streaming.status.connectors import read_connectors_section
from streaming.status.contents import list_unknown_fields, sum_prices, sum_refusals
from streaming.status.diagnose import status_of_app, with_problems
from streaming.status.estimates import (
    disk_forecast,
    seconds_until_deleted,
    sustained_rate,
    unread_share,
    with_lag,
)
from streaming.status.hosts import reports_of
from streaming.status.model import (
    Broker,
    DatabaseStatus,
    Disk,
    PartitionStatus,
    Problem,
    Section,
    Status,
)
from streaming.status.registry import read_registry_section
from streaming.status.slots import SlotReport, read_app, time_text
from streaming.store.archive import count_archived
from streaming.store.connection import StoreConnection, read_store, used_bytes
from streaming.store.deployment import recorded_deployment
from streaming.store.host_status import HostStatus, list_host_statuses
from streaming.store.live_totals import count_not_storable, live_figures
from streaming.system.database import Database
from streaming.system.deadline import Deadline
from streaming.system.disk_space import free_bytes
from streaming.system.home import Home

SectionOf = Callable[[Settings], Section]

LEAST_SECONDS: Final = 0.1
"""For the topics' options, if the rest took all of that."""
LOCK_SECONDS: Final = 0.2
"""A reader of a WAL database waits only during a recovery or a migration."""


@dataclass(frozen=True)
class _Stored:
    """The database, the positions of the consumer's group by topic partition, and all hosts."""

    database: DatabaseStatus
    positions: Mapping[TopicPartition, int]
    hosts: Sequence[HostStatus] | None = None


def collect_status(
    settings: Settings, sections: Mapping[str, SectionOf], app: str | None = None
) -> Status:
    """Return the status of the deployment, or of what concerns `app` alone.

    `sections` are what other packages add, by name.
    """
    # The positions before the ends that they are compared with: the other way round a lag could be
    # negative.
    stored, names = _read_database(settings), Names.of(settings)
    with ThreadPoolExecutor(3) as background:
        # What is asked over the network takes longest: files and sections are read meanwhile.
        asked = background.submit(_ask_broker, settings, stored.positions, app)
        processor, writers = read_app(settings, PROCESSOR, _reports(settings, PROCESSOR, stored))
        registry = background.submit(read_registry_section, settings, writers)
        connectors = background.submit(read_connectors_section, settings)
        analytics, readers = read_app(settings, ANALYTICS, _reports(settings, ANALYTICS, stored))
        added = {name: _section(settings, section) for name, section in sections.items()}
        for name, asking in {"connectors": connectors, "registry": registry}.items():
            if (section := asking.result()) is not None:
                added[name] = section
        broker, lags, options = asked.result()
    if broker.state != "answering":
        written = _partitions_of_workers(PROCESSOR, writers)
        read = _partitions_of_workers(ANALYTICS, readers)
    else:
        written = _partitions(PROCESSOR, names.read_by(PROCESSOR), lags, options)
        read = _partitions(ANALYTICS, names.read_by(ANALYTICS), lags, options)
    apps = (with_lag(processor, written), with_lag(analytics, read))
    status = Status(
        # These three are computed by `with_problems` from all the others.
        healthy=False,
        verdict="",
        problems=(),
        as_of=time_text(time.time()) or "",
        home=str(settings.home),
        broker=broker,
        database=stored.database,
        apps=apps,
        partitions=(*written, *read),
        refusals=sum_refusals(writers, settings.refusal_share),
        prices=sum_prices(writers),
        unknown_fields=list_unknown_fields(writers),
        disk=_disk(settings, stored.database, sustained_rate(readers)),
        sections=added,
    )
    # Cut down first: what is wrong with another app is no problem of this one.
    return with_problems(status if app is None else status_of_app(status, app))


def _disk(settings: Settings, database: DatabaseStatus, stored_per_second: float | None) -> Disk:
    # They may be on two disks, of which the fuller one stops the stream first.
    free, path = free_bytes(settings.home), settings.database
    if isinstance(path, Path):
        return disk_forecast(min(free, free_bytes(path)), database, stored_per_second)
    # How much is free on a server's disk, nobody says; the home's disk has the broker and the logs.
    forecast = disk_forecast(free, database, stored_per_second)
    return structs.replace(forecast, days_until_full=None)


def _read_database(settings: Settings) -> _Stored:
    try:
        with read_store(settings, LOCK_SECONDS) as store:
            return _read_stored(settings, store)
    except PurchasesError as error:
        name = str(settings.database)
        nothing = DatabaseStatus("unreadable", str(error), name, None, None, None, None, None)
        return _Stored(nothing, {})


def _read_stored(settings: Settings, store: StoreConnection) -> _Stored:
    figures = live_figures(store)
    deployment = recorded_deployment(store)
    # Before the first start there is no deployment: a group of this name has no rows.
    group = Names.of(settings).analytics_group(deployment.deployment_id if deployment else "")
    rows = store.execute(
        "SELECT topic, partition, next_offset, duplicates, conflicting, conflicted_at"
        " FROM stream_offset"
        " WHERE consumer_group = ?",
        (group,),
    ).fetchall()
    used = used_bytes(store)
    database = DatabaseStatus(
        state="ok",
        detail="",
        path=str(settings.database),
        events=figures.events,
        duplicates=sum(row[3] for row in rows),
        conflicting=sum(row[4] for row in rows),
        refused=figures.refused,
        bytes=_bytes_on_disk(settings.database, used),
        not_storable=count_not_storable(store),
        conflicted_at=time_text(max(row[5] or 0 for row in rows) / 1e6)
        if any(row[5] for row in rows)
        else None,
        used_bytes=used,
        archived=count_archived(store),
        keep_events=settings.keep_events,
    )
    hosts = list_host_statuses(store) if settings.host else None
    return _Stored(database, {(row[0], row[1]): row[2] for row in rows}, hosts)


def _reports(settings: Settings, app: App, stored: _Stored) -> list[SlotReport] | None:
    """Return the slots of all hosts; None if this is the only one, or the database is away."""
    return None if stored.hosts is None else reports_of(settings, app, stored.hosts)


def _bytes_on_disk(database: Database, used: int) -> int:
    if not isinstance(database, Path):
        return used
    # Up to 64 MB of a file are in its WAL before a checkpoint (docs/decisions/0026).
    files = (database, database.with_name(f"{database.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _ask_broker(
    settings: Settings, positions: Mapping[TopicPartition, int], app: str | None
) -> tuple[Broker, list[PartitionLag], Mapping[str, Options]]:
    """Ask the broker about the topics that `app` reads, or about all if it is None.

    Without an answer, or a permission, there are no options.

    The user of one app may be permitted to see no other topics.
    """
    names, servers = Names.of(settings), None
    topics = [topic for one in APPS if app in {None, one.name} for topic in names.read_by(one)]
    deadline = Deadline.after(ANSWER_SECONDS)
    try:
        servers = bootstrap_servers(settings)
        lags = read_partitions(settings, topics, positions)
    except TopicMissing as error:
        return Broker("topic_missing", servers, str(error)), [], {}
    except PurchasesError as error:
        return Broker("down", servers, str(error)), [], {}
    try:
        admin = AdminClient(common_config(settings, servers, "status"))
        seen = sorted({lag.topic for lag in lags})
        options = read_options(admin, seen, deadline.left(least=LEAST_SECONDS))
    except PurchasesError:
        options = {}
    unsafe = unsafe_options(names.purchases, options.get(names.purchases, {}), UNPACKED)
    said = tuple(f"{option.name} is {option.value}" for option in unsafe)
    compacted = tuple(
        name for name, its in options.items() if unsafe_options(name, its, NOT_COMPACTED)
    )
    detail = ""
    if names.redrive in topics and all(lag.topic != names.redrive for lag in lags):
        detail = f"The topic {names.redrive} is missing, or may not be seen by this user."
    size = retention(options.get(names.dead_letters, {})).size
    share = _dead_letter_share(settings, size) if settings.embedded_broker and size else None
    unverified = unverified_connection(settings)
    broker = Broker("answering", servers, detail, said, share, compacted, unverified)
    return broker, lags, options


def _dead_letter_share(settings: Settings, size: int) -> float | None:
    """Return how much of `size` bytes the dead letters take on our disk; None if unknown.

    Kafka's clients here cannot ask for the size of a partition.
    """
    directory = Home(settings.home).broker_data / f"{Names.of(settings).dead_letters}-0"
    try:
        return round(sum(file.stat().st_size for file in directory.glob("*.log")) / size, 3)
    except FileNotFoundError:
        # Kafka deleted a segment between the two looks.
        return None


def _section(settings: Settings, section: SectionOf) -> Section:
    """Return the section of another package; if it fails, that is its problem."""
    try:
        return section(settings)
    except PurchasesError as error:
        return Section(
            {},
            (
                Problem(
                    "unreadable",
                    str(error),
                    "Check the database with `purchases verify`.",
                ),
            ),
        )


def _partitions(
    app: App,
    topics: Sequence[str],
    lags: Sequence[PartitionLag],
    options: Mapping[str, Options],
) -> list[PartitionStatus]:
    return [
        PartitionStatus(
            app=app.name,
            topic=lag.topic,
            partition=lag.partition,
            position=lag.position,
            end=lag.end,
            lag_records=lag.records,
            lag_seconds=_round_seconds(lag.seconds),
            hidden_records=lag.hidden_records,
            hidden_seconds=_round_seconds(lag.hidden_seconds),
            hidden_producer=lag.hidden_producer,
            unread_share=unread_share(lag, kept),
            seconds_until_deleted=seconds_until_deleted(lag, kept),
            held_records=lag.end - lag.first,
        )
        for lag in lags
        if lag.topic in topics
        for kept in [retention(options.get(lag.topic, {}))]
    ]


def _partitions_of_workers(app: App, workers: Sequence[WorkerStatus]) -> list[PartitionStatus]:
    """Return the partitions as the workers last saw them, for when the broker does not answer."""
    return [
        PartitionStatus(
            app.name, p.topic, p.partition, p.position, p.end, p.end - p.position, *[None] * 3
        )
        for worker in workers
        for p in worker.positions
    ]


def _round_seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
