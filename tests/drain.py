"""The apps' work done in the test's process, up to the end of what is there now.

They are the real apps with real clients. Their processes, supervisors and signals are left out.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

import pytest

from streaming.analytics.app import run_consumer
from streaming.apps import ANALYTICS, PROCESSOR
from streaming.errors import PurchasesError, Unavailable, Unrecoverable
from streaming.events.record import TopicPartition
from streaming.kafka import consume_loop
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.names import Names
from streaming.offsets.catch_up import GroupReader, database_positions
from streaming.processor.app import run_processor
from streaming.runtime.worker import Runtime
from streaming.settings import Settings
from streaming.store.preparation import prepare_store
from tests.support import BUSY_FACTOR, wait_until

DEADLINE_SECONDS = 90.0 * BUSY_FACTOR
LOOK_SECONDS = 0.05
STARTS = 5


class UntilCaughtUp(Runtime):
    """The runtime of an app that leaves once the stored positions have reached the ends."""

    def __init__(
        self,
        settings: Settings,
        app: str,
        ends: Mapping[TopicPartition, int],
        read_stored: Callable[[], Mapping[TopicPartition, int]],
    ) -> None:
        super().__init__(settings.home, app, 0, None, settings.host)
        self._ends = ends
        self._read_stored = read_stored
        self._looked = time.monotonic()
        self._deadline = time.monotonic() + DEADLINE_SECONDS

    def heartbeat(self) -> bool:
        """Record a turn; False once nothing is left. Fails the test when that takes too long."""
        now = time.monotonic()
        assert now < self._deadline, f"not caught up: {self.status}"
        super().heartbeat()
        if now - self._looked < LOOK_SECONDS:
            return True
        self._looked = now
        try:
            stored = self._read_stored()
        except Unavailable:
            # A busy broker has not answered within the product's time; it is asked again.
            return True
        return any(stored.get(partition, 0) < end for partition, end in self._ends.items())


@contextmanager
def reader_of(settings: Settings, group: str) -> Iterator[GroupReader]:
    """Observe a group from outside; the apps find positions at markers without an idle second."""
    with (
        closing(GroupReader(settings, bootstrap_servers(settings), group)) as reader,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(consume_loop, "IDLE_SECONDS", LOOK_SECONDS)
        yield reader


def ends_of(reader: GroupReader, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
    """Return the ends of the topics, also of a broker that is busy for longer than we wait."""
    ends: list[Mapping[TopicPartition, int]] = []

    def have_come() -> bool:
        with suppress(Unavailable):
            ends.append(reader.ends(topics))
        return bool(ends)

    wait_until(have_come, 60, "the broker does not tell the ends")
    return ends[0]


def run_as_supervised(work: Callable[[], None]) -> None:
    """Run an app, and again if it ends by what a new process may mend, as a supervisor does.

    The clients of a process end with it. Here those of an app would go on until garbage is
    collected, as members of their groups or beside a broker that is gone: app and consumer refer
    to each other.
    """
    for _ in range(STARTS):
        try:
            return work()
        except PurchasesError as error:
            # Without the frames that hold the app.
            failed = error.with_traceback(None)
            failed.__cause__ = failed.__context__ = None
        finally:
            gc.collect()
        if not isinstance(failed, Unrecoverable | Unavailable):
            break
    raise failed


def process(settings: Settings) -> None:
    """Process what stands on `purchases`, and commit it. Raises what the app does."""
    names = Names.of(settings)
    group, topics = names.processor_group, names.read_by(PROCESSOR)
    with reader_of(settings, group) as reader:
        ends = ends_of(reader, topics)
        runtime = UntilCaughtUp(
            settings, PROCESSOR.name, ends, lambda: reader.read_committed_offsets(ends)
        )
        run_as_supervised(lambda: run_processor(settings, runtime))
        runtime.set_state("stopped")


def analyze(settings: Settings) -> None:
    """Store what stands on `analytics` and `purchases.dlq`. Raises what the app does."""
    names = Names.of(settings)
    group = names.analytics_group(prepare_store(settings))
    with reader_of(settings, group) as reader:
        ends = ends_of(reader, names.read_by(ANALYTICS))
        runtime = UntilCaughtUp(
            settings, ANALYTICS.name, ends, lambda: database_positions(settings, group)
        )
        run_as_supervised(lambda: run_consumer(settings, runtime))
        runtime.set_state("stopped")
