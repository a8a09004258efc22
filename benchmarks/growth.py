"""How Dagster's instance grows under full load: 2,000 events/s, late ones every minute, for hours.

Every minute a line of CSV: what the instance takes on disk and of which parts, its runs, what is
stored. Two hours are no part of `make bench`: `python -m benchmarks.growth [MINUTES]` measures
this alone, in a scratch home.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.scratch import PURCHASES, Bench, clean_home
from streaming.system.home import Home

MINUTES: Final = 130
RATE: Final = 2_000
LATE: Final = 20
PAST_DAYS: Final = 30
READY_SECONDS: Final = 120
MIB: Final = 2**20
HEAD: Final = "time,minute,MiB,runs MiB,ticks MiB,logs MiB,runs,stored,late"


def measure_growth(bench: Bench, minutes: int) -> Iterator[str]:
    """Return the lines, one each minute, while the load runs."""
    yield HEAD
    with bench.process([*PURCHASES, "up"], "up") as up:
        _wait_until_ready(bench, up)
        with bench.process([*PURCHASES, "produce", "--rate", str(RATE)], "produce"):
            begun = time.monotonic()
            for minute in range(minutes + 1):
                yield _line(bench, minute)
                late_day = datetime.now(UTC).date() - timedelta(days=1 + minute % PAST_DAYS)
                bench.run("produce", "--count", str(LATE), "--start", str(late_day))
                time.sleep(max(0.0, begun + 60 * (minute + 1) - time.monotonic()))
        subprocess.run([*PURCHASES, "status"], env=bench.environment, check=False)


def _wait_until_ready(bench: Bench, up: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not bench.database.exists() or not _runs_file(bench).exists():
        if time.monotonic() > deadline or up.poll() is not None:
            raise TimeoutError((bench.home / "up.log").read_text())
        time.sleep(1)


def _runs_file(bench: Bench) -> Path:
    return Home(bench.home).dagster / "history" / "runs.db"


def _line(bench: Bench, minute: int) -> str:
    home = Home(bench.home).dagster
    sizes = {path: path.stat().st_size for path in home.rglob("*") if path.is_file()}
    parts = [
        sum(size for path, size in sizes.items() if path.is_relative_to(home / part))
        for part in ("history", "schedules", "logs")
    ]
    figures = [round(size / MIB, 2) for size in (sum(sizes.values()), *parts)]
    with closing(sqlite3.connect(f"file:{_runs_file(bench)}?mode=ro", uri=True)) as c:
        (runs,) = c.execute("SELECT count(*) FROM runs").fetchone()
    values = (
        time.strftime("%H:%M:%S"),
        minute,
        *figures,
        runs,
        bench.count_stored(),
        LATE * minute,
    )
    return ",".join(map(str, values))


def main() -> None:
    """Measure, and print each line when it is there."""
    with clean_home() as bench:
        for line in measure_growth(bench, int(sys.argv[1]) if sys.argv[1:] else MINUTES):
            print(line, flush=True)


if __name__ == "__main__":
    main()
