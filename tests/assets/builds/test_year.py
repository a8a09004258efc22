"""The example year: built by a process that is killed, and by another one; cell by cell right."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date

import pytest

from assets.builds.builder import Outcome, open_builder
from assets.checks.finding import CheckContext, Finding
from assets.checks.reconciliation import check_parity, check_unchanged
from assets.tables.day_range import DayRange
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.settings import Settings
from tests.assets import oracle
from tests.assets.stored import store_example_year
from tests.store.rows import micros
from tests.support import wait_until

pytestmark = pytest.mark.timeout(600)
TABLES = (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)
DAYS = DayRange(date(2010, 12, 1), date(2011, 12, 9)).list_days()
AFTER = micros("2011-12-10 12:00")
BUILDS = "SELECT table_name || ' of ' || partition, digest FROM table_build"
CHILD = """
import sys
from streaming.settings import Settings
from tests.assets.builds.test_year import build_year
list(build_year(Settings(home=sys.argv[1])))
"""


@dataclass(frozen=True)
class Year:
    """A home with the year, the digests that the killed process left, and its findings."""

    settings: Settings
    digests: dict[str, str]
    findings: list[Finding]
    outcomes: list[Outcome]


def build_year(settings: Settings, *, force: bool = False) -> Iterator[Outcome]:
    """Build every day, and then the summaries."""
    with open_builder(settings, "a-run") as builder:
        for piece in builder.group_days([day.isoformat() for day in DAYS]):
            yield from builder.build_days(piece, DAY_TRANSFORMS, force=force)
        yield from builder.build("all", WHOLE_TRANSFORMS, force=force)


def run_checks(settings: Settings) -> list[Finding]:
    """Run parity and digest checks over every table."""
    context = CheckContext(settings, AFTER)
    with closing(sqlite3.connect(settings.database_path)) as connection:
        return [
            check(connection, context, table)
            for table in TABLES
            for check in (check_parity, check_unchanged)
        ]


def digests(settings: Settings) -> dict[str, str]:
    """Read the digest of each partition."""
    with closing(sqlite3.connect(settings.database_path)) as connection:
        return dict(connection.execute(BUILDS).fetchall())


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    """Build the year in a process, kill that half way, and build all of it again."""
    settings = Settings(home=tmp_path_factory.mktemp("year"))
    store_example_year(settings)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(settings.home)])
    try:
        wait_until(lambda: len(digests(settings)) > 300, 240, "the year is not being built")
    finally:
        child.kill()
        child.wait()
    left, findings = digests(settings), run_checks(settings)
    return Year(settings, left, findings, list(build_year(settings, force=True)))


def test_a_killed_build_leaves_whole_days(year: Year) -> None:
    """What it had built is right, and the rest is not there at all."""
    assert 300 < len(year.digests) < 4 * len(DAYS)
    assert all(finding.passed for finding in year.findings)
    assert sum(finding.numbers.get("pending", 0) for finding in year.findings) > 500


def test_a_second_build_gives_the_same_rows(year: Year) -> None:
    """Every partition that both processes built has the same digest, and all are built now."""
    after = digests(year.settings)
    assert {what: after[what] for what in year.digests} == year.digests
    assert len(after) == 4 * len(DAYS) + 2 == len(year.outcomes)
    assert [outcome.failure for outcome in year.outcomes if outcome.failure] == []
    assert all(outcome.computed for outcome in year.outcomes)
    assert all(finding.passed for finding in run_checks(year.settings))


def test_every_cell_is_what_plain_sql_says(year: Year) -> None:
    """All rows of all tables, computed a second way from the same events."""
    with closing(sqlite3.connect(year.settings.database_path)) as connection:
        oracle.prepare(connection, year.settings.zone, "analytics_event")
        for transform in TABLES:
            expected = oracle.rows(connection, transform.table)
            if transform.table == "daily_sales":
                expected = with_empty_days(expected)
            assert stored(connection, transform) == expected, transform.table


def with_empty_days(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Add the rows of zeros of the days on which the shop was closed."""
    known = {row[0]: row for row in rows}
    return [known.get(day.isoformat(), (day.isoformat(), *[0] * 8)) for day in DAYS]


def stored(connection: sqlite3.Connection, transform: Transform) -> list[tuple[object, ...]]:
    """Read a table by its key."""
    order = ", ".join(f'"{name}"' for name in transform.key)
    return connection.execute(f"SELECT * FROM {transform.table} ORDER BY {order}").fetchall()


def test_the_summary_has_the_published_totals(year: Year) -> None:
    """As examples/README.md has them, without the two lines that are refused."""
    with closing(sqlite3.connect(year.settings.database_path)) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM sales_summary_readable").fetchone()
    assert (row["events"], row["items_sold"], row["net_revenue"]) == (
        541907,
        5176448,
        "9769872.054",
    )
    assert (row["orders"], row["customers"]) == (25898, 4372)
    assert (row["most_popular_item"], row["most_popular_items_sold"]) == ("22197", 56450)


def test_built_again_nothing_is_computed(year: Year) -> None:
    """Every partition is at the stream's version."""
    assert not any(outcome.computed for outcome in build_year(year.settings))


def test_an_event_takes_at_most_195_bytes(year: Year) -> None:
    """The table of events with its two indexes, in pages, as the consumer's writer leaves them."""
    statement = (
        "SELECT sum(pgsize) FROM dbstat"
        " WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = 'analytics_event')"
    )
    with closing(sqlite3.connect(year.settings.database_path)) as connection:
        (size,) = connection.execute(statement).fetchone()
    assert size / 541_907 <= 195
