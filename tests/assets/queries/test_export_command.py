"""The command `export`: where it writes, and what it refuses."""

import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from assets.queries.export import export_chunks
from assets.queries.file_formats import Format, read_format
from streaming.errors import PurchasesError, UsageError
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.assets.queries.test_export import export_rows
from tests.databases import look, store_variables
from tests.in_process import run_here
from tests.store.rows import add_events, event, micros

ROOT = Path(__file__).parents[3]
PURCHASES = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]


def run(
    settings: Settings, *arguments: str, stdout: int = subprocess.PIPE
) -> "subprocess.CompletedProcess[bytes]":
    """Run the command."""
    return subprocess.run(
        [*PURCHASES, "export", *arguments],
        env={
            "PURCHASES_HOME": str(settings.home),
            "PATH": "/usr/bin:/bin",
            **store_variables(settings.home),
        },
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=180,
        check=False,
    )


def test_the_command_writes_to_standard_output_or_into_a_file(
    built: Settings, tmp_path: Path
) -> None:
    """The same bytes; the file's sentence says how many rows it has."""
    days = ("--from", "2024-01-03", "--to", "2024-01-04")
    piped = run(built, "daily_sales", *days)
    assert piped.returncode == 0
    assert piped.stderr == b""
    assert piped.stdout == export_rows(built, "daily_sales", Format.CSV, date(2024, 1, 3))
    file = tmp_path / "days.csv"
    done = run(built, "daily_sales", *days, "--output", str(file))
    assert done.stdout.decode() == f"{file} has 2 rows of daily_sales.\n"
    assert file.read_bytes() == piped.stdout
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_reader_that_leaves_early_is_no_error(store: Settings) -> None:
    """`purchases export analytics_event | head -1` says nothing of a broken pipe."""
    with look(store) as writer:
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
    environment = {"PURCHASES_HOME": str(store.home), **store_variables(store.home)}
    done = run_here("orchestration.cli.main", ("export", *line.split()), environment)
    said = done.stderr
    assert done.returncode == 2, said
    assert done.stdout == ""
    assert len(said.strip().splitlines()) == 1
    for part in WRONG[line]:
        assert part in said


def test_without_a_database_it_is_said_who_makes_one(settings: Settings) -> None:
    """And no file is left where the export would have been."""
    done = run(settings, "daily_sales", "--output", str(settings.home.parent / "out.csv"))
    assert done.returncode == 1
    assert b"purchases db upgrade" in done.stderr
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


@pytest.mark.sqlite("how its file is opened")
def test_a_live_file_is_read_with_mode_ro_and_not_as_immutable(store: Settings) -> None:
    """As docs/how-to/export-figures.md says: `immutable=1` does not see what the WAL holds."""
    counts = {}
    with look(store) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        add_events(writer, [event(1, 1)])
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            address = f"{store.database_path.as_uri()}?{mode}"
            with closing(sqlite3.connect(address, uri=True)) as reader:
                rows = reader.execute("SELECT count(*) FROM analytics_event").fetchall()
                counts[mode] = rows[0][0]
    assert counts == {"mode=ro": 1, "mode=ro&immutable=1": 0}
