"""What a slot and an app are, told from leases, heartbeats and status files alone.

A lease's holder lives; a status file is believed only if it is the holder's (`kill -0` would
also say yes to a zombie). Neither broker nor database is asked.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streaming.runtime.crash_loop import SlotRestarts, SupervisorStatus, read_supervisor_status
from streaming.runtime.status_file import WorkerStatus, read_status
from streaming.status.model import App, Slot
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.units import rfc_3339

SILENT_SECONDS: Final = 15.0
BEHIND_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 10.0
WAITING: Final = frozenset({"paused", "standby"})
"""Who waits makes no progress, but does not die again and again, if for longer than a restart."""
WORST_FIRST: Final = (
    "failing",
    "failed",
    "silent",
    "stopped",
    "paused",
    "starting",
    "standby",
    "behind",
    "running",
    "caught_up",
)


def look_at_app(home: Path, app: str, configured: int) -> tuple[App, list[WorkerStatus]]:
    """Look once at an app's slots, without its lag; give also what its living workers said."""
    supervisor = live_supervisor(home, app)
    slots, living = look_at_slots(home, app, configured, supervisor)
    committed = max((worker.committed_at for worker in living), default=0.0)
    return App(
        app=app,
        state=worst(slots),
        supervisor_pid=None if supervisor is None else supervisor.pid,
        in_per_second=round(sum(slot.in_per_second for slot in slots), 1),
        out_per_second=round(sum(slot.out_per_second for slot in slots), 1),
        refused_per_second=round(sum(slot.refused_per_second for slot in slots), 1),
        duplicates_per_second=round(sum(slot.duplicates_per_second for slot in slots), 1),
        lag_records=None,
        lag_seconds=None,
        hidden_records=None,
        closing_per_second=round(sum(slot.closing_per_second for slot in slots), 1),
        seconds_to_drain=None,
        committed_at=time_text(committed),
        slots=tuple(slots),
    ), living


def live_supervisor(home: Path, app: str) -> SupervisorStatus | None:
    """Give what the app's supervisor says; None where no process holds that lease."""
    pid = holder(Home(home).supervisor_lease(app))
    status = read_supervisor_status(home, app)
    return status if pid is not None and status is not None and status.pid == pid else None


def look_at_slots(
    home: Path, app: str, configured: int, supervisor: SupervisorStatus | None
) -> tuple[list[Slot], list[WorkerStatus]]:
    """Look once at each slot that is supervised (else configured) or at work.

    Gives the slots, and what the living workers said.
    """
    supervised = {} if supervisor is None else {s.slot: s for s in supervisor.slots}
    numbers = set(supervised or range(configured)) | _held(home, app)
    slots, living = [], []
    for number in sorted(numbers):
        pid = holder(Home(home).worker_lease(app, number))
        written = read_status(home, app, number)
        slots.append(slot_of(number, pid, written, supervised.get(number), time.time()))
        if written is not None and written.pid == pid:
            living.append(written)
    return slots, living


def slot_of(
    number: int,
    pid: int | None,
    written: WorkerStatus | None,
    supervised: SlotRestarts | None,
    now: float,
) -> Slot:
    """Judge one slot by its lease's holder `pid`, its file and its supervisor; `now` is epoch s."""
    state, detail = slot_state(pid, written, supervised, now)
    alive = written is not None and written.pid == pid
    said = written if written is not None and alive else WorkerStatus("", number, 0)
    rates = said.rates
    return Slot(
        slot=number,
        state=state,
        detail=detail,
        pid=pid,
        uptime_seconds=round(max(now - said.started_at, 0.0), 1) if alive else None,
        heartbeat_seconds=round(max(now - said.updated_at, 0.0), 1) if alive else None,
        restarts=None if supervised is None else max(supervised.restarts, 0),
        last_exit_code=None if supervised is None else supervised.last_exit_code,
        last_error="" if supervised is None else supervised.last_error,
        records_in=said.records,
        records_out=said.stored,
        refused=said.refused,
        duplicates=said.duplicates,
        in_per_second=rates.records,
        out_per_second=rates.stored,
        refused_per_second=rates.refused,
        duplicates_per_second=rates.duplicates,
        lag_records=said.lag_records,
        lag_seconds=said.lag_seconds,
        closing_per_second=rates.closing,
        committed_at=time_text(said.committed_at),
        latencies=said.latencies,
        partitions=tuple(f"{p.topic}-{p.partition}" for p in said.positions),
    )


def slot_state(
    pid: int | None, written: WorkerStatus | None, supervised: SlotRestarts | None, now: float
) -> tuple[str, str]:
    """Give a slot's state (see docs/status.md) and by what, of whom or why."""
    waits = written is not None and written.pid == pid and written.state in WAITING
    steady = waits and written is not None and now - written.started_at > STEADY_SECONDS
    if supervised is not None and supervised.failing and not steady:
        return "failing", supervised.last_error
    if pid is None:
        return _state_without_worker(written, supervised)
    if written is None or written.pid != pid:
        return "starting", ""
    if now - written.updated_at > SILENT_SECONDS:
        return "silent", f"no heartbeat for {now - written.updated_at:.0f} s"
    if written.state in {"running", "caught_up"} and written.lag_seconds >= BEHIND_SECONDS:
        return "behind", written.detail
    return written.state, written.detail


def _state_without_worker(
    written: WorkerStatus | None, supervised: SlotRestarts | None
) -> tuple[str, str]:
    if supervised is not None:
        return "starting", supervised.last_error
    if written is not None and written.state == "failed":
        return "failed", written.detail
    return "stopped", ""


def worst(slots: Sequence[Slot]) -> str:
    """Give the state of the slot that is worst off; one this version does not know comes first."""
    states = [slot.state for slot in slots]
    return min(states, key=lambda s: WORST_FIRST.index(s) if s in WORST_FIRST else -1)


def time_text(seconds: float) -> str | None:
    """Give epoch seconds as RFC 3339 in UTC; None for 0, never."""
    return rfc_3339(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def _held(home: Path, app: str) -> set[int]:
    """Give the slots beyond the expected that some process holds."""
    held = set()
    for path in Home(home).list_worker_leases(app):
        number = path.stem.removeprefix(f"{app}-")
        if number.isdecimal() and holder(path) is not None:
            held.add(int(number))
    return held
