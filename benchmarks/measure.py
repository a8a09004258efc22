"""Measuring a process from outside: wall time, CPU time, peak memory; and the fixed loop.

What is measured lives in `bench`, how the figures are written in `results`.
"""

import operator
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HEAD = "| figure | unit | min | median | max | bar |\n|---|---|---|---|---|---|"
LOOP_STEPS = 5_000_000
DECIMALS_BELOW = 1_000
HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True)
class Figure:
    """The rounds of one measurement, in its unit; ratios have none.

    `bar` is a sign and what the median must be, such as `≤ 2.5`; where there are no rounds, why.
    """

    name: str
    unit: str
    rounds: tuple[float, ...]
    bar: str = ""
    aim: float | None = None

    def is_missed(self) -> bool:
        """Return whether the median is on the wrong side of the bar."""
        if not self.rounds or not self.bar:
            return False
        sign, number = self.bar.split()
        return not HOLDS[sign](statistics.median(self.rounds), float(number))

    def row(self) -> str:
        """Return the figure as a row of a Markdown table: min, median, max, bar."""
        if not self.rounds:
            return f"| {self.name} | {self.unit} | | | | {self.bar} |"
        low, middle, high = (
            f"{value:,.{0 if value >= DECIMALS_BELOW else 2}f}"
            for value in (min(self.rounds), statistics.median(self.rounds), max(self.rounds))
        )
        aim = "" if self.aim is None else f", aim {self.aim:g}"
        bar = f"{self.bar}{aim}{': **missed**' if self.is_missed() else ''}"
        return f"| {self.name} | {self.unit} | {low} | {middle} | {high} | {bar} |"


def fixed_loop() -> float:
    """Return the seconds of a loop that is always the same: the speed of this machine now."""
    start = time.perf_counter()
    total = 0
    for step in range(LOOP_STEPS):
        total += step & 7
    return time.perf_counter() - start


def rounds(number: int, measure: Callable[[], float]) -> tuple[float, ...]:
    """Measure `number` times."""
    return tuple(measure() for _ in range(number))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """Divide round by round, as far as both were measured."""
    return tuple(a / b for a, b in zip(numerators, denominators, strict=False))


def tell(line: str) -> None:
    """Print a line of progress at once."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def command_seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """Return the seconds of a whole command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def children_cpu_seconds() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def import_seconds(module: str) -> float:
    """Return the seconds that a new process needs to import `module`, without its start."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak_mebibytes(pid: int) -> float:
    """Return the peak resident memory of a running process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(pid)


def machine() -> str:
    """Describe this machine in a line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()},"
        f" Python {platform.python_version()}"
    )
