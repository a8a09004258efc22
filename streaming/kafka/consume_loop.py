"""The one loop of both consuming apps: poll, handle a batch, commit what idles.

What is done with a batch is the app's. What a worker has around its loop is in `runtime.worker`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from streaming.errors import PurchasesError, Unavailable
from streaming.events.record import Record
from streaming.kafka.consumer import GroupConsumer
from streaming.kafka.identity import IdentityWatch
from streaming.runtime.worker import Runtime

LINGER_SECONDS: Final = 0.01
"""How long a first record waits for more: larger batches cost less CPU and more latency."""
IDLE_SECONDS: Final = 1.0
"""How long after a batch positions past transaction markers are committed. A commit by each empty
poll would be ten transactions a second of nothing."""

Result = TypeVar("Result")


class ConsumingApp(Protocol):
    """What an app does in the loop. Its methods run in the loop's thread, one after another.

    None may block for longer than the watchdog allows (`runtime.limits`), unless it says so by
    `Runtime.watchdog_limit`, or waits by `Runtime.pause` and calls `Runtime.heartbeat` in between.
    """

    name: str
    batch_records: int
    consumer: GroupConsumer

    def handle(self, batch: Sequence[Record]) -> None:
        """Store what the batch (never empty) becomes, with its positions, in one transaction.

        Blocks while that is committed, and waits for a store that is unavailable. Returning without
        a commit is right if the consumer was rewound: the records come again. Raises what only a
        new process or a person can mend.
        """

    def idle(self) -> None:
        """Commit positions that moved past transaction markers, so that lag can reach 0.

        Called at most once a second, while no records come. Blocks and raises as `handle` does.
        """

    def require_permissions(self) -> None:
        """Raise `PurchasesError` naming the permissions that this user lacks.

        Called after the broker refused something. Blocks for 5 s at most.
        """


def consume(app: ConsumingApp, identity: IdentityWatch, runtime: Runtime) -> None:
    """Poll and handle batches until asked to stop, and close the consumer then.

    Blocks in `GroupConsumer.fetch` for about 100 ms a turn, longer while the group rebalances.
    Raises what the app, the consumer and the identity watch raise. The consumer is not
    closed then: the process ends, and a static member comes back to its partitions.
    """
    consumer, idle_since = app.consumer, time.monotonic()
    while runtime.heartbeat():
        if not consumer.broker_answers():
            runtime.pause("broker")
            continue
        # Before the fetch: of a topic that is another one now, no further batch is handled.
        identity.check(app.name, consumer.bounds)
        batch = consumer.fetch(app.batch_records, LINGER_SECONDS)
        if batch:
            idle_since = time.monotonic()
            app.handle(batch)
        elif consumer.refusal is not None:
            if not await_permissions(app.require_permissions, runtime):
                # Nothing is lacking of what can be asked about: the broker's own words are all
                # there is.
                runtime.pause(consumer.refusal)
        # With all brokers down nothing is known of the ends, so "caught up" would be a guess.
        elif not consumer.errors.all_brokers_down:
            runtime.observe_positions(consumer.bounds())
            if time.monotonic() - idle_since >= IDLE_SECONDS:
                idle_since = time.monotonic()
                app.idle()
    consumer.close()


def await_permissions(require: Callable[[], object], runtime: Runtime) -> bool:
    """Wait until this user has all permissions, paused by what is lacking.

    `require` raises `PurchasesError` naming it. Returns whether it waited; what the brokers do not
    describe is not found lacking.
    """
    waited = False
    while runtime.heartbeat():
        try:
            require()
        except PurchasesError as error:
            waited = True
            runtime.pause(str(error))
        else:
            break
    return waited


def wait_while_unavailable(runtime: Runtime, attempt: Callable[[], Result]) -> Result | None:
    """Return the result of the first `attempt` that does not raise `Unavailable`.

    Pauses a second after each that does, and returns None when asked to stop meanwhile. It is
    attempted at least once, so a worker that is asked to stop still finishes its batch.
    """
    while True:
        try:
            return attempt()
        except Unavailable as error:
            runtime.pause(str(error))
        if not runtime.heartbeat():
            return None
