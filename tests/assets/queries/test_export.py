"""Exports: the same rows in every format, exactly the days, and nothing half."""

import csv
import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets.builds.builder import open_builder
from assets.queries.export import CUT_BY, TABLES, Format, export_chunks, read_format
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from streaming.store.models import Table
from streaming.store.sqlite import connect
from tests.assets.stored import store_events
from tests.store.rows import add_events, event, micros, year_of_days

ROOT = Path(__file__).parents[3]
PURCHASES = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]
TEXTS = [
    "a,b",
    'say "tea"',
    "two\nlines",
    "a return\ralone",
    "crlf\r\n",
    "",
    None,
    " spaces ",
    "0012",
    "NULL",
    "=1+1",
    "🫖\u202e\u2028é",
]
EXACT = (Format.CSV, Format.PARQUET, Format.JSONL)
DAYS = ("2024-01-02", "2024-01-03", "2024-01-04")
MEMORY_MIB = 100

Rows = list[tuple[object, ...]]


def stored(settings: Settings, table: str) -> Rows:
    """Return the rows as the database has them, in the order of the key."""
    key = ", ".join(f'"{c.name}"' for c in Table.metadata.tables[table].primary_key)
    order = f"event_time, {key}" if table == "analytics_event" else key
    with closing(sqlite3.connect(settings.database_path)) as store:
        return store.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()


def exported(
    settings: Settings,
    table: str,
    form: Format,
    first: date | None = None,
    last: date | None = None,
) -> bytes:
    """Return a whole export."""
    return b"".join(export_chunks(settings, table, first, last, form))


def spreadsheet_rows(content: bytes, separator: str) -> list[list[str]]:
    """Return the cells that a spreadsheet sees, if it parts them by this character."""
    text = content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def read_back(content: bytes, form: Format, table: str) -> Rows:
    """Read an export as another program would; days are texts, as in the database."""
    if form is Format.JSONL:
        return [tuple(json.loads(line).values()) for line in content.split(b"\n") if line]
    if form is Format.PARQUET:
        frame = pl.read_parquet(io.BytesIO(content))
    else:
        columns = Table.metadata.tables[table].columns
        kinds = {c.name: pl.Int64 if c.type.python_type is int else pl.String for c in columns}
        frame = pl.read_csv(content, schema=kinds)
    return frame.with_columns(pl.selectors.date().cast(pl.String)).rows()


@pytest.fixture
def hostile(store: Settings) -> Settings:
    """A store whose events have texts that a format could trip over."""
    store_events(
        store,
        [
            event(n, micros("2024-01-01 10:00") + n % 3, item=f"{n}{text}", description=text)
            for n, text in enumerate(TEXTS)
        ],
    )
    return store


@pytest.fixture
def built(store: Settings) -> Settings:
    """A store with five days of events, of which three and the whole tables are built."""
    store_events(store, year_of_days(5))
    with open_builder(store, "run") as builder:
        for day in DAYS:
            builder.build(day, DAY_TRANSFORMS)
        builder.build("all", WHOLE_TRANSFORMS)
    return store


@pytest.mark.parametrize("form", EXACT)
def test_every_exact_format_has_the_rows_of_the_table_to_the_bit(
    hostile: Settings, form: Format
) -> None:
    """Commas, quotes, line ends and signs, and an empty text is not an absent one."""
    rows = stored(hostile, "analytics_event")
    assert {row[10] for row in rows} == set(TEXTS)
    found = read_back(exported(hostile, "analytics_event", form), form, "analytics_event")
    assert found == rows


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_of_a_spreadsheet_is_a_formula(store: Settings, separator: str) -> None:
    """However it parts the cells; numbers stay numbers, and other texts are exact."""
    formulas = ["=1+1", "+1", "-2+3", "@SUM(1)", " =1", "\t=1", "\r=1", "a;=1", 'a";=1;"', 'a;"=1"']
    formulas += ["a\n=1", "a,=1", "a|=1", "＝1+1", "'=1"]  # noqa: RUF001 - that is a wide form
    texts = [*formulas, "lamp", "a-b", "1 = 1", "é"]
    moment = micros("2024-01-01 10:00")
    store_events(store, [event(n, moment + n, -1, item=text) for n, text in enumerate(texts)])
    content = exported(store, "analytics_event", Format.SPREADSHEET)
    for row in spreadsheet_rows(content, separator):
        for cell in row:
            harmless = not cell.strip().startswith(("=", "+", "-", "@", "＝"))  # noqa: RUF001
            assert harmless or cell.lstrip("-").isdecimal(), row
    items = {row["item"] for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))}
    assert items >= {"lamp", "a-b", "1 = 1", "é", "'=1+1"}


def test_python_reads_the_csv_too(hostile: Settings) -> None:
    """Its `csv` cannot tell an absent text from an empty one; all else is equal."""
    text = exported(hostile, "analytics_event", Format.CSV).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == [c.name for c in Table.metadata.tables["analytics_event"].columns]
    expected = stored(hostile, "analytics_event")
    assert rows == [["" if v is None else str(v) for v in row] for row in expected]
    assert ',"",' in text
    assert ",," in text


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_exported_whole_and_by_days(
    built: Settings, table: str, form: Format
) -> None:
    """Rows by the table's key; a day table has the days that were asked for, and no other."""
    rows = stored(built, table)
    assert rows
    assert read_back(exported(built, table, form), form, table) == rows
    if table not in CUT_BY:
        return
    first, last = date(2024, 1, 2), date(2024, 1, 3)
    found = read_back(exported(built, table, form, first, last), form, table)
    column = [c.name for c in Table.metadata.tables[table].columns].index(CUT_BY[table])
    expected = [row for row in rows if day_of(row[column], UTC) in {first, last}]
    assert found == expected
    assert 0 < len(found) < len(rows)


def day_of(value: object, zone: tzinfo) -> date | None:
    """Return the day that a row's column says; None where it says none."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value // 1_000_000, zone).date()
    return None if value == "all" else date.fromisoformat(str(value))


@pytest.mark.parametrize(
    ("zone", "day", "minutes"),
    [
        ("Europe/London", "2011-03-27", 23 * 60),
        ("America/St_Johns", "2006-10-29", 24 * 60 + 1),
        ("UTC", "2024-02-29", 24 * 60),
    ],
)
def test_a_day_is_cut_in_the_time_zone_also_where_clocks_change_over_midnight(
    settings: Settings, zone: str, day: str, minutes: int
) -> None:
    """In St. John's a day once began twice: at 00:01 clocks went back to 23:01."""
    local = settings.model_copy(update={"timezone": zone})
    start = micros(f"{day} 00:00") - 26 * 3_600_000_000
    store_events(local, [event(n, start + n * 60_000_000) for n in range(80 * 60)])
    asked = date.fromisoformat(day)
    rows = read_back(
        exported(local, "analytics_event", Format.JSONL, asked, asked), Format.JSONL, ""
    )
    expected = [
        row for row in stored(local, "analytics_event") if day_of(row[1], ZoneInfo(zone)) == asked
    ]
    assert rows == expected
    assert len(rows) == minutes


def test_an_open_side_leaves_nothing_out(built: Settings) -> None:
    """Also up to the last day that there is."""
    everything = stored(built, "analytics_event")
    for first, last in ((None, date.max), (date.min, None), (date.min, date.max)):
        content = exported(built, "analytics_event", Format.JSONL, first, last)
        assert read_back(content, Format.JSONL, "") == everything
    later = exported(built, "analytics_event", Format.JSONL, date(2024, 1, 3))
    assert read_back(later, Format.JSONL, "") == everything[2:]


@pytest.mark.parametrize("form", Format)
def test_without_rows_there_are_still_the_columns(store: Settings, form: Format) -> None:
    """But for JSON lines, which have no place for them."""
    content = exported(store, "daily_sales", form)
    if form is Format.CSV:
        assert content.startswith(b"day,events,")
    if form is Format.PARQUET:
        assert pl.read_parquet(io.BytesIO(content)).schema["day"] == pl.Date
    assert read_back(content, form, "daily_sales") == []


@pytest.mark.parametrize("form", Format)
def test_what_is_written_meanwhile_is_not_in_it_and_is_not_held_up(
    store: Settings, form: Format
) -> None:
    """The consumer's next batch is committed while an export stands in the middle."""
    with closing(connect(store.database_path)) as writer:
        add_events(writer, (event(n, n) for n in range(60_000)))
        told: list[int] = []

        def write(rows: int) -> None:
            if rows and told[-1] == 0:
                add_events(writer, [event(70_000, 59_999)])
            told.append(rows)

        content = b"".join(export_chunks(store, "analytics_event", None, None, form, write))
    assert told == [0, 25_000, 50_000, 60_000]
    assert len(read_back(content, form, "analytics_event")) == 60_000
    assert len(stored(store, "analytics_event")) == 60_001


def peak_mib(settings: Settings, form: Format) -> int:
    """Return the peak memory of a child that exports all events."""
    code = (
        "import resource, sys; from assets.queries.export import *;"
        " from streaming.settings import *\n"
        "for _ in export_chunks(load_settings(), 'analytics_event', None, None, Format(sys.argv[1])"
        "): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, form],
        env={**os.environ, "PURCHASES_HOME": str(settings.home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_memory_does_not_grow_with_the_rows(store: Settings) -> None:
    """Ten times the events, and no more than a few frames of them in memory."""
    text = "d" * 200
    with closing(connect(store.database_path)) as writer:
        add_events(writer, (event(n, n, description=text) for n in range(20_000)))
        small = {form: peak_mib(store, form) for form in EXACT}
        add_events(writer, (event(n, n, description=text) for n in range(20_000, 200_000)))
    for form, before in small.items():
        assert peak_mib(store, form) < before + MEMORY_MIB, form


def run(
    settings: Settings, *arguments: str, stdout: int = subprocess.PIPE
) -> "subprocess.CompletedProcess[bytes]":
    """Run the command."""
    return subprocess.run(
        [*PURCHASES, "export", *arguments],
        env={"PURCHASES_HOME": str(settings.home), "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


def test_the_command_writes_to_standard_output_or_into_a_file(
    built: Settings, tmp_path: Path
) -> None:
    """The same bytes; the file's sentence says how many rows it has."""
    piped = run(built, "daily_sales", "--from", "2024-01-03")
    assert piped.returncode == 0
    assert piped.stderr == b""
    assert piped.stdout == exported(built, "daily_sales", Format.CSV, date(2024, 1, 3))
    file = tmp_path / "days.csv"
    done = run(built, "daily_sales", "--from", "2024-01-03", "--output", str(file))
    assert done.stdout.decode() == f"{file} has 2 rows of daily_sales.\n"
    assert file.read_bytes() == piped.stdout
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_reader_that_leaves_early_is_no_error(store: Settings) -> None:
    """`purchases export analytics_event | head -1` says nothing of a broken pipe."""
    with closing(connect(store.database_path)) as writer:
        add_events(writer, (event(n, n) for n in range(60_000)))
    reading, writing = os.pipe()
    os.close(reading)
    done = run(store, "analytics_event", stdout=writing)
    os.close(writing)
    assert done.stderr == b""


WRONG = {
    "purchases": ("not a table for export", "analytics_event, hourly_sales, "),
    "daily_sales --from soon": ("--from soon is not a day",),
    "daily_sales --to 2011-02-30": ("--to 2011-02-30 is not a day",),
    "daily_sales --from 2011-03-02 --to 2011-03-01": ("the first day is after the last",),
    "customer_summary --from 2011-03-02": ("not cut into days",),
    "sales_summary --to 2011-03-02": ("not cut into days",),
    "daily_sales --format xml": ("format xml", "csv, parquet, jsonl"),
    "daily_sales --output /no/such/days.csv": (
        "/no/such/days.csv is in a directory that does not",
    ),
    "daily_sales --format jsonl --for-spreadsheet": ("leave out --format jsonl",),
    "daily_sales --output .": ("--output . exists and is not a file",),
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_request_is_refused_with_a_sentence(store: Settings, line: str) -> None:
    """With what would be right, and exit code 2."""
    done = run(store, *line.split())
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert done.stdout == b""
    assert len(said.strip().splitlines()) == 1
    for part in WRONG[line]:
        assert part in said


def test_without_a_database_it_is_said_who_makes_one(settings: Settings) -> None:
    """And no file is left where the export would have been."""
    done = run(settings, "daily_sales", "--output", str(settings.home.parent / "out.csv"))
    assert done.returncode == 1
    assert b"There is no database at" in done.stderr
    assert not (settings.home.parent / "out.csv").exists()


def test_parquet_is_not_for_a_terminal(store: Settings) -> None:
    """A pipe or a file is; CSV may be read on a terminal."""
    ours, its = pty.openpty()
    done = run(store, "daily_sales", "--format", "parquet", stdout=its)
    assert done.returncode == 2
    assert b"--output" in done.stderr
    assert run(store, "daily_sales", stdout=its).returncode == 0
    os.close(its)
    assert os.read(ours, 1_000).startswith(b"day,events")
    os.close(ours)


def test_a_terminal_is_not_steered_by_an_export(store: Settings) -> None:
    """What does not print is escaped there; a file or a pipe has the exact bytes."""
    item = "\x1b[2J\x9b2Jtea"
    store_events(store, [event(1, micros("2024-01-01 10:00"), item=item)])
    ours, its = pty.openpty()
    assert run(store, "analytics_event", stdout=its).returncode == 0
    os.close(its)
    shown = os.read(ours, 4_000)
    os.close(ours)
    assert rb"\x1b[2J\x9b2Jtea" in shown
    assert b"\x1b" not in shown
    assert item.encode() in run(store, "analytics_event").stdout


def test_another_time_zone_than_the_database_has_is_refused(store: Settings) -> None:
    """Its days would be other days than those of the tables."""
    abroad = store.model_copy(update={"timezone": "Asia/Tokyo"})
    with pytest.raises(PurchasesError, match="PURCHASES_TIMEZONE"):
        export_chunks(abroad, "daily_sales", None, None, Format.CSV)


def test_a_wrong_format_is_a_usage_error() -> None:
    """As over HTTP, where no command line checks it."""
    assert read_format("csv") is Format.CSV
    with pytest.raises(UsageError, match="csv, parquet, jsonl"):
        read_format("CSV")


def test_a_live_file_is_read_with_mode_ro_and_not_as_immutable(store: Settings) -> None:
    """As docs/how-to/export-figures.md says: `immutable=1` does not see what the WAL holds."""
    found = {}
    with closing(connect(store.database_path)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        add_events(writer, [event(1, 1)])
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            address = f"{store.database_path.as_uri()}?{mode}"
            with closing(sqlite3.connect(address, uri=True)) as reader:
                rows = reader.execute("SELECT count(*) FROM analytics_event").fetchall()
                found[mode] = rows[0][0]
    assert found == {"mode=ro": 1, "mode=ro&immutable=1": 0}
