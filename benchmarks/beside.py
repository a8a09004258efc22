"""What the year's backfill does to the stream beside it: how long purchases wait, without and with.

The way of measuring is that of `long_runs`.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.backfill import FIRST, LAST
from benchmarks.long_runs import WARM_UP, Rate, waits
from benchmarks.measure import Figure, tell
from benchmarks.scratch import ROOT, Bench
from streaming.system.deadline import POLL_SECONDS
from streaming.system.home import Home
from streaming.system.lease import holder

EXAMPLE: Final = ROOT / "examples" / "online_retail.parquet"
EXAMPLE_EVENTS: Final = 541_907
ROUNDS: Final = 3
RATE: Final = Rate(2_000, 60, "", "")
BEARABLE: Final = 500.0
BACKFILL: Final = ("backfill", "--from", str(FIRST), "--to", str(LAST), "--force")


def measure_beside(bench: Bench) -> list[Figure]:
    """Measure how long purchases wait, in turns alone and beside backfills of the year."""
    deployment = bench.deployment("beside")
    alone, beside, took = [], [], []
    with deployment.running("process"), deployment.running("analyze"):
        deployment.replay(EXAMPLE)
        deployment.run("produce", "--rate", "max", "--count", str(WARM_UP))
        deployment.wait_until_stored(EXAMPLE_EVENTS + WARM_UP)
        loads = [os.getloadavg()[0]]
        for _ in range(ROUNDS):
            alone.append(_cuts(deployment, "alone"))
            with backfilling(deployment) as seconds:
                beside.append(_cuts(deployment, "beside"))
            took += seconds
            loads.append(os.getloadavg()[0])
    most = max(2 * statistics.median(cuts[98] for cuts in alone), BEARABLE)
    name = f"made → stored at {RATE.events:,} events/s"
    return [
        Figure(f"{name}, p50", "ms", tuple(cuts[49] for cuts in alone)),
        Figure(f"{name}, p99", "ms", tuple(cuts[98] for cuts in alone)),
        Figure(f"{name} beside a backfill, p50", "ms", tuple(cuts[49] for cuts in beside)),
        Figure(
            f"{name} beside a backfill, p99",
            "ms",
            tuple(cuts[98] for cuts in beside),
            f"< {most:.0f}",
        ),
        Figure("the backfill beside it, with its start", "s", tuple(took)),
        Figure("load average before, and after each round", "", tuple(loads)),
    ]


def _cuts(deployment: Bench, how: str) -> list[float]:
    cuts = statistics.quantiles(waits(deployment, RATE), n=100)
    tell(f"{how}: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, load {os.getloadavg()[0]:.1f}")
    return cuts


@contextmanager
def backfilling(deployment: Bench, command: Sequence[str] = BACKFILL) -> Iterator[list[float]]:
    """Backfill the year again and again, building from now on; give the seconds of each."""
    stop = threading.Event()
    seconds: list[float] = []

    def work() -> None:
        while not stop.is_set():
            seconds.append(deployment.run(*command))

    thread = threading.Thread(target=work, name="backfill")
    thread.start()
    try:
        while thread.is_alive() and holder(Home(deployment.home).write_lease) is None:
            time.sleep(POLL_SECONDS)
        yield seconds
    finally:
        stop.set()
        thread.join()
