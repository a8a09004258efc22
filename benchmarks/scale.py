"""docs/scale.md: the template beside this module, with the arithmetic done on what was measured.

What was measured once stands in the template, with where. What `make bench` measures comes from its
results, so that no figure of the page can be another one than that of the benchmarks.
"""

import statistics
from collections.abc import Callable
from typing import Final

from benchmarks.results import Results
from benchmarks.scratch import ROOT

SCALE: Final = ROOT / "docs" / "scale.md"
TEMPLATE: Final = ROOT / "benchmarks" / "scale_template.md"
MICROS: Final = 1_000_000
BILLION: Final = 1_000_000_000
HOUR: Final = 3_600
DAY: Final = 86_400
ROW_BYTES: Final = 192
SERVER_ROW_BYTES: Final = 287
TOPIC_BYTES: Final = 283 + 92
"""Of an event in `purchases` and in `analytics`."""
TURN_SHARE: Final = 0.19
"""Of a writer's time, what passes in the batch's turn (docs/decisions/0077)."""
BATCH: Final = 20_000
RATES: Final = (50, 500, 2_000, 20_000)


def scale_page(results: Results) -> str:
    """Return docs/scale.md, with the medians of what was measured and what follows from them."""
    return TEMPLATE.read_text().format(**_fields(_medians(results)))


def _medians(results: Results) -> Callable[[str, str], float]:
    medians = {
        (part, figure.name): statistics.median(figure.rounds)
        for part, measured in results.items()
        for figure in measured.figures
        if figure.rounds
    }
    return lambda part, name: medians[part, name]


def _fields(median: Callable[[str, str], float]) -> dict[str, object]:
    apps = ("processor", "consumer")
    behind = {app: f"{app}, 10 million behind" for app in apps}
    made = "made → stored at 2,000 events/s for 60 s"
    return {
        "processor": median("speed", "processor"),
        "consumer": median("speed", f"{behind['consumer']}: each million"),
        "p50": median("speed", f"{made}, p50"),
        "p99": median("speed", f"{made}, p99"),
        "one_slot": median("speed", "processor, 1 slot"),
        "two_slots": median("speed", "processor, 2 slots"),
        "one": median("postgres", "1 writer"),
        "two": median("postgres", "2 writers"),
        "alone": median("postgres", "COPY alone"),
        "dashboards": median("dashboard", "server, 200 open dashboards"),
        "loads": "\n".join(map(_load, RATES)),
        **{f"{app}_mib": median("speed", f"{behind[app]}: peak memory in the end") for app in apps},
        **{
            f"{app}_growth": median("speed", f"{behind[app]}: the last three ÷ the first three")
            for app in apps
        },
        **_derived_figures(
            median("speed", "processor"),
            median("speed", f"{behind['consumer']}: each million"),
            median("postgres", "1 writer: writers"),
            median("postgres", "1 writer: server"),
            median("postgres", "SQLite: writers"),
        ),
        **_turn_figures(MICROS / median("postgres", "1 writer")),
        "loops": median("postgres", "fixed loop") / median("everyday", "fixed loop"),
    }


def _derived_figures(
    processor: float, consumer: float, writer: float, server: float, file: float
) -> dict[str, object]:
    """Return what follows from CPU seconds per million."""
    return {
        "writer": writer,
        "server": server,
        "file": file,
        "slower": (writer + server) / file,
        "consumer_rate": MICROS / consumer,
        "publish_hours": 1_000 * processor / HOUR,
        "store_hours": 1_000 * consumer / HOUR,
        "writer_hours": 1_000 * writer / HOUR,
        "server_hours": 1_000 * server / HOUR,
    }


def _turn_figures(alone: float) -> dict[str, object]:
    """Return what follows from the seconds per million of one writer."""
    turn = TURN_SHARE * alone
    return {
        "turn": turn,
        "turn_percent": 100 * TURN_SHARE,
        "writers": 1 / TURN_SHARE,
        "turn_rate": MICROS / turn,
        "round": 10 * BATCH * turn / MICROS,
        "gigabytes": MICROS / turn * 60 * SERVER_ROW_BYTES / BILLION,
    }


def _load(rate: int) -> str:
    """Return a row of the table of steady loads."""
    events = rate * DAY
    rows, topics = events * ROW_BYTES / BILLION, 7 * events * TOPIC_BYTES / BILLION
    return f"| {rate:,} | {events / MICROS:,.1f} million | {rows:,.1f} GB | {topics:,.0f} GB |"
