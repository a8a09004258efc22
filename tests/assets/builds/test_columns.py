"""Column files: whatever is sealed, changed or lost, tables are those of the stored events."""

from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from assets.builds import builder, columns, seal
from assets.builds.builder import open_builder
from assets.builds.column_proof import find_problems
from assets.builds.computation import BuildContext, require_sound_files
from assets.builds.seal import SealResult, needs_seal, seal_history
from assets.checks.column_files import check_unchanged_files
from assets.checks.finding import CheckContext
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.backup import backup
from streaming.store.build_rows import lock_partitions
from streaming.store.column_files import forget_all, read_column_files
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.engine import engine_over
from streaming.store.erasure import erase
from streaming.store.free_space import overwrite_free_space
from streaming.store.rebuild import rebuild
from streaming.store.restore import restore
from streaming.system.home import Home
from streaming.system.lease import acquire
from tests.assets.event_store import store_events
from tests.databases import home_settings, look
from tests.store.rows import Event, event, micros, year_of_days

TODAY = date(2024, 2, 1)
DAYS = 5
LIST = "SELECT day, events, problem FROM column_file ORDER BY day, events DESC"


def build(settings: Settings, days: int = DAYS) -> dict[str, str]:
    """Build all tables of the first days again; return the digest of each partition."""
    with open_builder(settings, "run") as opened:
        outcomes = [
            outcome
            for day in range(1, days + 1)
            for outcome in opened.build(f"2024-01-{day:02d}", DAY_TRANSFORMS, force=True)
        ]
        outcomes += opened.build(WHOLE, WHOLE_TRANSFORMS, force=True)
    assert [outcome.failure for outcome in outcomes if outcome.failure] == []
    return {
        f"{outcome.transform.table} of {outcome.partition}": outcome.build.digest
        for outcome in outcomes
        if outcome.build is not None
    }


def build_from_rows(settings: Settings, days: int = DAYS) -> dict[str, str]:
    """Build without column files, which are forgotten."""
    with write_store(settings) as opened:
        forget_all(opened)
    return build(settings, days)


def problems(settings: Settings) -> dict[str, str]:
    """Return the problems of the listed files."""
    with read_store(settings) as opened:
        return find_problems(opened, open_column_store(settings), settings.zone, contents=True)


def list_files(settings: Settings) -> list[tuple[object, ...]]:
    """Return day, events and problem of each listed file."""
    with look(settings) as opened:
        return opened.execute(LIST).fetchall()


def files(settings: Settings) -> list[Path]:
    """Return the files on the disk."""
    return sorted(Home(settings.home).columns.rglob("*.parquet"))


def late_event(number: int, day: int, quantity: int = 1, **fields: object) -> Event:
    """Make an event of a day of January."""
    return event(number, micros(f"2024-01-{day:02d} 09:00"), quantity, **fields)


@pytest.fixture
def sealed(store: Settings) -> Settings:
    """Return a home with five days of one event, all of them sealed."""
    store_events(store, year_of_days(DAYS))
    assert seal_history(store, TODAY) == SealResult(days=5, files=5, events=5)
    return store


def test_tables_come_from_columns_and_the_rows_beyond(
    sealed: Settings, connection: StoreConnection
) -> None:
    """What is sealed is not read from the rows, which an edit of them shows; what is late is."""
    connection.execute("UPDATE analytics_event SET item = 'edited'")
    store_events(sealed, [late_event(10, 2, item="chair")])
    build(sealed)
    items = connection.execute("SELECT day, item FROM daily_item_sales ORDER BY 1, 2").fetchall()
    expected = [(f"2024-01-{row + 1:02d}", ("lamp", "book", "chair")[row % 3]) for row in range(5)]
    assert items == sorted([*expected, ("2024-01-02", "chair")])


def test_the_digests_are_those_without_columns(sealed: Settings) -> None:
    """Of days that are sealed whole, partly and not at all, and of the whole tables."""
    store_events(
        sealed, [late_event(10, 2, quantity=-1), late_event(11, 2, user=None), late_event(12, 6)]
    )
    assert build(sealed, 6) == build_from_rows(sealed, 6)


def test_a_late_event_is_one_more_file_and_many_small_files_become_one(
    sealed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is sealed already is not written again."""
    monkeypatch.setattr(seal, "SMALL_FILES", 2)
    before = files(sealed)
    store_events(sealed, [late_event(10, 2)])
    assert seal_history(sealed, TODAY) == SealResult(days=1, files=1, events=1)
    assert set(before) < set(files(sealed))
    store_events(sealed, [late_event(11, 2)])
    assert seal_history(sealed, TODAY) == SealResult(days=1, files=1, events=1, joined=3, removed=3)
    assert ("2024-01-02", 3, None) in list_files(sealed)
    assert len(files(sealed)) == 5
    assert problems(sealed) == {}
    assert build(sealed) == build_from_rows(sealed)


def test_today_is_sealed_when_it_fills_a_file(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its events are read from the rows."""
    for module in (seal, columns):
        monkeypatch.setattr(module, "FILE_ROWS", 3)
    store_events(store, [late_event(1, 5), late_event(2, 5)])
    assert seal_history(store, date(2024, 1, 5)).files == 0
    store_events(store, [late_event(3, 5), late_event(4, 5)])
    assert seal_history(store, date(2024, 1, 5)).events == 4


def test_small_files_of_today_become_one_when_the_day_is_over(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of today is not added to if one of its files has newer events too."""
    monkeypatch.setattr(seal, "SMALL_FILES", 2)
    for module in (seal, columns):
        monkeypatch.setattr(module, "FILE_ROWS", 10)
    monkeypatch.setattr("assets.builds.event_reader.FRAME_ROWS", 5)
    monkeypatch.setattr("assets.builds.event_reader.FETCH_ROWS", 1)
    today = date(2024, 1, 5)
    for first in (0, 10, 20):
        store_events(store, [late_event(first + number, 5) for number in range(10)])
        assert seal_history(store, today).joined == 0
    assert len(files(store)) == 6
    assert not needs_seal(store, today)
    tomorrow = date(2024, 1, 6)
    assert needs_seal(store, tomorrow)
    assert seal_history(store, tomorrow).joined > 1
    assert build(store) == build_from_rows(store)


def test_files_hold_bounded_frames(store: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of many events has several files, and a build reads them one by one."""
    for module in ("assets.builds.event_reader.FRAME_ROWS", "assets.builds.columns.FILE_ROWS"):
        monkeypatch.setattr(module, 10)
    monkeypatch.setattr("assets.builds.event_reader.FETCH_ROWS", 4)
    store_events(
        store, [late_event(number, 1, order_id=f"o-{number // 3}") for number in range(35)]
    )
    result = seal_history(store, TODAY)
    assert (result.days, result.events) == (1, 35)
    assert max(pl.read_parquet(path).height for path in files(store)) <= 10
    assert build(store, 1) == build_from_rows(store, 1)


def test_a_day_is_cut_as_in_the_ledger(tmp_path: Path) -> None:
    """Also where clocks go back over midnight, so that a window holds moments of two days."""
    settings = home_settings(tmp_path / "home", timezone="America/Havana")
    midnight = micros("2024-11-03 04:00")
    times = [midnight + minutes * 60_000_000 for minutes in range(-90, 150, 10)]
    store_events(settings, [event(number, time) for number, time in enumerate(times)])
    result = seal_history(settings, TODAY.replace(month=12))
    assert (result.days, result.events, result.problems) == (2, len(times), {})
    for path in files(settings):
        day = path.parent.name.removeprefix("day=")
        local = pl.from_epoch("event_time", time_unit="us").dt.replace_time_zone("UTC")
        dates = local.dt.convert_time_zone("America/Havana").dt.date().cast(pl.String)
        assert pl.read_parquet(path).select(dates).to_series().unique().to_list() == [day]


def test_a_correction_starts_a_day_again(sealed: Settings) -> None:
    """A later winner takes the files of both its days from the list; the next seal writes them."""
    winner = replace(
        late_event(10, 4, item="other"), event_id=year_of_days(DAYS)[1].event_id, source_offset=-1
    )
    store_events(sealed, [winner])
    assert [row[0] for row in list_files(sealed)] == ["2024-01-01", "2024-01-03", "2024-01-05"]
    from_mixed = build(sealed)
    assert seal_history(sealed, TODAY) == SealResult(days=1, files=1, events=2, removed=2)
    assert build(sealed) == from_mixed == build_from_rows(sealed)


def test_who_is_erased_leaves_no_file(sealed: Settings) -> None:
    """Not on the disk either, and the next seal writes the pseudonym."""
    erase(sealed, "anna", None, apply=True)
    assert not any("anna" in pl.read_parquet(path)["user"] for path in files(sealed))
    assert len(files(sealed)) == 1
    assert seal_history(sealed, TODAY).files == 4
    users = pl.concat(pl.read_parquet(path) for path in files(sealed))["user"].drop_nulls()
    assert {user[:7] for user in users} == {"bert", "erased-"}
    assert build(sealed) == build_from_rows(sealed)


def test_a_seal_under_way_does_not_bring_the_name_back(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the erasure is not named after it."""
    store_events(store, year_of_days(1))
    write_file = columns.write_file

    def write_and_erase(*arguments: object) -> object:
        written = write_file(*arguments)  # type: ignore[arg-type]
        erase(store, "anna", None, apply=True)
        return written

    monkeypatch.setattr("streaming.store.free_space.VACUUM_LOCK_SECONDS", 0.1)
    monkeypatch.setattr(seal, "write_file", write_and_erase)
    assert seal_history(store, TODAY).files == 0
    assert (list_files(store), files(store)) == ([], [])


def test_files_that_were_started_again_meanwhile_are_not_added_to(
    sealed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late event's file alone would stand for all events of its day."""
    store_events(sealed, [late_event(10, 2)])
    write_file = columns.write_file

    def write_and_forget(*arguments: object) -> object:
        with write_store(sealed) as opened:
            forget_all(opened)
        return write_file(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(seal, "write_file", write_and_forget)
    assert seal_history(sealed, TODAY).files == 0
    monkeypatch.undo()
    assert seal_history(sealed, TODAY).events == DAYS + 1
    assert build(sealed) == build_from_rows(sealed)


def test_a_seal_ends_after_its_time(store: Settings) -> None:
    """Other runs wait for it; what is left is sealed by the next one."""
    store_events(store, year_of_days(2))
    assert seal_history(store, TODAY, limit_seconds=0.0).days == 0


@pytest.mark.sqlite("a backup of the file")
def test_a_restored_database_has_the_files_of_its_own_list(sealed: Settings) -> None:
    """Days whose files are gone are read from the rows, and nothing of later is read."""
    kept = backup(sealed, None)
    of_backup = build(sealed)
    store_events(sealed, [late_event(10, 2)])
    with write_store(sealed) as opened:
        opened.execute("DELETE FROM column_file WHERE day = '2024-01-03'")
    seal_history(sealed, TODAY)
    restore(sealed, kept)
    assert [row[0] for row in list_files(sealed)] == [f"2024-01-0{day}" for day in (1, 2, 4, 5)]
    assert problems(sealed) == {}
    assert build(sealed) == of_backup
    store_events(sealed, [late_event(11, 2, item="another")])
    seal_history(sealed, TODAY)
    assert problems(sealed) == {}
    assert build(sealed) == build_from_rows(sealed)


@pytest.mark.sqlite("a backup of the file")
def test_a_restore_waits_for_no_run(sealed: Settings) -> None:
    """A run that writes would name files, and build figures, of the replaced database."""
    kept = backup(sealed, None)
    lease = acquire(Home(sealed.home).write_lease)
    assert lease is not None
    with lease, pytest.raises(PurchasesError, match="A run of Dagster writes"):
        restore(sealed, kept)


def test_a_rebuild_starts_all_days_again(sealed: Settings) -> None:
    """Events that somebody changed by hand are in the next files."""
    rebuild(sealed)
    assert list_files(sealed) == []


@pytest.mark.sqlite("free pages of the file")
def test_rows_keep_their_numbers(sealed: Settings, connection: StoreConnection) -> None:
    """Also when the file is written again, and when rows are missing between others."""
    connection.execute("DELETE FROM analytics_event WHERE rowid = 2")
    before = connection.execute("SELECT rowid, event_id FROM analytics_event").fetchall()
    connection.close()
    assert overwrite_free_space(sealed.database_path)
    with look(sealed) as opened:
        after = opened.execute("SELECT rowid, event_id FROM analytics_event").fetchall()
    assert sorted(after) == sorted(before)


def damage(path: Path) -> None:
    """Change a file's content, of the same length."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_file_that_was_replaced_meanwhile_is_no_problem(sealed: Settings) -> None:
    """The nightly check has no lock: its list is older than a correction, and than a new seal."""
    damage(files(sealed)[0])
    winner = late_event(1, 3, item="other", source_timestamp=-5)
    with read_store(sealed) as opened:
        assert read_column_files(opened)
        store_events(sealed, [winner])
        assert seal_history(sealed, TODAY).removed == 2
        finding = check_unchanged_files(opened, CheckContext(sealed, 0))
    assert finding.numbers == {"sound": 2, "unsound": 1}
    assert [sentence[:14] for sentence in finding.examples] == ["day=2024-01-01"]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"PAR1"), damage])
def test_a_lost_or_damaged_file_is_marked_and_the_rows_are_read(
    sealed: Settings, harm: object
) -> None:
    """The figures are right at once; the day stays with the rows, and the problem in the list."""
    right = build(sealed)
    assert callable(harm)
    harm(files(sealed)[1])
    wrong = problems(sealed)
    assert len(wrong) == 1
    assert build(sealed) == right or harm is damage
    if harm is not damage:
        assert [row[0] for row in list_files(sealed) if row[2]] == ["2024-01-02"]
        assert seal_history(sealed, TODAY).files == 0


def test_files_that_contradict_the_ledger_are_marked(
    sealed: Settings, connection: StoreConnection
) -> None:
    """A file with another content is found by the audit, and the rows give the right figures."""
    right = build(sealed)
    path = files(sealed)[1]
    pl.read_parquet(path).with_columns(quantity=pl.lit(7, pl.Int64)).write_parquet(path)
    assert build(sealed) == right
    assert [row[0] for row in list_files(sealed) if row[2]] == ["2024-01-02"]
    connection.execute("UPDATE column_file SET items_sold = 9 WHERE day = '2024-01-04'")
    assert len(problems(sealed)) == 2


def test_files_are_proven_outside_the_transaction(
    sealed: Settings, connection: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes minutes for a whole history: others write meanwhile. Then the failure is kept."""
    engine = engine_over(sealed.database, lock_seconds=0.1)
    proven: list[date | None] = []

    def prove(store: StoreConnection, context: BuildContext, day: date | None) -> None:
        with engine.begin() as other:
            lock_partitions(other, {WHOLE})
        proven.append(day)
        require_sound_files(store, context, day)

    monkeypatch.setattr(builder, "require_sound_files", prove)
    connection.execute("UPDATE live_totals SET items_sold = 99")
    with open_builder(sealed, "run") as opened:
        outcomes = opened.build(WHOLE, WHOLE_TRANSFORMS)
    engine.dispose()
    assert proven == [None]
    failures = {each.transform.table for each in outcomes if each.failure is not None}
    assert failures
    recorded = connection.execute("SELECT table_name, attempts FROM build_failure").fetchall()
    assert recorded == [(table, 1) for table in failures]


def test_a_ledger_that_contradicts_the_rows_is_not_sealed(
    store: Settings, connection: StoreConnection
) -> None:
    """The seal says so, and leaves no file."""
    store_events(store, year_of_days(2))
    connection.execute("UPDATE day_ledger SET items_sold = 9 WHERE day = '2024-01-02'")
    result = seal_history(store, TODAY)
    assert (result.files, list(result.problems)) == (1, ["2024-01-02"])
    assert len(files(store)) == 1


def change(settings: Settings, number: int, step: str, what: int | str, more: int) -> None:
    """Store an event or a lower content of one, or erase a customer, if there is one."""
    if step == "store":
        user = ("anna", "bert", None)[number % 3]
        store_events(settings, [late_event(number, int(what), quantity=more, user=user)])
    elif step == "conflict":
        lower = replace(late_event(number, int(what), item="other"), source_offset=-number)
        store_events(settings, [replace(lower, event_id=f"id-{more:06d}")])
    else:
        with pytest.MonkeyPatch.context() as patch, suppress(PurchasesError):
            patch.setattr("streaming.store.erasure.overwrite_free_space", lambda _: True)
            erase(settings, str(what), None, apply=True)
