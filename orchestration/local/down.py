"""Ending what runs in a home: whoever holds one of its leases, then the broker."""

import os
import signal
import time
from pathlib import Path
from typing import Final

import typer

from orchestration.local.dagster_processes import end_services
from streaming.broker.embedded import stop_broker
from streaming.settings import load_settings
from streaming.system.home import Home
from streaming.system.lease import holder

PATIENCE_SECONDS: Final = 9.5
LEFTOVER_SECONDS: Final = 3.0
HOSTED_SECONDS: Final = 1.0


def run_down() -> None:
    """End `up`, its feeder, supervisors and workers, and the embedded broker of this home."""
    home = load_settings().home
    ended = end_holders([Home(home).up_lease], PATIENCE_SECONDS)
    ended += end_leftovers(home)
    if stop_broker(home, LEFTOVER_SECONDS):
        ended += 1
    typer.echo("Everything is stopped." if ended else f"Nothing runs in {home}.")


def end_leftovers(home: Path) -> int:
    """End what an `up` that was killed left behind; give how many processes there were.

    Dagster first: its sensors would start again what is ended here.
    """
    ended = end_services(home, HOSTED_SECONDS)
    for wish in Home(home).list_keep_alives():
        wish.unlink(missing_ok=True)
    ended += end_holders([Home(home).feeder_lease], LEFTOVER_SECONDS)
    return ended + end_supervisors(home, LEFTOVER_SECONDS)


def end_supervisors(home: Path, seconds: float) -> int:
    """End supervisors, and workers that have none; give how many processes there were."""
    files = Home(home)
    ended = end_holders(files.list_supervisor_leases(), seconds)
    return ended + end_holders(files.list_worker_leases(), 1.0)


def end_holders(leases: list[Path], seconds: float) -> int:
    """Ask the leases' holders to leave (SIGTERM), kill those that do not within `seconds`."""
    asked = {path: pid for path in leases if (pid := holder(path))}
    for pid in asked.values():
        _send(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(holder(path) for path in asked):
        time.sleep(0.05)
    for path, pid in asked.items():
        if holder(path) == pid:
            _send(pid, signal.SIGKILL)
    return len(asked)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
