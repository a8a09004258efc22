"""`verify`: proves by a path of its own that what was stored is what came.

The package shares no code with the consumer (`analytics`, `store.rows`, `store.writer`), so that
an error there cannot hide here. The comparisons are in the other modules; this one puts them
together and keeps the result in the table `verification`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs

from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.acls import reader_rules
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster, preflight
from streaming.settings import Settings
from streaming.store.archive import count_archived, show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import (
    StoreConnection,
    read_store,
    read_store_together,
    sentence_start,
    write_store,
)
from streaming.store.deployment import DeploymentInfo, recorded_deployment
from streaming.verification.check import Check
from streaming.verification.checkpoint import (
    CHUNK_ROWS,
    FORM,
    Checkpoint,
    StartOver,
    add_counts,
    chunk_digests,
    chunk_numbers,
    compared_ends,
    erasures_of,
    figures_digest,
    last_row,
    not_storable_digest,
    read_checkpoint,
    subtract,
    topic_ids_of,
)
from streaming.verification.database_checks import (
    DAYS,
    ITEMS,
    LIVE_TOTALS,
    Figures,
    Held,
    check_archive,
    check_days,
    check_items,
    check_positions,
    check_totals,
    counted_days,
    counted_items,
    counted_partitions,
    counted_totals,
    stored_figures,
)
from streaming.verification.reader_processes import Readers, start_readers
from streaming.verification.topic_checks import Progress, TopicComparison, by_topic, check_topics


class VerificationReport(Struct, frozen=True, kw_only=True):
    """What one run compared and found; times in µs.

    `offsets` are first offset and end of what was compared of each partition, by topic; `since` is
    the append time (RFC 3339) of the oldest record of `purchases` that was followed, None if none
    was. `unreadable` are sentences about batches that nobody can unpack. `rests_on` is the end of
    the verification that this one went on from, `rests_on_events` how many events it compared; None
    and 0 if this one began from the start.
    """

    started_at: int
    finished_at: int
    checks: list[Check]
    offsets: dict[str, dict[int, tuple[int, int]]]
    since: str | None
    unreadable: list[str] = []
    rests_on: int | None = None
    rests_on_events: int = 0

    @property
    def differences(self) -> int:
        """The number of differences in all."""
        return sum(check.differing for check in self.checks)

    @property
    def examples(self) -> list[str]:
        """The first differences of each check."""
        return [sentence for check in self.checks for sentence in check.examples]


THREADS: Final = 2
"""For the database, whose statements run beside the reading of the topics."""
FIGURES: Final = (LIVE_TOTALS, ITEMS, DAYS)

_Comparison = tuple[list[Check], TopicComparison, Checkpoint | None]


class _Run(Struct, frozen=True):
    """One comparison: what it needs, and who sees the store at one moment."""

    settings: Settings
    cluster: Cluster
    deployment: DeploymentInfo
    stores: list[StoreConnection]
    readers: Readers
    progress: Progress

    @property
    def group(self) -> str:
        """The consumer's group."""
        names = Names.of(self.settings)
        return names.analytics_group(self.deployment.deployment_id)


def verify(settings: Settings, progress: Progress, *, full: bool = False) -> VerificationReport:
    """Compare everything, also while the stream runs, and keep the result in the database.

    It goes on from the last verification that agreed, unless it is to be `full`, or what that one
    compared is not as it was, or anything differs: then it begins from the start.

    `progress` gets what is being read, how much of it is done and about how much it is in all.
    Raises `PurchasesError` if there is nothing to verify, and `Unavailable` if Kafka or the
    database does not answer.
    """
    started_at = time.time_ns() // 1000
    names = Names.of(settings)
    with read_store(settings) as store:
        deployment = recorded_deployment(store)
        kept = None if full else read_checkpoint(store)
        rows = 0 if count_archived(store) else last_row(store)
    if deployment is None:
        raise PurchasesError(
            f"{sentence_start(settings.database)} was never used by `purchases up` or `analyze`."
        )
    cluster = preflight(settings, reader_rules(names), optional=[names.redrive])
    comparison = None
    if kept is not None:
        with _open_run(settings, cluster, deployment, progress, rows - kept.checkpoint.row) as run:
            comparison = _go_on(run, kept.checkpoint)
    if comparison is None:
        kept = None
        with _open_run(settings, cluster, deployment, progress, rows) as run:
            comparison = _begin(run)
    checks, compared, checkpoint = comparison
    result = VerificationReport(
        started_at=started_at,
        finished_at=time.time_ns() // 1000,
        checks=checks,
        offsets=compared.offsets,
        since=compared.since,
        unreadable=compared.unreadable,
        rests_on=None if kept is None else kept.verified_at,
        rests_on_events=0 if kept is None else sum(n for n, _ in kept.checkpoint.held.values()),
    )
    # By a connection of its own: a transaction that began as a reader cannot become a writer while
    # the stream writes (docs/decisions/0026).
    _keep(settings, result, checkpoint)
    return result


@contextmanager
def _open_run(
    settings: Settings,
    cluster: Cluster,
    deployment: DeploymentInfo,
    progress: Progress,
    rows: int,
) -> Iterator[_Run]:
    """Open the store for one comparison, with readers for about so many rows."""
    with (
        start_readers(settings, rows) as readers,
        read_store_together(settings, THREADS + 1, readers.begin) as stores,
    ):
        progress("the archive", 0, 0)
        is_archived = show_archived(stores[0], open_column_store(settings))
        if is_archived and readers.number > 1:
            raise Unavailable("The first events were archived meanwhile: verify again.")
        seen = [stores[0]] * len(stores) if is_archived else stores
        yield _Run(settings, cluster, deployment, seen, readers, progress)


def _begin(run: _Run) -> _Comparison:
    """Compare everything from the start; the database in threads, while the topics are read."""
    with _threads(run.stores) as pool:
        store, figures, rows = run.stores
        row = last_row(store)
        checks = pool.submit(_check_figures, run, figures)
        digests = pool.submit(chunk_digests, rows, chunk_numbers(row), row)
        compared = _check_topics(run, None)
        run.progress("the database", 0, 0)
        of_database, held = checks.result()
        all_checks = of_database + compared.checks
        if any(check.differing for check in all_checks):
            return all_checks, compared, None
        return all_checks, compared, _checkpoint(run, compared, row, digests.result(), held)


def _go_on(run: _Run, checkpoint: Checkpoint) -> _Comparison | None:
    """Compare what came since the checkpoint; None if it does not hold, or anything differs."""
    store, after = run.stores[0], checkpoint.row
    row = last_row(store)
    held_to = (checkpoint.timezone, checkpoint.erasures, checkpoint.not_storable)
    now = (run.deployment.timezone, erasures_of(store), _not_storable(run, checkpoint.positions))
    if held_to != now:
        return None
    done = count(CHUNK_ROWS, CHUNK_ROWS)
    with _threads(run.stores) as pool:
        halves = [chunk_numbers(after)[n::THREADS] for n in range(THREADS)]
        parts = [
            pool.submit(
                chunk_digests, own, half, after, lambda: run.progress("the rows", next(done), after)
            )
            for own, half in zip(run.stores[1:], halves, strict=True)
        ]
        for part, half in zip(parts, halves, strict=True):
            if part.result() != [checkpoint.chunks[number] for number in half]:
                return None
    tables = stored_figures(store)
    # Old rows are held by their digests, so that their sums need not be added up again.
    rest = [subtract(*pair) for pair in zip(tables, _counted_since(run, after), strict=True)]
    if figures_digest(*rest) != checkpoint.figures:
        return None
    held = add_counts(checkpoint.held, counted_partitions(store, after))
    names = Names.of(run.settings)
    try:
        compared = _check_topics(run, checkpoint)
    except StartOver:
        return None
    compared = structs.replace(compared, since=checkpoint.since or compared.since)
    checks = [
        *(Check(name, len(table)) for name, table in zip(FIGURES, tables, strict=True)),
        check_positions(store, run.group, names.analytics, held),
        check_archive(store, ZoneInfo(run.deployment.timezone)),
        *compared.checks,
    ]
    if any(check.differing for check in checks):
        return None
    kept = after // CHUNK_ROWS
    new = chunk_digests(store, chunk_numbers(row)[kept:], row)
    return checks, compared, _checkpoint(run, compared, row, checkpoint.chunks[:kept] + new, held)


@contextmanager
def _threads(stores: Sequence[StoreConnection]) -> Iterator[ThreadPoolExecutor]:
    """Yield threads for the connections; statements that run at the end are interrupted."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield pool
        finally:
            for store in stores[1:]:
                store.interrupt()


def _check_topics(run: _Run, checkpoint: Checkpoint | None) -> TopicComparison:
    store = run.stores[0]
    return check_topics(
        store, run.settings, run.cluster, run.group, run.readers, run.progress, checkpoint
    )


def _check_figures(run: _Run, store: StoreConnection) -> tuple[list[Check], Held]:
    held, zone = counted_partitions(store), ZoneInfo(run.deployment.timezone)
    checks = [
        check_totals(store),
        check_items(store),
        check_days(store, zone),
        check_positions(store, run.group, Names.of(run.settings).analytics, held),
        check_archive(store, zone),
    ]
    return checks, held


def _counted_since(run: _Run, row: int) -> list[dict[str, Figures]]:
    store, zone = run.stores[0], ZoneInfo(run.deployment.timezone)
    return [counted_totals(store, row), counted_items(store, row), counted_days(store, zone, row)]


def _not_storable(run: _Run, ends: Mapping[str, Mapping[int, int]]) -> str:
    topic = Names.of(run.settings).analytics
    # Of a topic that is gone nothing can be told, and the comparison of the topics says so.
    topic_id = topic_ids_of(run.cluster).get(topic, "")
    return not_storable_digest(run.stores[0], topic_id, ends.get(topic, {}))


def _checkpoint(
    run: _Run, compared: TopicComparison, row: int, chunks: list[str], held: Held
) -> Checkpoint | None:
    """Return what the next verification goes on from; None if the topics were not compared."""
    positions, store = compared.positions, run.stores[0]
    if positions is None:
        return None
    stored: dict[str, dict[int, list[int]]] = {}
    for topic_id, number, offset in compared.stored:
        stored.setdefault(topic_id, {}).setdefault(number, []).append(offset)
    ends = by_topic(compared_ends(positions))
    return Checkpoint(
        form=FORM,
        cluster_id=run.cluster.cluster_id,
        topic_ids=topic_ids_of(run.cluster),
        timezone=run.deployment.timezone,
        erasures=erasures_of(store),
        row=row,
        chunks=chunks,
        figures=figures_digest(*stored_figures(store)),
        held=held,
        positions=ends,
        ends=by_topic({one: end for one, (_, end) in positions.bounds.items()}),
        counted=positions.count_read(Names.of(run.settings).analytics),
        stored=stored,
        not_storable=_not_storable(run, ends),
        since=compared.since,
    )


def _keep(settings: Settings, result: VerificationReport, checkpoint: Checkpoint | None) -> None:
    compared = {
        "checks": {check.name: check.compared for check in result.checks},
        "offsets": result.offsets,
        "since": result.since,
        "unreadable": result.unreadable,
        "rests_on": result.rests_on,
    }
    with write_store(settings) as store:
        if checkpoint is not None:
            store.execute("UPDATE verification SET checkpoint = NULL WHERE checkpoint IS NOT NULL")
        store.execute(
            "INSERT INTO verification"
            " (started_at, finished_at, agrees, compared, differences, checkpoint)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                result.started_at,
                result.finished_at,
                not result.differences,
                msgspec.json.encode(compared).decode(),
                msgspec.json.encode(result.examples).decode(),
                None if checkpoint is None else msgspec.json.encode(checkpoint).decode(),
            ),
        )
