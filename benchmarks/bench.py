"""`make bench`: the year from file to figures, commands, memory, speed, Dagster, the dashboard.

Prints the figures and writes benchmarks/results.json, docs/benchmarks.md and docs/scale.md.
`python -m benchmarks.bench speed` measures that part only (or `everyday`, `storing`, `postgres`,
`dagster`, `dashboard`, `verify`, `history`).
Everything runs in a scratch home, with an embedded broker of its own (`scratch`); how a process is
measured lives in `measure`, what is written in `results`.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from benchmarks.beside import measure_beside
from benchmarks.dashboard import measure_dashboard
from benchmarks.history import measure_history
from benchmarks.measure import Figure, fixed_loop, import_seconds, machine, rounds
from benchmarks.postgres import measure_postgres
from benchmarks.results import BACKLOG, Part, Results, page, read_results, write_results
from benchmarks.scale import SCALE, scale_page
from benchmarks.scratch import ROOT, Bench, scratch
from benchmarks.sensors import measure_sensors
from benchmarks.speed import measure_speed
from benchmarks.storing import measure_storing
from benchmarks.verify import measure_verify

EXAMPLE = ROOT / "examples" / "online_retail.parquet"
EXAMPLE_EVENTS = 541_907
ROUNDS = 3


def the_year(bench: Bench) -> float:
    """Return the seconds of the example year from the file to its last figure."""
    deployment = bench.deployment(f"year{time.monotonic_ns()}")
    start = time.perf_counter()
    with (
        deployment.running("process"),
        deployment.running("analyze"),
        deployment.running("replay", str(EXAMPLE), "--as-recorded"),
    ):
        deployment.wait_until_stored(EXAMPLE_EVENTS)
        return time.perf_counter() - start


def memory_with_backlog(bench: Bench) -> tuple[float, float]:
    """Return the peak memory (MiB) of both apps with a backlog of a million records."""
    deployment = bench.deployment("backlog")
    deployment.run("produce", "--rate", "max", "--count", str(BACKLOG), "--seed", "1")
    with ExitStack() as running:
        running.enter_context(deployment.running("analyze"))
        running.enter_context(deployment.running("process"))
        deployment.wait_until_stored(BACKLOG)
        return deployment.worker_memory("processor"), deployment.worker_memory("analytics")


def backfill(deployment: Bench, kind: str) -> tuple[float, float]:
    """Return seconds and peak MiB of a backfill of the year: of a kind of `benchmarks.backfill`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.backfill", kind],
        env=deployment.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, _, mebibytes = done.stdout.split()[-3:]
    return float(seconds), float(mebibytes)


def measure_backfill(deployment: Bench) -> list[Figure]:
    """Measure the year's backfill, beside what Dagster needs for it and what the work needs."""
    empty, _ = backfill(deployment, "empty")
    full, memory = backfill(deployment, "full")
    alone, _ = backfill(deployment, "alone")
    polars, _ = backfill(deployment, "polars")
    return [
        Figure("backfill of the year", "s", (full,), f"< {empty + 20:.0f}"),
        Figure("the same, empty bodies", "s", (empty,)),
        Figure("the same, without Dagster", "s", (alone,)),
        Figure("backfill ÷ polars alone with the same writes", "", (full / polars,), "< 3"),
        Figure("memory of the backfill", "MiB", (memory,), "< 500"),
    ]


def measure_everyday(bench: Bench) -> list[Figure]:
    """Measure everything, in the order of the table."""
    year = Figure("the year, file to figures", "s", rounds(ROUNDS, lambda: the_year(bench)), "< 30")
    full = bench.deployment("full")
    full.replay(EXAMPLE)
    full.run("process", "--until-caught-up")
    full.run("analyze", "--until-caught-up")
    processor, analytics = memory_with_backlog(bench)
    many = 2 * ROUNDS + 1
    return [
        year,
        Figure("`purchases --help`", "s", rounds(many, lambda: full.run("--help")), "< 0.5"),
        Figure("`purchases totals`", "s", rounds(many, lambda: full.run("totals")), "< 1.5"),
        # From the start: once it agreed, the next one only reads what is new.
        Figure(
            "`purchases verify`", "s", rounds(ROUNDS, lambda: full.run("verify", "--full")), "< 10"
        ),
        Figure(
            "import of the processor's worker",
            "s",
            rounds(many, lambda: import_seconds("streaming.processor.app")),
            "< 0.8",
        ),
        Figure(
            "import of the consumer's worker",
            "s",
            rounds(many, lambda: import_seconds("streaming.analytics.app")),
            "< 1.6",
        ),
        Figure("memory of the processor", "MiB", (processor,), "< 200"),
        Figure("memory of the consumer", "MiB", (analytics,), "< 200"),
        *measure_backfill(full),
    ]


def measure_parts(parts: Sequence[str]) -> Results:
    """Measure the parts that are named; the others' figures stay as they were measured last."""
    results = read_results()
    with scratch() as bench:
        for part in parts:
            before = Figure("fixed loop", "s", rounds(ROUNDS, fixed_loop))
            figures = PARTS[part](bench)
            after = Figure("fixed loop, again", "s", rounds(ROUNDS, fixed_loop))
            results[part] = Part(machine(), [before, *figures, after])
            write_results(results)
    return results


def measure_dagster(bench: Bench) -> list[Figure]:
    """Measure the sensors, and what a backfill does to the stream beside it."""
    return [*measure_sensors(bench), *measure_beside(bench)]


def measure_looks(bench: Bench) -> list[Figure]:
    """Measure the dashboard, in a deployment of its own."""
    return measure_dashboard(bench.deployment("dashboard"))


PARTS: Final = {
    "everyday": measure_everyday,
    "speed": measure_speed,
    "storing": measure_storing,
    "postgres": measure_postgres,
    "dagster": measure_dagster,
    "dashboard": measure_looks,
    "verify": measure_verify,
    "history": measure_history,
}


def main() -> None:
    """Measure what the arguments name, or everything; print, and write the page."""
    results = measure_parts(sys.argv[1:] or list(PARTS))
    text = page(results)
    print(text)
    (ROOT / "docs" / "benchmarks.md").write_text(text)
    SCALE.write_text(scale_page(results))


if __name__ == "__main__":
    main()
