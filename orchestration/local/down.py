"""`down`: ends every process of a home, found by its lease, and then the broker."""

import os
import signal
from pathlib import Path
from typing import Final

from orchestration.local.services import end_services
from streaming.broker.embedded import stop_broker
from streaming.cli.output import print_text
from streaming.settings import load_settings
from streaming.system.deadline import Deadline, wait_until
from streaming.system.home import Home
from streaming.system.lease import holder

UP_SECONDS: Final = 30.0
"""What `up` may take, which gives its children 5 s and the broker 4 s. On a busy machine its own
steps take time too, and to kill it in the midst of them would leave its children behind."""
LEFTOVER_SECONDS: Final = 3.0
"""What a process without its parent may take: time for a worker to drain its batch."""
SERVICES_SECONDS: Final = 1.0
"""Dagster's services have nothing to finish: what they know is in its storage."""
WORKERS_SECONDS: Final = 1.0
"""Their supervisors are gone by then, and have ended theirs before."""


def run_down() -> None:
    """End `up`, its services, supervisors and workers, and the embedded broker of this home."""
    home = load_settings().home
    ended = end_holders([Home(home).up_lease], UP_SECONDS)
    ended += end_leftovers(home)
    # The broker last, because workers drain into it.
    if stop_broker(home, LEFTOVER_SECONDS):
        ended += 1
    print_text("Everything is stopped." if ended else f"Nothing runs in {home}.")


def end_leftovers(home: Path) -> int:
    """End the processes of an `up` that was killed; return how many there were."""
    # Dagster first: its sensors would start again what is ended below.
    ended = end_services(home, SERVICES_SECONDS)
    for keep_alive in Home(home).list_keep_alives():
        keep_alive.unlink(missing_ok=True)
    ended += end_holders([Home(home).feeder_lease], LEFTOVER_SECONDS)
    return ended + end_supervisors(home, LEFTOVER_SECONDS)


def end_supervisors(home: Path, seconds: float) -> int:
    """End supervisors, and workers without one; return how many processes there were."""
    files = Home(home)
    ended = end_holders(files.list_supervisor_leases(), seconds)
    return ended + end_holders(files.list_worker_leases(), WORKERS_SECONDS)


def end_holders(leases: list[Path], seconds: float) -> int:
    """Send SIGTERM to the holders of leases, SIGKILL to those that hold one after `seconds`.

    Returns how many holders there were.
    """
    holders = {path: pid for path in leases if (pid := holder(path))}
    for pid in holders.values():
        _send(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(holder, holders)), Deadline.after(seconds))
    for path in holders:
        # Who holds the lease now: a child may have taken it over from its parent meanwhile.
        if pid := holder(path):
            _send(pid, signal.SIGKILL)
    return len(holders)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)  # a stopped process handles SIGTERM only when it goes on
    except ProcessLookupError:
        return
