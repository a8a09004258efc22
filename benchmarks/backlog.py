"""A backlog worked off by one contender, watched from outside: CPU, records, time, memory.

The group's committed offsets say how far it is, so every contender is measured the same way. What
comes before a third of the backlog (imports, joining, compilers warming up) is left out of `warm`.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.measure import peak_mebibytes
from benchmarks.scratch import Bench
from streaming.kafka.names import Names
from streaming.kafka.offsets import commit_offsets

WARM_FROM: Final = 1 / 3
LOOK_SECONDS: Final = 0.1
MOST_SECONDS: Final = 900.0
MILLION: Final = 1_000_000
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Moment:
    """Where a contender was at a time (monotonic s): CPU in s, peak memory in MiB."""

    at: float
    records: int
    cpu: float
    memory: float


@dataclass(frozen=True)
class Run:
    """The moments of one contender's work, the first one before it had done any."""

    moments: Sequence[Moment]

    @property
    def last(self) -> Moment:
        """The moment at which all was done."""
        return self.moments[-1]

    def warm(self) -> tuple[Moment, Moment]:
        """Return the moments between which it was warm."""
        first = next(m for m in self.moments if m.records >= self.last.records * WARM_FROM)
        return first, self.last

    def cpu_per_million(self) -> float:
        """Return the CPU seconds of a million records, warm."""
        return cost(*self.warm())

    def cold_cpu_per_million(self) -> float:
        """Return the CPU seconds of a million records, from the start of the process."""
        return self.last.cpu / self.last.records * MILLION

    def records_per_second(self) -> float:
        """Return the records a second, warm."""
        first, last = self.warm()
        return (last.records - first.records) / (last.at - first.at)

    def costs(self, step: int) -> list[float]:
        """Return the CPU seconds per million of each `step` records, one after another."""
        marks = [
            next(m for m in self.moments if m.records >= number)
            for number in range(step, self.last.records + 1, step)
        ]
        return [cost(a, b) for a, b in pairwise(marks)]


def cost(first: Moment, last: Moment) -> float:
    """Return the CPU seconds per million records between two moments."""
    return (last.cpu - first.cpu) / (last.records - first.records) * MILLION


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def watch(pids: Sequence[int], records: Callable[[], int], total: int) -> Run:
    """Observe processes until `records` gives `total`.

    Raises `TimeoutError` after a quarter of an hour, `FileNotFoundError` where one of them ended.
    """
    moments: list[Moment] = []
    deadline = time.monotonic() + MOST_SECONDS
    while not moments or moments[-1].records < total:
        if time.monotonic() > deadline:
            raise TimeoutError(moments[-1].records)
        done = records()
        cpu = sum(map(cpu_seconds, pids))
        memory = max(map(peak_mebibytes, pids))
        if not moments or done != moments[-1].records:
            moments.append(Moment(time.monotonic(), done, cpu, memory))
        time.sleep(LOOK_SECONDS)
    return Run(moments)


def work_off(bench: Bench, group: str, commands: Sequence[list[str]]) -> Run:
    """Let one contender's processes work off the backlog of `purchases` from its beginning."""
    topic = Names.of(bench.settings).purchases
    forget(bench, group)
    consumer = Consumer({"bootstrap.servers": bench.servers, "group.id": group, "log_level": 0})
    partitions = [
        TopicPartition(topic, number)
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    total = sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)

    def count_committed() -> int:
        try:
            return sum(max(p.offset, 0) for p in consumer.committed(partitions, timeout=10))
        except KafkaException:
            return 0

    try:
        with ExitStack() as running:
            processes = [running.enter_context(bench.process(c, group)) for c in commands]
            return watch([process.pid for process in processes], count_committed, total)
    finally:
        consumer.close()


def forget(bench: Bench, group: str) -> None:
    """Let a group start from the beginning, without what it published before."""
    admin = AdminClient({"bootstrap.servers": bench.servers, "log_level": 0})
    names = Names.of(bench.settings)
    partitions = admin.list_topics(names.purchases, timeout=10).topics[names.purchases].partitions
    begin = [TopicPartition(names.purchases, number, 0) for number in partitions]
    deadline = time.monotonic() + 60
    while refusal := commit_offsets(admin, group, begin, timeout=10):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{group}: {refusal}")
        time.sleep(0.5)
    ends = [
        TopicPartition(topic, number, -1)
        for topic in (names.analytics, names.dead_letters)
        for number in admin.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    for future in admin.delete_records(ends).values():
        future.result(10)
