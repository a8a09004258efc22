"""The example year: built by a process that is killed, and by another one; cell by cell right.

`make test` builds its first month, and `make test-faults` all of it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pytest

from assets.builds.builder import Outcome, open_builder
from assets.checks.finding import CheckContext, Finding
from assets.checks.reconciliation import check_parity, check_unchanged
from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.day_range import DayRange
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS, Transform
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from tests.assets import oracle
from tests.assets.event_store import store_example
from tests.databases import home_settings, look, read_named, store_variables
from tests.store.rows import micros

pytestmark = pytest.mark.timeout(900)
TABLES = (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS)
MONTH = DayRange(date(2010, 12, 1), date(2010, 12, 31))
YEAR = DayRange(date(2010, 12, 1), date(2011, 12, 9))
LONG = pytest.param(YEAR, marks=pytest.mark.faults, id="year")
AFTER = micros("2011-12-10 12:00")
EVENTS = "SELECT {} FROM analytics_event".format(", ".join(f'"{name}"' for name in EVENT_COLUMNS))
BUILDS = "SELECT table_name || ' of ' || partition, digest FROM table_build"
CHILD = """
import os, signal, sys, threading
from datetime import date
from assets.tables.aggregate import EVENT_COLUMNS
from assets.tables.day_range import DayRange
from streaming.settings import Settings
from tests.assets.builds.test_year import build

_, home, first, last, partitions = sys.argv
days = DayRange(date.fromisoformat(first), date.fromisoformat(last))
for number, _ in enumerate(build(Settings(home=home), days), 1):
    if number == int(partitions):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
"""
"""It kills itself in the middle of what comes after so many partitions."""


@dataclass(frozen=True)
class Built:
    """A home with the days, the digests that the killed process left, and its findings."""

    settings: Settings
    days: DayRange
    digests: dict[str, str]
    findings: list[Finding]
    outcomes: list[Outcome]

    @property
    def day_partitions(self) -> int:
        """The number of partitions of the day tables."""
        return len(DAY_TRANSFORMS) * len(self.days)


def build(settings: Settings, days: DayRange, *, force: bool = False) -> Iterator[Outcome]:
    """Build every day, and then the summaries."""
    with open_builder(settings, "a-run") as builder:
        for piece in builder.group_days([day.isoformat() for day in days.list_days()]):
            yield from builder.build_days(piece, DAY_TRANSFORMS, force=force)
        yield from builder.build("all", WHOLE_TRANSFORMS, force=force)


def run_checks(settings: Settings) -> list[Finding]:
    """Run parity and digest checks over every table."""
    context = CheckContext(settings, AFTER)
    with look(settings) as connection:
        return [
            check(connection, context, table)
            for table in TABLES
            for check in (check_parity, check_unchanged)
        ]


def digests(settings: Settings) -> dict[str, str]:
    """Read the digest of each partition."""
    with look(settings) as connection:
        return dict(connection.execute(BUILDS).fetchall())


@pytest.fixture(scope="module", params=[pytest.param(MONTH, id="month"), LONG])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the days in a process that is killed after a quarter, and all of them again."""
    days: DayRange = request.param
    settings = home_settings(tmp_path_factory.mktemp("days"))
    store_example(settings, days)
    words = [sys.executable, "-c", CHILD, str(settings.home), *days.iso_bounds(), str(len(days))]
    environment = {**os.environ, **store_variables(settings.home)}
    killed = subprocess.run(words, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    left, findings = digests(settings), run_checks(settings)
    return Built(settings, days, left, findings, list(build(settings, days, force=True)))


def test_a_killed_build_leaves_whole_days(built: Built) -> None:
    """What it had built is right, and the rest is not there at all."""
    assert 0 < len(built.digests) < built.day_partitions
    assert all(finding.passed for finding in built.findings)
    assert sum(finding.numbers.get("pending", 0) for finding in built.findings) > 0


def test_a_second_build_gives_the_same_rows(built: Built) -> None:
    """Every partition that both processes built has the same digest, and all are built now."""
    after = digests(built.settings)
    assert {what: after[what] for what in built.digests} == built.digests
    assert len(after) == built.day_partitions + 2 == len(built.outcomes)
    assert [outcome.failure for outcome in built.outcomes if outcome.failure] == []
    assert all(outcome.computed for outcome in built.outcomes)
    assert all(finding.passed for finding in run_checks(built.settings))


def test_every_cell_is_what_plain_sql_says(built: Built) -> None:
    """All rows of all tables, computed a second way from the same events."""
    with look(built.settings) as connection:
        events = connection.execute(EVENTS).fetchall()
        tables = oracle.run_tables(events, built.settings.zone)
        for transform in TABLES:
            expected = tables[transform.table]
            if transform.table == "daily_sales":
                expected = with_empty_days(expected, built.days)
            assert read_table(connection, transform) == expected, transform.table


def with_empty_days(rows: list[tuple[object, ...]], days: DayRange) -> list[tuple[object, ...]]:
    """Add the rows of zeros of the days on which the shop was closed."""
    by_day = {row[0]: row for row in rows}
    return [by_day.get(day.isoformat(), (day.isoformat(), *[0] * 8)) for day in days.list_days()]


def read_table(connection: StoreConnection, transform: Transform) -> list[tuple[object, ...]]:
    """Read a table by its key."""
    order = ", ".join(f'"{name}"' for name in transform.key)
    rows = connection.execute(f"SELECT * FROM {transform.table} ORDER BY {order}")
    return list(rows)


@pytest.mark.parametrize("built", [LONG], indirect=True)
def test_the_summary_has_the_published_totals(built: Built) -> None:
    """As examples/README.md has them, without the two lines that are refused."""
    with look(built.settings) as connection:
        (row,) = read_named(connection, "SELECT * FROM sales_summary_readable")
    assert (row["events"], row["items_sold"], row["net_revenue"]) == (
        541907,
        5176448,
        "9769872.054",
    )
    assert (row["orders"], row["customers"]) == (25898, 4372)
    assert (row["most_popular_item"], row["most_popular_items_sold"]) == ("22197", 56450)


def test_built_again_nothing_is_computed(built: Built) -> None:
    """Every partition is at the stream's version."""
    assert not any(outcome.computed for outcome in build(built.settings, built.days))


@pytest.mark.sqlite("the pages of a file")
@pytest.mark.parametrize("built", [LONG], indirect=True)
def test_an_event_takes_at_most_195_bytes(built: Built) -> None:
    """The table of events with its two indexes, in pages, as the consumer's writer leaves them."""
    statement = (
        "SELECT sum(pgsize) FROM dbstat"
        " WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = 'analytics_event')"
    )
    with look(built.settings) as connection:
        (size,) = connection.execute(statement).fetchone()
    assert size / 541_907 <= 195
