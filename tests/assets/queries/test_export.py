"""Exports: the same rows in every format, exactly the days, and nothing half."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets.queries.export import CUT_BY, TABLES, export_chunks
from assets.queries.file_formats import Format
from streaming.events.identifiers import event_id_text
from streaming.settings import Settings
from streaming.store.models import Table
from tests.assets.event_store import store_events
from tests.databases import copy_store, home_settings, look
from tests.store.rows import EVENT_COLUMNS, SOURCE_TOPICS, add_events, event, micros

ROOT = Path(__file__).parents[3]
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
MEMORY_MIB = 200
"""Half of what the further events of the test would take; a few frames are a third of it."""
Rows = list[tuple[object, ...]]


def stored_rows(settings: Settings, table: str) -> Rows:
    """Return the rows as the database has them, but events with texts, in the order of the key."""
    key = ", ".join(f'"{c.name}"' for c in Table.metadata.tables[table].primary_key)
    order = f"event_time, {key}" if table == "analytics_event" else key
    with look(settings) as store:
        columns = EVENT_COLUMNS if table == "analytics_event" else "*"
        rows = store.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()
    if table != "analytics_event":
        return rows
    topics = {number: name for name, number in SOURCE_TOPICS.items()}
    return [(event_id_text(row[0]), *row[1:13], topics[row[13]], *row[14:]) for row in rows]


def export_rows(
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
        if "source_topic" in kinds:
            kinds["source_topic"] = pl.String
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


@pytest.mark.parametrize("form", EXACT)
def test_every_exact_format_has_the_rows_of_the_table_to_the_bit(
    hostile: Settings, form: Format
) -> None:
    """Commas, quotes, line ends and signs, and an empty text is not an absent one."""
    rows = stored_rows(hostile, "analytics_event")
    assert {row[10] for row in rows} == set(TEXTS)
    exported_rows = read_back(
        export_rows(hostile, "analytics_event", form), form, "analytics_event"
    )
    assert exported_rows == rows


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_of_a_spreadsheet_is_a_formula(store: Settings, separator: str) -> None:
    """However it parts the cells; numbers stay numbers, and other texts are exact."""
    formulas = ["=1+1", "+1", "-2+3", "@SUM(1)", " =1", "\t=1", "\r=1", "a;=1", 'a";=1;"', 'a;"=1"']
    formulas += ["a\n=1", "a,=1", "a|=1", "＝1+1", "'=1"]  # noqa: RUF001 - that is a wide form
    texts = [*formulas, "lamp", "a-b", "1 = 1", "é"]
    moment = micros("2024-01-01 10:00")
    store_events(store, [event(n, moment + n, -1, item=text) for n, text in enumerate(texts)])
    content = export_rows(store, "analytics_event", Format.SPREADSHEET)
    for row in spreadsheet_rows(content, separator):
        for cell in row:
            harmless = not cell.strip().startswith(("=", "+", "-", "@", "＝"))  # noqa: RUF001
            assert harmless or cell.lstrip("-").isdecimal(), row
    items = {row["item"] for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))}
    assert items >= {"lamp", "a-b", "1 = 1", "é", "'=1+1"}


def test_python_reads_the_csv_too(hostile: Settings) -> None:
    """Its `csv` cannot tell an absent text from an empty one; all else is equal."""
    text = export_rows(hostile, "analytics_event", Format.CSV).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == [c.name for c in Table.metadata.tables["analytics_event"].columns]
    expected = stored_rows(hostile, "analytics_event")
    assert rows == [["" if v is None else str(v) for v in row] for row in expected]
    assert ',"",' in text
    assert ",," in text


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_exported_whole_and_by_days(
    built: Settings, table: str, form: Format
) -> None:
    """Rows by the table's key; a day table has the days that were asked for, and no other."""
    rows = stored_rows(built, table)
    assert rows
    assert read_back(export_rows(built, table, form), form, table) == rows
    if table not in CUT_BY:
        return
    first, last = date(2024, 1, 2), date(2024, 1, 3)
    exported_rows = read_back(export_rows(built, table, form, first, last), form, table)
    column = [c.name for c in Table.metadata.tables[table].columns].index(CUT_BY[table])
    expected = [row for row in rows if day_of(row[column], UTC) in {first, last}]
    assert exported_rows == expected
    assert 0 < len(exported_rows) < len(rows)


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
        export_rows(local, "analytics_event", Format.JSONL, asked, asked), Format.JSONL, ""
    )
    expected = [
        row
        for row in stored_rows(local, "analytics_event")
        if day_of(row[1], ZoneInfo(zone)) == asked
    ]
    assert rows == expected
    assert len(rows) == minutes


def test_an_open_side_leaves_nothing_out(built: Settings) -> None:
    """Also up to the last day that there is."""
    everything = stored_rows(built, "analytics_event")
    for first, last in ((None, date.max), (date.min, None), (date.min, date.max)):
        content = export_rows(built, "analytics_event", Format.JSONL, first, last)
        assert read_back(content, Format.JSONL, "") == everything
    later = export_rows(built, "analytics_event", Format.JSONL, date(2024, 1, 3))
    assert read_back(later, Format.JSONL, "") == everything[2:]


@pytest.mark.parametrize("form", Format)
def test_without_rows_there_are_still_the_columns(store: Settings, form: Format) -> None:
    """But for JSON lines, in which nothing can hold them."""
    content = export_rows(store, "daily_sales", form)
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
    with look(store) as writer:
        add_events(writer, (event(n, n) for n in range(60_000)))
        reported: list[int] = []

        def write(rows: int) -> None:
            if rows and reported[-1] == 0:
                add_events(writer, [event(70_000, 59_999)])
            reported.append(rows)

        content = b"".join(export_chunks(store, "analytics_event", None, None, form, write))
    assert reported == [0, 25_000, 50_000, 60_000]
    assert len(read_back(content, form, "analytics_event")) == 60_000
    assert len(stored_rows(store, "analytics_event")) == 60_001


CHILD = """
import resource, sys
from assets.queries.export import export_chunks
from assets.queries.file_formats import Format
from streaming.settings import Settings

for home, url in zip(sys.argv[1:3], sys.argv[3:5]):
    settings = Settings(home=home, database_url=url)
    for form in map(Format, sys.argv[5:]):
        for _ in export_chunks(settings, "analytics_event", None, None, form):
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
"""It prints its peak memory (MiB) after the exports of one home, and after those of both."""


@pytest.mark.faults
def test_memory_does_not_grow_with_the_rows(store: Settings, tmp_path: Path) -> None:
    """Three times the events, and no more than a few frames of them in memory."""
    few = home_settings(tmp_path / "few")
    few.home.mkdir(mode=0o700)
    text = "d" * 1_000
    with look(store) as writer:
        add_events(writer, (event(n, n, description=text) for n in range(100_000)))
        copy_store(store, few)
        add_events(writer, (event(n, n, description=text) for n in range(100_000, 300_000)))
    urls = [each.database_url or "" for each in (few, store)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, (few.home, store.home)), *urls, *EXACT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    assert after < before + MEMORY_MIB
