"""The state of a slot and of an app, from leases, heartbeats and status files alone.

What other hosts see of theirs is in `hosts`.

A process lives while it holds its lease, and a status file counts only if the holder wrote it
(`kill -0` would also succeed for a zombie). Neither broker nor database is asked.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from streaming.apps import App, worker_name
from streaming.runtime.crash_loop import SlotRestarts, SupervisorStatus, read_supervisor_status
from streaming.runtime.limits import SUSPECT_SECONDS
from streaming.runtime.status_file import WorkerStatus, read_status
from streaming.settings import Settings
from streaming.status.model import AppStatus, SlotStatus
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.units import rfc_3339

BEHIND_SECONDS: Final = 10.0
"""Longer than a rebalance, after which a worker catches up by itself."""
STEADY_SECONDS: Final = 10.0
"""Longer than the longest delay of a restart (5 s): who waits for so long is no crash loop."""
WAITING: Final = frozenset({"paused", "standby"})
# An app is shown as its worst slot, so the order decides which of two states an operator sees.
WORST_FIRST: Final = (
    "failing",
    "failed",
    "lost",
    "silent",
    "stopped",
    "paused",
    "starting",
    "standby",
    "behind",
    "running",
    "caught_up",
)


class SlotReport(Struct, frozen=True, kw_only=True):
    """A slot as its host sees it at a moment: `at`, in epoch seconds by the host's clock.

    `pid` holds its lease, `worker` is its status file, and `restarts` is of its supervisor.
    `lost_since` is since when (epoch s) nothing was heard of the host, if that is too long.
    """

    host: str
    slot: int
    at: float
    pid: int | None = None
    worker: WorkerStatus | None = None
    restarts: SlotRestarts | None = None
    lost_since: float | None = None

    @property
    def live_status(self) -> WorkerStatus | None:
        """The status file, if the holder of the lease wrote it, and the host lives."""
        alive = self.worker is not None and self.worker.pid == self.pid and self.lost_since is None
        return self.worker if alive else None


def read_app(
    settings: Settings, app: App, reports: Sequence[SlotReport] | None = None
) -> tuple[AppStatus, list[WorkerStatus]]:
    """Return an app's status without its lag, and the status files of its living workers.

    Those of this home, unless the `reports` of all hosts are given.
    """
    home = Home(settings.home)
    supervisor = _read_live_supervisor(home, app)
    if reports is None:
        reports = _read_reports(settings, app, supervisor)
    slots = [slot_status(app.name, report) for report in reports]
    living = [report.live_status for report in reports if report.live_status is not None]
    committed = max((worker.committed_at for worker in living), default=0.0)
    return AppStatus(
        app=app.name,
        state=worst_state(slots),
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


def read_reports(settings: Settings, app: App) -> list[SlotReport]:
    """Return each slot of this home that is supervised (else configured) or at work."""
    return _read_reports(settings, app, _read_live_supervisor(Home(settings.home), app))


def _read_live_supervisor(home: Home, app: App) -> SupervisorStatus | None:
    """Return the status file of the app's supervisor; None if no supervisor lives."""
    pid = holder(home.supervisor_lease(app.name))
    status = read_supervisor_status(home.path, app.name)
    return status if pid is not None and status is not None and status.pid == pid else None


def _read_reports(
    settings: Settings, app: App, supervisor: SupervisorStatus | None
) -> list[SlotReport]:
    home = Home(settings.home)
    # A running supervisor has its own number of slots, and the settings may have changed since.
    supervised = {} if supervisor is None else {s.slot: s for s in supervisor.slots}
    numbers = set(supervised or range(app.slots(settings))) | _leased_slots(home, app.name)
    return [
        SlotReport(
            host=settings.host,
            slot=number,
            at=time.time(),
            # A worker that is replaced between these two reads has another id in its file, and
            # shows as starting.
            pid=holder(home.worker_lease(app.name, number)),
            worker=read_status(home.path, app.name, number),
            restarts=supervised.get(number),
        )
        for number in sorted(numbers)
    ]


def slot_status(app: str, report: SlotReport) -> SlotStatus:
    """Return the status of an app's slot from what its host sees."""
    state, detail = _state(report)
    living, supervised = report.live_status, report.restarts
    worker = living or WorkerStatus("", report.slot, 0)
    rates, is_lost = worker.rates, report.lost_since is not None
    return SlotStatus(
        name=worker_name(app, report.host, report.slot),
        host=report.host,
        slot=report.slot,
        state=state,
        detail=detail,
        pid=None if is_lost else report.pid,
        # The host's clock may have been set back since.
        uptime_seconds=round(max(report.at - worker.started_at, 0.0), 1) if living else None,
        heartbeat_seconds=round(max(report.at - worker.updated_at, 0.0), 1) if living else None,
        # It is -1 until the first start, which is no restart.
        restarts=None if supervised is None else max(supervised.restarts, 0),
        last_exit_code=None if supervised is None else supervised.last_exit_code,
        last_error="" if supervised is None else supervised.last_error,
        records_in=worker.records,
        records_out=worker.stored,
        refused=worker.refused,
        duplicates=worker.duplicates,
        in_per_second=rates.records,
        out_per_second=rates.stored,
        refused_per_second=rates.refused,
        duplicates_per_second=rates.duplicates,
        lag_records=worker.lag_records,
        lag_seconds=worker.lag_seconds,
        closing_per_second=rates.closing,
        committed_at=time_text(worker.committed_at),
        latencies=worker.latencies,
        partitions=tuple(f"{p.topic}-{p.partition}" for p in worker.positions),
        unknown_fields=worker.unknown_fields,
    )


def _state(report: SlotReport) -> tuple[str, str]:
    if report.lost_since is not None:
        return "lost", f"nothing was heard since {time_text(report.lost_since)}"
    return slot_state(report.pid, report.worker, report.restarts, report.at)


def slot_state(
    pid: int | None, written: WorkerStatus | None, supervised: SlotRestarts | None, now: float
) -> tuple[str, str]:
    """Return a slot's state (docs/status.md) and its detail: by what, of whom or why."""
    # A worker that waits starts well, so it does not die again and again; the flag is an old one.
    waits = written is not None and written.pid == pid and written.state in WAITING
    steady = waits and written is not None and now - written.started_at > STEADY_SECONDS
    # The order counts: a crash loop is worse than whatever the present worker says of itself.
    if supervised is not None and supervised.failing and not steady:
        return "failing", supervised.last_error
    if pid is None:
        return _state_without_worker(written, supervised)
    if written is None or written.pid != pid:
        return "starting", ""
    if now - written.updated_at > SUSPECT_SECONDS:
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


def worst_state(slots: Sequence[SlotStatus]) -> str:
    """Return the worst state of the slots; one that this version does not know is the worst.

    Without any slot the app is stopped. A host that ended in order is not counted among others.
    """
    states = [slot.state for slot in slots if not (slot.host and slot.state == "stopped")]
    # A worker of a newer release may write a state of its own, which must not be hidden as the
    # best.
    return min(
        states, key=lambda s: WORST_FIRST.index(s) if s in WORST_FIRST else -1, default="stopped"
    )


def time_text(seconds: float) -> str | None:
    """Return epoch seconds as RFC 3339 in UTC; None for 0, which means never."""
    return rfc_3339(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def _leased_slots(home: Home, app: str) -> set[int]:
    """Return the slots whose lease some process holds, whether they are configured or not."""
    leased = set()
    for path in home.list_worker_leases(app):
        number = path.stem.removeprefix(f"{app}-")
        if number.isdecimal() and holder(path) is not None:
            leased.add(int(number))
    return leased
