"""Running one app in the foreground: check, supervise, wait for a signal or for the end.

How workers are started and ended is in `runtime.supervisor`, what caught up means in
`offsets.catch_up`.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from streaming.apps import ANALYTICS, PROCESSOR, App
from streaming.cli.output import print_text
from streaming.errors import PurchasesError, UsageError
from streaming.kafka.acls import consumer_rules
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster, preflight, preflight_processor
from streaming.kafka.recorded_settings import require_recorded_settings
from streaming.offsets.catch_up import (
    GroupReader,
    Positions,
    database_positions,
    wait_until_caught_up,
)
from streaming.offsets.positions import require_positions_of_this_log
from streaming.runtime.keep_alive import KeepAlive
from streaming.runtime.supervisor import Supervisor
from streaming.settings import PREFIX, Settings, load_settings
from streaming.status.hosts import report_app, require_free_name
from streaming.store.connection import store_exists
from streaming.store.deployment import require_settings_of_home
from streaming.store.preparation import prepare_store
from streaming.system.home import Home
from streaming.system.lease import Lease, acquire, holder
from streaming.system.logs import configure_logs, get_logger
from streaming.system.shutdown import stop_on_signals

STOP_SECONDS = 5.0
"""With the exit itself well under the ten seconds after which `docker stop` kills."""
STEP_SECONDS = 0.1
"""Under the first delay of a restart, so that the delay is what decides."""


@dataclass(frozen=True)
class End:
    """When to leave by itself: where the positions must be, where they are, deadline in s."""

    targets: Positions
    stored: Callable[[], Positions]
    timeout: float


def run_processor(
    slots: int | None, caught_up_timeout: float | None, keep_alive: Path | None
) -> None:
    """Supervise the processor until stopped.

    With a timeout (s) only until it has caught up, with a file only while somebody touches it.
    """
    settings = load_settings()
    require_settings_of_home(settings)
    number = _slots(settings, PROCESSOR, slots)
    cluster = preflight_processor(settings, range(number))
    _print_notes(cluster)
    require_recorded_settings(settings)
    end = None
    if caught_up_timeout is not None:
        require_positions_of_this_log(settings, PROCESSOR)
        names = Names.of(settings)
        group, topics = names.processor_group, names.read_by(PROCESSOR)
        reader = GroupReader(settings, cluster.bootstrap_servers, group)
        # The ends are measured before a worker starts: what comes later is not waited for.
        ends = reader.ends(topics)
        end = End(ends, lambda: reader.read_committed_offsets(ends), caught_up_timeout)
    supervisor = Supervisor(settings, PROCESSOR, number)
    _supervise(settings, supervisor, end, keep_alive)


def run_analytics(
    slots: int | None, caught_up_timeout: float | None, keep_alive: Path | None
) -> None:
    """Supervise the consumer until stopped.

    With a timeout (s) only until it has caught up, with a file only while somebody touches it.
    """
    settings = load_settings()
    names, number = Names.of(settings), _slots(settings, ANALYTICS, slots)
    # Before the store, whose first start would record what the processor then refuses.
    if not store_exists(settings):
        require_recorded_settings(settings)
    # The store before the preflight: its first start makes the id that the group is named by.
    group = names.analytics_group(prepare_store(settings))
    cluster = preflight(settings, consumer_rules(names, [group]))
    if number > 1 and isinstance(settings.database, Path):
        sys.stderr.write(
            "SQLite has one writer at a time: more than one slot here is for failover, not speed.\n"
        )
    end = None
    if caught_up_timeout is not None:
        require_positions_of_this_log(settings, ANALYTICS)
        reader = GroupReader(settings, cluster.bootstrap_servers, group)
        ends = reader.ends(names.read_by(ANALYTICS))
        # Only the ends are asked of Kafka: the positions are in the database.
        reader.close()
        end = End(ends, lambda: database_positions(settings, group), caught_up_timeout)
    _supervise(settings, Supervisor(settings, ANALYTICS, number), end, keep_alive)


def _slots(settings: Settings, app: App, slots: int | None) -> int:
    """Return how many slots run; raise `UsageError` if none does on this host."""
    number = slots or app.slots(settings)
    if number == 0:
        raise UsageError(
            f"{PREFIX}{app.name.upper()}_SLOTS is 0: the host {settings.host} does not run the"
            f" {app.name}. Set it to at least 1, or use --slots."
        )
    return number


def _print_notes(cluster: Cluster) -> None:
    for note in cluster.notes:
        print_text(note, err=True)


def _supervise(
    settings: Settings, supervisor: Supervisor, end: End | None, keep_alive: Path | None
) -> None:
    configure_logs(host=settings.host)
    # `down` may have removed it since this process was asked for.
    if keep_alive is not None and not keep_alive.exists():
        get_logger().info("keep_alive_gone", app=supervisor.app.name)
        return
    require_free_name(settings)
    kept = None if keep_alive is None else KeepAlive(keep_alive)
    # The keep-alive's lease before the supervisor's: a supervisor without it counts as started by
    # hand.
    lease = Home(settings.home).keep_alive_lease(supervisor.app.name)
    with stop_on_signals() as stop, nullcontext() if keep_alive is None else _take(lease):
        supervisor.start()
        # Around the supervisor's end, which is reported too.
        with report_app(settings, supervisor.app) as require_own_name:

            def keep_going() -> bool:
                require_own_name()
                supervisor.step()
                return not stop.is_set() and (kept is None or kept.is_fresh())

            try:
                if end is None:
                    while keep_going():
                        stop.wait(STEP_SECONDS)
                elif wait_until_caught_up(end.targets, end.stored, keep_going, end.timeout):
                    get_logger().info("caught_up", app=supervisor.app.name)
            # However this ends: a worker whose supervisor is gone leaves late, and by itself.
            finally:
                supervisor.stop(STOP_SECONDS)


def _take(path: Path) -> Lease:
    """Take the lease that says which supervisor the keep-alive file keeps running."""
    lease = acquire(path)
    if lease is None:
        raise PurchasesError(f"Process {holder(path)} runs by this keep-alive file already.")
    return lease
