"""`backfill` of the command line: which days and tables it builds, and what it says."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from assets.builds.failures import DeadRun, record_dead_run
from assets.tables.day_range import DayRange
from assets.tables.models import DAY_TABLE_NAMES
from orchestration.automation.run_requests import run_days, run_tables
from orchestration.instance import open_instance
from streaming.settings import Settings
from tests.assets.event_store import store_events
from tests.orchestration.home import HomeRunner
from tests.store.rows import year_of_days

DAYS = 4
FAILED = (date(2024, 1, 1), date(2024, 1, 3))


@pytest.fixture
def home(store: Settings) -> HomeRunner:
    """A home with four days of events, none of them built."""
    store_events(store, year_of_days(DAYS))
    return HomeRunner(store.home)


def builds(home: HomeRunner) -> dict[str, int]:
    """Return how many partitions of each table are built."""
    return dict(home.rows("SELECT table_name, count(*) FROM table_build GROUP BY table_name"))


def test_it_builds_days_and_summaries_and_says_nothing_like_a_failure(
    home: HomeRunner, store: Settings
) -> None:
    """Two runs that Dagster knows; a second time nothing is computed; a dry run builds nothing."""
    asked = ("backfill", "--from", "2024-01-02", "--to", "2024-01-04")
    tried = home.run(*asked, "--dry-run")
    assert tried.stdout.strip().endswith("2 summaries: 14 builds would be computed.")
    assert builds(home) == {}
    done = home.run(*asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OK: 3 days of 4 tables and 2 summaries: 14 builds current, of")
    assert builds(home) == {
        **dict.fromkeys(DAY_TABLE_NAMES, 3),
        **dict.fromkeys(("customer_summary", "sales_summary"), 1),
    }
    with open_instance(store) as instance:
        runs = {run_tables(run): run_days(run) for run in instance.get_runs()}
    assert runs == {
        frozenset(DAY_TABLE_NAMES): DayRange(date(2024, 1, 2), date(2024, 1, 4)),
        frozenset({"customer_summary", "sales_summary"}): None,
    }
    again = json.loads(home.run(*asked, "--json").stdout)
    assert (again["builds"], again["computed"], again["failures"]) == (14, 0, {})
    assert json.loads(home.run(*asked, "--dry-run", "--json").stdout) == {"due": 0}


def test_failed_days_are_built_and_no_others(home: HomeRunner, store: Settings) -> None:
    """Scattered days are one run; with nothing failed it says so."""
    assert home.run("backfill", "--failed").stdout == "OK: no build of a day has failed.\n"
    dead = DeadRun("run-1", "it died", frozenset(DAY_TABLE_NAMES), frozenset(FAILED))
    record_dead_run(store, dead)
    done = home.run("backfill", "--failed", "--table", "daily_sales")
    assert done.stdout.startswith("OK: 2 days of 1 table: 2 builds current, of them 2 computed")
    assert builds(home) == {"daily_sales": 2}


@pytest.mark.parametrize(
    ("options", "first", "last"), [(("--yesterday",), 1, 1), (("--days", "3"), 2, 0)]
)
def test_days_are_named_from_today(
    home: HomeRunner, options: tuple[str, ...], first: int, last: int
) -> None:
    """Yesterday alone, or so many days up to today."""
    today = datetime.now(UTC).date()
    done = home.run("backfill", *options, "--table", "daily_sales")
    assert done.returncode == 0, done.stderr
    (built,) = home.rows("SELECT min(partition), max(partition) FROM table_build")
    # Midnight may have passed meanwhile.
    expected = [
        tuple(str(day - timedelta(ago)) for ago in (first, last))
        for day in (today, today + timedelta(1))
    ]
    assert built in expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Name the days"),
        (("--yesterday", "--days", "2"), "in one way"),
        (("--from", "2024-01-01"), "both --from and --to"),
        (("--days", "0"), "--days 0"),
        (("--failed", "--yesterday"), "--failed names the days itself"),
        (("--table", "purchases"), "sales_summary"),
    ],
)
def test_a_wrong_request_is_refused(home: HomeRunner, options: tuple[str, ...], said: str) -> None:
    """In one sentence that says what to do."""
    done = home.run("backfill", *options)
    assert done.returncode == 2
    assert said in done.stderr
