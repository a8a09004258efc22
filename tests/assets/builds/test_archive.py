"""The archive: rows that are in column files only change nothing that anybody reads."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assets.builds import archive as archiver
from assets.builds import computation, event_reader
from assets.builds.archive import ArchiveResult, archive_history, needs_archive
from assets.builds.builder import open_builder
from assets.builds.event_reader import StreamFigures
from assets.builds.seal import seal_history
from assets.builds.staleness import read_stale_partitions
from assets.checks.backups import check_restorable
from assets.checks.finding import CheckContext
from assets.checks.reconciliation import check_recomputed
from assets.queries.event_figures import Subject, rank_events, read_lines, read_orders, read_periods
from assets.queries.export import export_chunks
from assets.queries.file_formats import Format
from assets.queries.status_section import read_tables_section
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE
from assets.tables.sql_transform import day_transforms
from assets.tables.transforms import WHOLE_TRANSFORMS
from streaming.errors import NotFound, PurchasesError, Unavailable
from streaming.settings import Settings
from streaming.store import archive
from streaming.store.archive import return_days, show_archived, with_rows
from streaming.store.backup import backup
from streaming.store.column_files import DaysArchived, forget_all
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.erasure import erase
from streaming.store.event_ids import find_stored_ids
from streaming.store.kept_columns import remove_unlisted
from streaming.store.live_totals import distinct_figures
from streaming.store.offsets import StoredOffset, move_offsets
from streaming.store.personal_data import read_personal_data
from streaming.store.pseudonyms import ErasureList, write_erasure_list
from streaming.store.purchase_path import find_paths
from streaming.store.rebuild import rebuild
from streaming.store.sql_tables import code_versions
from streaming.system.home import Home
from tests.assets.builds.test_columns import build, damage, late_event
from tests.assets.event_store import store_events
from tests.databases import home_settings, look
from tests.store.rows import GROUP, Event, event, micros, year_of_days

pytestmark = pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")

DAYS = 6
TODAY = date(2024, 3, 1)
LINES = """SELECT count(*) AS events, sum(quantity) AS items_sold FROM analytics_event
WHERE event_time >= :start_at AND event_time < :end_at"""
RANGE = DayRange(date(2024, 1, 1), date(2024, 1, 10))
FIGURES = (
    "SELECT events, items_sold, net_revenue_micros, guest_events FROM live_totals",
    "SELECT * FROM live_item_totals ORDER BY item",
    "SELECT day, version, events, items_sold, net_revenue_micros FROM day_ledger ORDER BY day",
    "SELECT records, stored, duplicates, conflicting FROM stream_offset",
    "SELECT kind, event_id, day_before, day, source_timestamp FROM correction ORDER BY id",
)


def store_all(settings: Settings, events: list[Event]) -> None:
    """Store a batch as the consumer does: days that it changes are brought back first."""
    with_rows(settings, lambda: store_events(settings, events))


def export_events(settings: Settings) -> bytes:
    """Return all events as CSV."""
    return b"".join(export_chunks(settings, "analytics_event", None, None, Format.CSV))


def read_answers(settings: Settings) -> list[Any]:
    """Return what the dashboard, the commands and the figures say of everything."""
    page = slice(0, 100)
    reads: list[Callable[[Any, Subject], object]] = [
        lambda store, subject: read_periods(store, RANGE, settings, subject, "hour"),
        lambda store, subject: read_lines(store, RANGE, settings, subject, page),
        lambda store, subject: read_orders(
            store, RANGE, settings, subject, "at", "ascending", page
        ),
        lambda store, subject: rank_events(
            store, RANGE, settings, subject, "user", "net_revenue", "descending", page
        ),
    ]
    answers: list[Any] = [export_events(settings)]
    for subject in (Subject(), Subject(item="lamp"), Subject(customer="anna")):
        for read in reads:
            with read_store(settings) as store:
                answers.append(read(store, subject))
    with read_store(settings) as store:
        answers += [store.execute(statement).fetchall() for statement in FIGURES]
    return answers


def counts(settings: Settings) -> tuple[int, int]:
    """Return how many rows and how many ids of archived events there are."""
    with read_store(settings) as store:
        row = store.execute(
            "SELECT (SELECT count(*) FROM analytics_event), (SELECT count(*) FROM archived_event)"
        ).fetchone()
    return row[0], row[1]


def holding(settings: Settings, name: bytes) -> list[Path]:
    """Return the files of the home that have a name in plain text."""
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    return [path for path in files if name in path.read_bytes()]


@pytest.fixture
def kept(store: Settings) -> Settings:
    """Return a home that keeps rows for 40 days."""
    return store.model_copy(update={"keep_events": 40})


@pytest.fixture
def archived(kept: Settings) -> Settings:
    """Return a home with six days of one event, five of them in the archive."""
    store_events(kept, year_of_days(DAYS))
    assert archive_history(kept, TODAY) == ArchiveResult(days=5, events=5)
    return kept


def test_everything_that_is_read_is_the_same(kept: Settings) -> None:
    """Exports, queries of the dashboard, figures and builds, before and after."""
    store_events(kept, [late_event(20, 2, user="anna"), late_event(21, 2, item="chair")])
    store_events(kept, year_of_days(DAYS))
    seal_history(kept, TODAY)
    before, built = read_answers(kept), build(kept, DAYS)
    assert archive_history(kept, TODAY) == ArchiveResult(days=5, events=7)
    assert counts(kept) == (1, 7)
    assert read_answers(kept) == before
    assert build(kept, DAYS) == built


def test_the_last_row_and_the_newest_day_stay(kept: Settings) -> None:
    """Row numbers would be given again, and the dashboard shows the newest day."""
    store_events(kept, [*year_of_days(3), late_event(10, 1)])
    assert archive_history(kept, TODAY) == ArchiveResult(days=1, events=1)
    store_events(kept, [late_event(11, 3)])
    assert archive_history(kept, TODAY) == ArchiveResult(days=1, events=2)


def test_a_late_event_of_an_archived_day_follows(archived: Settings) -> None:
    """It is a row first, and in the archive the next time; nothing is counted twice."""
    store_events(archived, [late_event(30, 2), late_event(31, 6)])
    before, built = read_answers(archived), build(archived, DAYS)
    seal_history(archived, TODAY)
    assert (read_answers(archived), build(archived, DAYS)) == (before, built)
    assert archive_history(archived, TODAY) == ArchiveResult(days=1, events=1)
    assert counts(archived) == (2, 6)
    assert read_answers(archived) == before
    assert archive_history(archived, TODAY) == ArchiveResult()


def test_a_known_id_is_never_stored_twice(archived: Settings) -> None:
    """A purchase that is sent again is a duplicate; of another content it conflicts."""
    again = year_of_days(DAYS)[1]
    store_events(archived, [again, late_event(1, 2, source_offset=99, item="other")])
    assert counts(archived) == (1, 5)
    with read_store(archived) as store:
        row = store.execute("SELECT stored, duplicates, conflicting FROM stream_offset").fetchone()
        assert row == (6, 2, 1)
        assert find_stored_ids(store, [again.event_id, "id-999999"]) == {again.event_id}


def test_whoever_changes_an_archived_day_brings_it_back(archived: Settings) -> None:
    """A lower source wins as if the row were there; the day goes again the next time."""
    winner = late_event(1, 3, item="other", source_timestamp=-5)
    with pytest.raises(DaysArchived):
        store_events(archived, [winner])
    store_all(archived, [winner])
    assert counts(archived) == (3, 3)
    with read_store(archived) as store:
        assert store.execute("SELECT day_before, day FROM correction").fetchall() == [
            ("2024-01-02", "2024-01-03")
        ]
    before = read_answers(archived)
    assert archive_history(archived, TODAY) == ArchiveResult(days=1, events=2)
    assert read_answers(archived) == before
    build(archived, DAYS)


def test_an_erasure_reaches_the_archive(archived: Settings) -> None:
    """Of the files of the home that named the customer none is left."""
    assert read_personal_data(archived, "bert")["analytics_event"]
    planned = erase(archived, "bert", None, apply=False).erasure
    done = erase(archived, "bert", None, apply=True).erasure
    assert (planned.events, planned.days) == (done.events, done.days) == (4, 4)
    assert archive_history(archived, TODAY).problems == {}
    assert b"bert" not in export_events(archived)
    assert holding(archived, b"bert") == []


def test_a_rebuild_reads_the_archive(archived: Settings) -> None:
    """All figures come from all events, which are rows then."""
    before = export_events(archived)
    result = rebuild(archived)
    assert (result.events, result.changed_days, result.changed_items) == (DAYS, 0, 0)
    assert counts(archived) == (DAYS, 0)
    assert export_events(archived) == before


def test_a_lost_file_is_named_and_costs_no_figure(archived: Settings) -> None:
    """Nothing is answered without its events; put back, it is used again."""
    (file,) = Home(archived.home).columns.rglob("day=2024-01-02/*")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    for read in (export_events, rebuild):
        with pytest.raises(PurchasesError, match=r"2024-01-02.*content was changed.*Put it back"):
            read(archived)
    with write_store(archived) as store:
        forget_all(store)
    file.write_bytes(content)
    build(archived, DAYS)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_lost_file_fails_each_whole_table_by_name(archived: Settings, is_there: bool) -> None:  # noqa: FBT001 - a case
    """Also those whose audit counts customers; the failure is recorded."""
    (file,) = Home(archived.home).columns.rglob("day=2024-01-02/*")
    if is_there:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    else:
        file.unlink()
    with open_builder(archived, "run") as builder:
        outcomes = builder.build(WHOLE, WHOLE_TRANSFORMS, force=True)
    assert all(file.name in str(outcome.failure) for outcome in outcomes)
    with read_store(archived) as store:
        failures = store.execute("SELECT count(*) FROM build_failure").fetchone()
    assert failures == (len(WHOLE_TRANSFORMS),)


def test_a_summary_that_meets_the_return_of_a_day_is_computed_again(
    archived: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot names a file that has gone; the next one has the rows."""
    build(archived, DAYS)
    count, returned = event_reader.count_customers, list[int]()

    def count_after_return(*values: Any) -> StreamFigures:  # noqa: ANN401 - those of the other
        if not returned:
            returned.append(return_days(archived, {"2024-01-03"}))
            remove_unlisted(archived)
        return count(*values)

    monkeypatch.setattr(computation, "count_customers", count_after_return)
    with open_builder(archived, "run") as builder:
        outcomes = builder.build(WHOLE, WHOLE_TRANSFORMS, force=True)
    assert returned == [1]
    assert [(one.computed, one.failure) for one in outcomes] == [(True, None)] * len(outcomes)


def test_no_statement_loses_the_only_copy(archived: Settings) -> None:
    """Neither a deletion by hand nor `db columns rebuild`."""
    with write_store(archived) as store:
        assert forget_all(store) == 0
    assert remove_unlisted(archived) == 0
    with (
        look(archived) as opened,
        pytest.raises(sqlite3.IntegrityError, match="only copy"),
    ):
        opened.execute("DELETE FROM column_file")


def test_a_rehearsal_of_a_backup_has_the_archive(archived: Settings) -> None:
    """It counts archived events, erases in them, and removes no file of the home."""
    backup(archived)
    erase(archived, "anna", None, apply=True)
    archive_history(archived, TODAY)
    backup(archived)
    before = sorted(Home(archived.home).columns.rglob("*.parquet"))
    finding = check_restorable(
        sqlite3.connect(":memory:"), CheckContext(archived, time.time_ns() // 1000)
    )
    assert (finding.passed, finding.numbers["events"]) == (True, DAYS)
    assert sorted(Home(archived.home).columns.rglob("*.parquet")) == before


def test_the_nightly_recount_has_the_archive(archived: Settings) -> None:
    """It agrees, names a figure that does not, and fails by the name of a damaged file."""
    context = CheckContext(archived, 0)
    with read_store(archived) as store:
        finding = check_recomputed(store, context)
    assert (finding.passed, finding.numbers["different"]) == (True, 0)
    with write_store(archived) as store:
        store.execute("UPDATE day_ledger SET items_sold = 9 WHERE day = '2024-01-02'")
    with read_store(archived) as store:
        finding = check_recomputed(store, context)
    assert (finding.passed, finding.numbers["different"]) == (False, 1)
    assert finding.examples[0].startswith("day_ledger of 2024-01-02: items_sold is 9")
    (file,) = Home(archived.home).columns.rglob("day=2024-01-02/*")
    damage(file)
    with read_store(archived) as store:
        finding = check_recomputed(store, context)
    assert (finding.passed, file.name in finding.description) == (False, True)


def test_a_purchase_is_found_by_its_id(archived: Settings) -> None:
    """And distinct figures count what is in files."""
    with read_store(archived) as store:
        (path,) = find_paths(store, archived, event_id="id-000002", name=None).purchases
        assert (path.day, path.item) == ("2024-01-03", "chair")
    with read_store(archived) as store:
        show_archived(store, open_column_store(archived))
        assert distinct_figures(store).orders == 3


def test_nothing_goes_unless_it_is_set(store: Settings) -> None:
    """The default keeps every row."""
    store_events(store, year_of_days(DAYS))
    assert archive_history(store, TODAY) == ArchiveResult()
    assert counts(store) == (DAYS, 0)


class Steps:
    """The transactions of the archive, in each of which two events go or come back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = 0
        self._meanwhile: Callable[[], object] = dict
        monkeypatch.setattr(archive, "CHUNK_ROWS", 2)
        for module in (archiver, archive):
            monkeypatch.setattr(module, "write_store", self._write_store)

    def run(self, step: int, do: Callable[[], object], meanwhile: Callable[[], object]) -> None:
        """Do something, and something else in between, or else after all.

        The steps are before the first transaction, after it, before the second one, and so on.
        """
        self._left, self._meanwhile = step, meanwhile
        do()
        if self._left > 0:
            self._left = 0
            meanwhile()

    @contextmanager
    def _write_store(self, settings: Settings) -> Iterator[StoreConnection]:
        self._step()
        with write_store(settings) as store:
            yield store
        self._step()

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._meanwhile()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Return the transactions of the archive, to do something between them."""
    return Steps(monkeypatch)


@pytest.mark.parametrize("step", range(1, 10))
def test_the_last_row_is_never_archived(step: int, kept: Settings, steps: Steps) -> None:
    """Also one that arrived after the days were listed: its number would be given again."""
    store_events(kept, year_of_days(DAYS))
    steps.run(
        step,
        lambda: archive_history(kept, TODAY),
        lambda: store_events(kept, [late_event(50, 2), late_event(51, 5)]),
    )
    store_events(kept, [late_event(52, 6)])
    before = export_events(kept)
    assert return_days(kept) > 0
    assert export_events(kept) == before
    assert counts(kept) == (DAYS + 3, 0)


@pytest.mark.parametrize("step", range(1, 7))
def test_a_day_is_archived_while_it_comes_back(step: int, archived: Settings, steps: Steps) -> None:
    """The later file goes into the archive in between, and so comes back before the first one."""
    store_events(
        archived, [late_event(60, 2), late_event(61, 2), late_event(62, 2), late_event(63, 6)]
    )
    before = export_events(archived)
    steps.run(
        step,
        lambda: return_days(archived, {"2024-01-02"}),
        lambda: archive_history(archived, TODAY),
    )
    assert return_days(archived) > 0
    assert (export_events(archived), counts(archived)) == (before, (DAYS + 4, 0))


@pytest.mark.parametrize("is_damaged", [False, True])
def test_an_archive_that_ends_within_a_day_leaves_its_last_rows(
    is_damaged: bool,  # noqa: FBT001 - a case
    kept: Settings,
    steps: Steps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if they are the first by time: all files but the archived ones may be forgotten."""
    for name in ("FRAME_ROWS", "FETCH_ROWS"):
        monkeypatch.setattr(event_reader, name, 2)
    falling = [event(number, micros("2024-01-02 12:00") - number) for number in range(4)]
    store_events(kept, [*falling, late_event(4, 3)])
    before = build(kept, 3)

    def end() -> None:
        if not is_damaged:
            raise Unavailable("locked")
        with look(kept) as opened:
            query = "SELECT name FROM column_file ORDER BY last_row LIMIT 1"
            damage(Home(kept.home).columns / opened.execute(query).fetchone()[0])

    # After the files are listed, or before the rows of the second one are deleted.
    with suppress(Unavailable):
        steps.run(2 if is_damaged else 5, lambda: archive_history(kept, TODAY), end)
    assert counts(kept) == ((5, 0) if is_damaged else (3, 2))
    with write_store(kept) as store:
        forget_all(store)
    assert seal_history(kept, TODAY).problems == {}
    assert build(kept, 3) == before


@pytest.mark.parametrize("step", [5, 6, 7])
def test_a_day_is_changed_while_it_goes(step: int, kept: Settings, steps: Steps) -> None:
    """Nobody names its files any more: the next archive takes it."""
    store_events(kept, year_of_days(DAYS))
    winner = late_event(1, 2, item="other", source_timestamp=-5)
    done = ArchiveResult(days=4, events=4)

    def archive_them() -> None:
        assert archive_history(kept, TODAY) == done

    # The files of the second day are named between the first two of these, then its row is deleted.
    steps.run(step, archive_them, lambda: store_all(kept, [winner]))
    assert archive_history(kept, TODAY) == ArchiveResult(days=1, events=1)


def test_a_day_that_contradicts_the_ledger_leaves_no_file(kept: Settings) -> None:
    """It is tried at each run, and what was written goes again."""
    store_events(kept, year_of_days(DAYS))
    with write_store(kept) as store:
        store.execute("UPDATE day_ledger SET events = 2 WHERE day = '2024-01-02'")
    for _ in range(2):
        assert archive_history(kept, TODAY).problems.keys() <= {"2024-01-02"}
        assert needs_archive(kept, TODAY)
        assert not [*Home(kept.home).columns.rglob("day=2024-01-02/*")]


def test_a_locked_database_ends_the_archive(
    kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no problem of a day, and the next run goes on."""
    store_events(kept, year_of_days(DAYS))

    def is_locked(_: Settings) -> None:
        raise Unavailable("locked")

    with monkeypatch.context() as locked:
        locked.setattr(archiver, "write_store", is_locked)
        with pytest.raises(Unavailable):
            archive_history(kept, TODAY)
    assert archive_history(kept, TODAY) == ArchiveResult(days=5, events=5)


def test_ids_of_a_day_without_files_are_named(archived: Settings) -> None:
    """A change of one of them ends, and so does the return of what a file lacks."""
    with write_store(archived) as store:
        store.execute("UPDATE archived_event SET epoch_day = epoch_day + 1000")
    with pytest.raises(PurchasesError, match=r"events of 2026-.*no column file"):
        store_all(archived, [late_event(1, 2, source_timestamp=-5)])
    with write_store(archived) as store:
        store.execute("DELETE FROM archived_event")
    with pytest.raises(PurchasesError, match=r"rows\.parquet counts 1 events that are in no row"):
        return_days(archived)


@pytest.fixture
def with_sql(kept: Settings, tmp_path: Path) -> Settings:
    """Return a home with six days of one event, and a table of a file that no day has yet."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "lines.sql").write_text(LINES)
    settings = kept.model_copy(update={"sql": tmp_path / "sql"})
    store_events(settings, year_of_days(DAYS))
    return settings


def build_sql(settings: Settings, days: int = DAYS, *, force: bool = False) -> list[str]:
    """Build all day tables of the first days; return the failures."""
    with open_builder(settings, "run") as builder:
        return [
            outcome.failure
            for day in range(1, days + 1)
            for outcome in builder.build(
                f"2024-01-{day:02d}", day_transforms(settings), force=force
            )
            if outcome.failure
        ]


def count_sql(settings: Settings) -> tuple[int, int]:
    """Return how many days the table of the file has, and how many of it are stale."""
    with read_store(settings) as store:
        stale = read_stale_partitions(store, code_versions(settings))
        (rows,) = store.execute("SELECT count(*) FROM sql_lines").fetchone()
    return rows, sum(one.table == "sql_lines" for one in stale)


def test_a_day_keeps_its_rows_until_its_sql_tables_are_built(with_sql: Settings) -> None:
    """At first, and after a rebuild has deleted the figures."""
    assert archive_history(with_sql, TODAY) == ArchiveResult()
    assert not needs_archive(with_sql, TODAY)
    assert build_sql(with_sql) == []
    assert archive_history(with_sql, TODAY) == ArchiveResult(days=5, events=5)
    rebuild(with_sql)
    assert build_sql(with_sql, 2) == []
    assert archive_history(with_sql, TODAY) == ArchiveResult(days=2, events=2)
    assert build_sql(with_sql) == []
    assert archive_history(with_sql, TODAY) == ArchiveResult(days=3, events=3)
    assert count_sql(with_sql) == (DAYS, 0)


def test_an_erasure_while_days_go_keeps_the_rows_of_those_it_changes(
    with_sql: Settings, steps: Steps
) -> None:
    """Their figures are deleted after the days were listed."""
    build_sql(with_sql)
    steps.run(
        1,
        lambda: archive_history(with_sql, TODAY),
        lambda: erase(with_sql, "bert", None, apply=True),
    )
    assert build_sql(with_sql) == []
    assert count_sql(with_sql) == (DAYS, 0)


def test_archived_days_keep_the_figures_of_sql_tables(with_sql: Settings) -> None:
    """Neither an edit, a late event nor force builds them, or fails at it."""
    build_sql(with_sql)
    archive_history(with_sql, TODAY)
    assert with_sql.sql
    (with_sql.sql / "lines.sql").write_text(f"{LINES} ")
    store_events(with_sql, [late_event(30, 2), late_event(31, 6)])
    assert count_sql(with_sql) == (DAYS, 1)
    assert build_sql(with_sql) == build_sql(with_sql, force=True) == []
    assert count_sql(with_sql) == (DAYS, 0)
    section = read_tables_section(with_sql)
    assert (section.figures["days_behind"], section.figures["failed_builds"]) == (0, 0)


def test_a_sql_table_that_came_later_has_no_figures_of_archived_days(with_sql: Settings) -> None:
    """A build that is asked for says so; no other waits, and the status counts no failure."""
    before = with_sql.model_copy(update={"sql": None})
    build_sql(before)
    archive_history(before, TODAY)
    failures = build_sql(with_sql)
    assert len(failures) == DAYS - 1
    assert all("is not built; it has no older figures." in failure for failure in failures)
    assert count_sql(with_sql) == (1, 0)
    assert read_tables_section(with_sql).figures["failed_builds"] == 0


def test_a_sql_table_that_fails_again_and_again_keeps_no_rows(with_sql: Settings) -> None:
    """Its build is tried eight times before, while a person may mend the cause."""
    assert with_sql.sql
    (with_sql.sql / "lines.sql").write_text(LINES.replace("count(*)", "count(*) + 1"))
    for _ in range(7):
        assert len(build_sql(with_sql)) == DAYS
    assert archive_history(with_sql, TODAY) == ArchiveResult()
    build_sql(with_sql)
    assert archive_history(with_sql, TODAY) == ArchiveResult(days=5, events=5)


def test_days_before_the_first_partition_go(with_sql: Settings) -> None:
    """Dagster never builds them."""
    later = with_sql.model_copy(update={"history_start": date(2024, 1, 3)})
    assert archive_history(later, TODAY) == ArchiveResult(days=2, events=2)


ACTIONS = {
    "store": 9, "seal": 2, "archive": 6, "return": 2, "erase": 1, "rebuild": 1, "retire": 1
}  # fmt: skip


def archive_all(settings: Settings) -> None:
    """Archive all that is to go."""
    assert archive_history(settings, TODAY).problems == {}


ARCHIVE: dict[str, Callable[[Settings], object]] = {"archive": archive_all, "return": return_days}


def list_events(chance: random.Random) -> list[Event]:
    """Return a few events of few ids, users and orders."""
    return [
        late_event(
            (number := chance.randrange(12)),
            chance.randrange(1, 7),
            quantity=chance.choice((1, 2, -1)),
            item=chance.choice(("lamp", "book")),
            user=chance.choice(("anna", "bert", None)),
            order_id=f"o-{number % 4}",
            source_timestamp=chance.randrange(4),
            source_offset=chance.randrange(4),
        )
        for _ in range(chance.randrange(1, 5))
    ]


def do_anything(chance: random.Random, settings: Settings, steps: Steps, *, archives: bool) -> None:
    """Do one of the things that happen to a home; with `archives` that of the archive too.

    Something else happens between two of its transactions.
    """
    done = chance.choices([*ACTIONS], [*ACTIONS.values()])[0]
    inner = random.Random(chance.random())
    work = partial(ARCHIVE.get(done, counts) if archives else counts, settings)
    meanwhile = partial(do_anything, inner, settings, steps, archives=archives)
    events = list_events(chance)
    user = chance.choice(("anna", "bert"))
    match done:
        case "store":
            store_all(settings, events)
        case "seal":
            seal_history(settings, TODAY)
        case "archive" | "return":
            steps.run(inner.randrange(1, 16), work, meanwhile)
        case "erase":
            with suppress(NotFound):
                erase(settings, user, None, apply=True)
        case "rebuild":
            rebuild(settings)
        case "retire":
            moved = {("analytics", 0): StoredOffset(0, f"topic-{chance.random()}", "cluster")}
            with write_store(settings) as store:
                move_offsets(store, GROUP, "analytics", moved)


@pytest.mark.parametrize(
    "seeds",
    [range(1), pytest.param(range(1, 100), marks=[pytest.mark.faults, pytest.mark.timeout(900)])],
)
def test_whatever_happens_is_the_same_as_without_an_archive(
    seeds: range, tmp_path: Path, steps: Steps
) -> None:
    """Any sequence of batches, seals, archives, corrections, erasures and rebuilds.

    Also between any two transactions of an archive and of a return.
    """
    for seed in seeds:
        answers: list[list[Any]] = []
        for name in ("with", "without"):
            settings = home_settings(tmp_path / f"{name}-{seed}", keep_events=40)
            settings.home.mkdir(mode=0o700)
            # Pseudonyms of one key are the same.
            write_erasure_list(Home(settings.home).erasures, ErasureList("ab" * 32, []))
            chance = random.Random(seed)
            store_events(settings, [late_event(0, 6)])
            answers.append([])
            for _ in range(20):
                do_anything(chance, settings, steps, archives=name == "with")
                with read_store(settings) as store:
                    answers[-1].append([store.execute(text).fetchall() for text in FIGURES])
            answers[-1].append(read_answers(settings))
        assert answers[0] == answers[1], seed
