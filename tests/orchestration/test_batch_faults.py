"""The batch half under fire: processes killed and stopped, the database locked, while it builds.

A reader looks throughout, and no table is ever half written. After each fault every past day is
current again within two minutes, and today with the summaries within twelve.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil
import pytest

from streaming.system.home import Home
from streaming.system.lease import holder
from tests.conftest import bring_jars
from tests.databases import change, look
from tests.faults.test_workers import wait
from tests.orchestration.home import HomeRunner
from tests.support import wait_until

pytestmark = pytest.mark.faults

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail.parquet"
YEAR = 541_907
FIRST, SOME, LAST = "2010-12-01", "2011-09-01", "2011-12-09"
CURRENT_SECONDS = 120
TODAY_SECONDS = 12 * 60
DAY_TABLES = ("hourly_sales", "daily_sales", "daily_item_sales", "daily_country_sales")
HALF = """
SELECT b.table_name, b.partition, b.events, s.events FROM table_build b
LEFT JOIN (SELECT day, sum(events) events, sum(items_sold) items_sold,
  sum(net_revenue_micros) net_revenue_micros FROM {table} GROUP BY day) s ON s.day = b.partition
WHERE b.table_name = '{table}' AND (coalesce(s.events, 0) <> b.events
  OR coalesce(s.items_sold, 0) <> b.items_sold
  OR coalesce(s.net_revenue_micros, 0) <> b.net_revenue_micros)
"""
BEHIND = """
SELECT count(*) FROM day_ledger l, (SELECT column1 AS name FROM (VALUES {tables})) t
LEFT JOIN table_build b ON b.table_name = t.name AND b.partition = CAST(l.day AS TEXT)
WHERE l.day {which} date('now') AND coalesce(b.version, 0) <> l.version
"""
SUMMARIES_AT = "SELECT min(version) FROM table_build WHERE partition = 'all'"


class Reader:
    """Looks at all day tables again and again; `half` holds what did not agree with its build."""

    def __init__(self, home: HomeRunner) -> None:
        self.half: list[tuple[object, ...]] = []
        self.looks = 0
        self._settings = home.settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _look(self) -> None:
        with look(self._settings, 30) as store:
            while not self._stop.wait(0.1):
                for table in DAY_TABLES:
                    self.half += store.execute(HALF.format(table=table)).fetchall()
                self.looks += 1


def figure(home: HomeRunner, statement: str) -> int:
    """Return the one figure of a statement."""
    return int(home.rows(statement)[0][0] or 0)


def count_behind(home: HomeRunner, which: str = "<") -> int:
    """Count the past days (or with `=` today) that are behind, by table."""
    tables = ", ".join(f"('{table}')" for table in DAY_TABLES)
    return figure(home, BEHIND.format(tables=tables, which=which))


def wait_until_past_days_are_current(home: HomeRunner) -> None:
    """Fail after the time within which they must be, on a machine of its own."""
    wait_until(lambda: count_behind(home) == 0, CURRENT_SECONDS, "past days are behind", factor=1)


@pytest.fixture(scope="module")
def year(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeRunner]:
    """A home in which `up` runs, the example's year is stored and its tables are built."""
    path = tmp_path_factory.mktemp("batch")
    bring_jars(jars, path)
    home = HomeRunner(path)
    home.up()
    wait_until(home.progress, 90, "up does not work")
    # Two rows are refused.
    assert home.run("replay", str(EXAMPLE), "--as-recorded", timeout=300).returncode == 1
    wait_until(lambda: figure(home, "SELECT sum(events) FROM live_totals") == YEAR, 300, "no year")
    wait_until(lambda: count_behind(home) == 0, 600, "the year is not built")
    yield home
    home.run("down")


@contextmanager
def backfilling(home: HomeRunner, first: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Build all days from `first` on, whether they are current or not, and end that in the end."""
    process = home.background("backfill", "--from", first, "--to", LAST, "--force")
    yield process
    process.kill()
    process.wait()


def send(home: HomeRunner, *days: str, count: int = 50) -> None:
    """Send purchases of some days; today's too."""
    for day in (*days, time.strftime("%Y-%m-%d", time.gmtime())):
        done = home.run("produce", "--rate", "max", "--count", str(count), "--start", day)
        assert done.returncode == 0, done.stderr


def process_of(home: HomeRunner, part: str) -> int:
    """Return the process of the webserver or the daemon."""
    pids: list[int] = []

    def is_there() -> bool:
        pid = holder(Home(home.path).service_lease(part))
        pids.extend([pid] if pid else [])
        return bool(pid)

    wait_until(is_there, 60, f"no {part}")
    return pids[-1]


def code_servers(home: HomeRunner) -> list[psutil.Process]:
    """Return Dagster's code servers of the home."""
    return [p for p in home.processes() if {"api", "grpc"} <= set(p.cmdline())]


def runs(home: HomeRunner) -> list[int]:
    """Return the processes that hold the lock of a run."""
    locks = (home.path / "runs").glob("*.lock")
    return [pid for lock in locks if lock.name != "write.lock" if (pid := holder(lock))]


def kill_daemon(home: HomeRunner) -> None:
    """Kill the daemon."""
    os.kill(process_of(home, "daemon"), signal.SIGKILL)


def kill_webserver(home: HomeRunner) -> None:
    """Kill the webserver."""
    os.kill(process_of(home, "webserver"), signal.SIGKILL)


def kill_run(home: HomeRunner) -> None:
    """Kill the process of the run that writes."""
    wait_until(lambda: runs(home), 60, "no run writes")
    for pid in runs(home):
        os.kill(pid, signal.SIGKILL)


def kill_code_servers(home: HomeRunner) -> None:
    """Kill every code server, as if the code was replaced."""
    for process in code_servers(home):
        process.kill()


def stop_code_servers(home: HomeRunner) -> None:
    """Stop them for longer than a tick may last."""
    stopped = code_servers(home)
    for process in stopped:
        process.suspend()
    wait(70)
    for process in stopped:
        process.resume()


def lock_database(home: HomeRunner) -> None:
    """Hold the right to write for a minute."""
    with change(home.settings, 60):
        wait(60)


FAULTS: list[Callable[[HomeRunner], None]] = [
    kill_daemon,
    kill_webserver,
    kill_run,
    kill_code_servers,
    stop_code_servers,
    lock_database,
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_in_mid_backfill_costs_nothing(
    year: HomeRunner, fault: Callable[[HomeRunner], None]
) -> None:
    """A backfill of a hundred days runs, and purchases of past days come in."""
    with Reader(year) as reader, backfilling(year, SOME) as backfill:
        wait_until(lambda: runs(year), 60, "the backfill does not begin")
        send(year, "2011-03-01", "2011-11-30")
        fault(year)
        wait_until_past_days_are_current(year)
        backfill.wait(120)
    assert reader.half == []
    assert reader.looks > 5


@pytest.mark.timeout(900)
def test_after_all_of_it_today_and_the_summaries_are_current_and_everything_agrees(
    year: HomeRunner,
) -> None:
    """Within twelve minutes of the last purchase; and `verify` finds nothing."""
    send(year, "2011-05-05")
    wait_until_past_days_are_current(year)
    events = figure(year, "SELECT events FROM live_totals")
    wait_until(
        lambda: count_behind(year, "=") == 0 and figure(year, SUMMARIES_AT) >= events,
        TODAY_SECONDS,
        "today or the summaries are behind",
        factor=1,
    )
    done = year.run("verify")
    assert done.returncode == 0, done.stdout
    assert figure(year, "SELECT count(*) FROM build_failure") == 0


@pytest.mark.timeout(900)
def test_the_stream_runs_at_full_speed_during_a_years_backfill(year: HomeRunner) -> None:
    """Both end, and the days that the stream touched are built again."""
    with Reader(year) as reader, backfilling(year, FIRST) as backfill:
        purchases = ("--rate", "max", "--count", "300000", "--start", "2011-06-01")
        done = year.run("produce", *purchases, timeout=200)
        assert done.returncode == 0, done.stderr
        assert backfill.wait(200) == 0
        wait_until_past_days_are_current(year)
    assert reader.half == []
