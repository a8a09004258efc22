"""How long `verify` takes over millions of events: the first time, and again with nothing new.

The events come through the real stream. `python -m benchmarks.verify [MILLIONS]` measures it alone,
with 14 million by default; `make bench` with a few, because only the cost per million matters.
"""

import sys
import time
from typing import Final

from benchmarks.measure import Figure, children_cpu_seconds, machine, tell
from benchmarks.scratch import Bench, scratch

MILLION: Final = 1_000_000
FEW: Final = (1, 3)
MANY: Final = 14
BARS: Final = {MANY: ("≤ 90", "≤ 10")}


def measure_verify(bench: Bench, sizes: tuple[int, ...] = FEW) -> list[Figure]:
    """Measure a deployment that grows to each of these sizes, in millions of events."""
    deployment = bench.deployment("verify")
    figures, before = [], 0
    for millions in sizes:
        events = str((millions - before) * MILLION)
        deployment.run("produce", "--rate", "max", "--count", events, "--seed", str(millions))
        deployment.run("process", "--until-caught-up")
        deployment.run("analyze", "--until-caught-up")
        before = millions
        bars = BARS.get(millions, ("", ""))
        for how, bar, options in (("first", bars[0], ["--full"]), ("again", bars[1], [])):
            seconds, cpu = _run(deployment, options)
            name = f"`verify` of {millions} million events, {how}"
            tell(f"{name}: {seconds:.1f} s, {cpu / millions:.1f} CPU s per million")
            figures += [
                Figure(name, "s", (seconds,), bar, 60 if bar and how == "first" else None),
                Figure(f"{name}: CPU", "CPU s per million", (cpu / millions,)),
            ]
    return figures


def _run(deployment: Bench, options: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of a verification, those of its processes included."""
    before = children_cpu_seconds()
    seconds = deployment.run("verify", *options)
    return seconds, children_cpu_seconds() - before


def main() -> None:
    """Measure one size, and print the rows of the table."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    with scratch() as bench:
        figures = measure_verify(bench, (millions,))
    print(time.strftime("%Y-%m-%d"), machine())
    print("\n".join(figure.row() for figure in figures))


if __name__ == "__main__":
    main()
