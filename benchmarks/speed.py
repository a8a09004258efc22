"""The speed half of `make bench`: what the processor costs beside others that do its work.

All contenders work off the same backlog in turns, with the same settings. What storing costs is
in `storing`, what ten million records and the way through everything take in `long_runs`.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import kafka_streams
from benchmarks.backlog import MILLION, Run, work_off
from benchmarks.kafka_streams import streams_command
from benchmarks.long_runs import measure_latency, measure_ten_million
from benchmarks.measure import Figure, ratios, tell
from benchmarks.scratch import Bench
from streaming.kafka.names import Names

ROUNDS: Final = 3
SLOT_ROUNDS: Final = 5
CPU: Final = "CPU s per million"


@dataclass(frozen=True)
class Contender:
    """Who works off the backlog: its group, its processes, and how many rounds it takes part in."""

    group: str
    commands: Sequence[list[str]]
    rounds: int = ROUNDS


def contenders(bench: Bench) -> dict[str, Contender]:
    """Return the contenders by name; `streams` only where the machine can compile it."""
    group = Names.of(bench.settings).processor_group
    slots = [[sys.executable, "-m", "streaming.processor.app", "--slot", str(n)] for n in range(2)]
    contenders = {
        "processor": Contender(group, slots[:1], SLOT_ROUNDS),
        "two slots": Contender(group, slots, SLOT_ROUNDS),
    }
    for name in ("raw", "one_by_one"):
        command = [sys.executable, "-m", "benchmarks.contenders", name]
        contenders[name] = Contender(f"bench-{name}", [command])
    streams = streams_command(bench)
    if streams is not None:
        contenders["streams"] = Contender(kafka_streams.GROUP, [streams])
    return contenders


def in_turns(bench: Bench) -> dict[str, list[Run]]:
    """Let all contenders work off the backlog in turns; give the runs of each."""
    runs: dict[str, list[Run]] = defaultdict(list)
    taking_part = contenders(bench)
    for number in range(SLOT_ROUNDS):
        for name, contender in taking_part.items():
            if number < contender.rounds:
                run = work_off(bench, contender.group, contender.commands)
                tell(f"{name}: {run.cpu_per_million():.2f} {CPU}")
                runs[name].append(run)
    return runs


def measure_processor(bench: Bench) -> list[Figure]:
    """Measure the processor beside its contenders."""
    runs = in_turns(bench)

    def each(name: str, of: Callable[[Run], float]) -> tuple[float, ...]:
        return tuple(of(run) for run in runs[name])

    cpu = {name: each(name, Run.cpu_per_million) for name in runs}
    one, two = (each(name, Run.records_per_second) for name in ("processor", "two slots"))
    return [
        Figure("processor", CPU, cpu["processor"]),
        Figure("processor, from its start", CPU, each("processor", Run.cold_cpu_per_million)),
        Figure("raw byte copy in Python", CPU, cpu["raw"]),
        Figure("`json` and `datetime` one by one", CPU, cpu["one_by_one"]),
        Figure("processor ÷ raw byte copy", "", ratios(cpu["processor"], cpu["raw"]), "≤ 2.5", 2.0),
        Figure("processor ÷ one by one", "", ratios(cpu["processor"], cpu["one_by_one"]), "≤ 0.35"),
        *_beside_streams(cpu, runs["streams"]),
        Figure("processor, 1 slot", "events/s", one),
        Figure("processor, 2 slots", "events/s", two),
        Figure("2 slots ÷ 1 slot", "", ratios(two, one), "≥ 1.1"),
    ]


def _beside_streams(cpu: dict[str, tuple[float, ...]], runs: Sequence[Run]) -> list[Figure]:
    if not runs:
        return [Figure("processor ÷ Kafka Streams", "", (), "left out: no `javac` here")]
    return [
        Figure("Kafka Streams, warm", CPU, cpu["streams"]),
        Figure("Kafka Streams, from its start", CPU, tuple(r.cold_cpu_per_million() for r in runs)),
        Figure("Kafka Streams' memory", "MiB", tuple(r.last.memory for r in runs)),
        Figure(
            "processor ÷ Kafka Streams, warm",
            "",
            ratios(cpu["processor"], cpu["streams"]),
            "≤ 0.85",
            0.5,
        ),
    ]


def measure_speed(bench: Bench) -> list[Figure]:
    """Measure everything, in the order of the table."""
    backlog = bench.deployment("speed")
    tell(f"producing {MILLION:,} purchases")
    backlog.run("produce", "--rate", "max", "--count", str(MILLION), "--seed", "1")
    return [
        *measure_processor(backlog),
        *measure_latency(bench.deployment("latency")),
        *measure_ten_million(bench.deployment("large")),
    ]
