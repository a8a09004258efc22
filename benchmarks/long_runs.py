"""What takes minutes: the way of a purchase through everything, and ten million behind.

Measured from outside, as a reader of the database sees it.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from benchmarks.backlog import MILLION, Run, work_off
from benchmarks.measure import Figure, tell
from benchmarks.scratch import PURCHASES, Bench
from benchmarks.storing import store
from streaming.kafka.names import Names
from streaming.store.connection import connect
from streaming.system.disk_space import free_bytes

ROUNDS: Final = 3
WARM_UP: Final = 1_000
LOOK_SECONDS: Final = 0.002
PRODUCERS: Final = 2
MANY: Final = 10 * MILLION
FREE_BYTES: Final = 15 * 2**30


class Rate(NamedTuple):
    """How many purchases a second, for how long; and the bars of what they may wait (ms)."""

    events: int
    seconds: int
    p50: str
    p99: str
    aims: tuple[float | None, float | None] = (None, None)


RATES: Final = (Rate(2_000, 60, "≤ 80", "≤ 500", (20, 60)), Rate(200, 20, "≤ 50", "≤ 150"))


def waits(deployment: Bench, rate: Rate) -> list[float]:
    """Return for each purchase how long (ms) after it was made a reader first saw it stored.

    Those of the first second, in which the producer connects, are left out.
    """
    seconds: list[float] = []
    count = rate.events * rate.seconds
    command = [*PURCHASES, "produce", "--rate", str(rate.events), "--count", str(count)]
    with closing(connect(deployment.settings.database, read_only=True)) as reader:
        (last,) = reader.execute("SELECT max(rowid) FROM analytics_event").fetchone()
        with deployment.process(command, "produce"):
            while len(seconds) < count:
                rows = reader.execute(
                    "SELECT rowid, event_time FROM analytics_event WHERE rowid > ?", (last,)
                ).fetchall()
                now = time.time() * 1000
                seconds += [now - made_at / 1000 for _, made_at in rows]
                last = rows[-1][0] if rows else last
                time.sleep(LOOK_SECONDS)
    return seconds[rate.events :]


def measure_latency(deployment: Bench, rates: Sequence[Rate] = RATES) -> list[Figure]:
    """Measure how long a purchase takes from being made to being seen in the database."""
    figures = []
    with deployment.running("process"), deployment.running("analyze"):
        deployment.run("produce", "--rate", "max", "--count", str(WARM_UP))
        deployment.wait_until_stored(WARM_UP)
        for rate in rates:
            cuts = []
            for _ in range(ROUNDS):
                cuts.append(statistics.quantiles(waits(deployment, rate), n=100))
                tell(
                    f"{rate.events} events/s: p50 {cuts[-1][49]:.0f} ms, p99 {cuts[-1][98]:.0f} ms"
                )
            name = f"made → stored at {rate.events:,} events/s for {rate.seconds} s"
            p50, p99 = (tuple(cut[index] for cut in cuts) for index in (49, 98))
            figures += [
                Figure(f"{name}, p50", "ms", p50, rate.p50, rate.aims[0]),
                Figure(f"{name}, p99", "ms", p99, rate.p99, rate.aims[1]),
            ]
    return figures


def measure_ten_million(deployment: Bench) -> list[Figure]:
    """Measure what both apps cost and hold while they work off ten million records."""
    if free_bytes(deployment.home) < FREE_BYTES:
        return [Figure(f"{MANY:,} records behind", "", (), "left out: under 15 GiB of disk free")]
    tell(f"producing {MANY:,} purchases")
    command = [*PURCHASES, "produce", "--rate", "max", "--count", str(MANY // PRODUCERS)]
    with ExitStack() as running:
        for number in range(PRODUCERS):
            seeded = [*command, "--seed", str(number)]
            process = running.enter_context(deployment.process(seeded, f"produce{number}"))
            running.callback(process.wait)
    group = Names.of(deployment.settings).processor_group
    run = work_off(deployment, group, [[sys.executable, "-m", "streaming.processor.app"]])
    figures = _flat("processor", run)
    return [*figures, *_flat("consumer", store(deployment, MANY))]


def _flat(app: str, run: Run) -> list[Figure]:
    """Return what tells whether an app's memory and cost stay flat from the first to the last."""
    costs = tuple(run.costs(MILLION))
    growth = statistics.mean(costs[-3:]) / statistics.mean(costs[:3])
    early = next(moment.memory for moment in run.moments if moment.records >= MILLION)
    behind = f"{app}, {MANY // MILLION} million behind"
    tell(f"{behind}: {run.last.memory:.0f} MiB, cost {growth:.2f} times")
    return [
        Figure(f"{behind}: peak memory after the first", "MiB", (early,)),
        Figure(f"{behind}: peak memory in the end", "MiB", (run.last.memory,), "≤ 200"),
        Figure(f"{behind}: each million", "CPU s per million", costs),
        Figure(f"{behind}: the last three ÷ the first three", "", (growth,), "≤ 1.15"),
    ]
