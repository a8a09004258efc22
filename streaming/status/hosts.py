"""Several hosts: each supervisor reports its slots to the database, where all others read them.

Only if this host has a name; with one host the files say all. The row itself is `store`'s matter.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
from msgspec import structs

from streaming.apps import App
from streaming.errors import NotFound, PurchasesError, UsageError
from streaming.runtime.limits import STATUS_SECONDS, SUSPECT_SECONDS
from streaming.runtime.status_file import WorkerStatus
from streaming.settings import PREFIX, Settings
from streaming.status.model import AppStatus
from streaming.status.slots import SlotReport, read_app, read_reports, slot_status, worst_state
from streaming.store.connection import read_store
from streaming.store.host_status import (
    ENDED,
    LOCK_SECONDS,
    HostStatus,
    forget_host_statuses,
    list_host_statuses,
    open_host_statuses,
    record_host_status,
)
from streaming.system.database import PostgresDatabase
from streaming.system.deadline import Deadline
from streaming.system.logs import get_logger

LOST_SECONDS: Final = SUSPECT_SECONDS
"""After so long without a word a host is lost. Kafka gave its partitions to others before."""
LAST_REPORT_SECONDS: Final = 2.0
"""For the report of the end: with the workers' five seconds less than `docker stop` waits."""

_decode: Final = msgspec.json.Decoder(list[SlotReport]).decode


def require_free_name(settings: Settings, seconds: float = LOST_SECONDS + STATUS_SECONDS) -> None:
    """Raise `UsageError` if another host has this one's name, and is not lost within `seconds`.

    While the database does not answer nobody knows: then the first report finds it out.
    """
    deadline = Deadline.after(seconds)
    while settings.host and (other := _find_namesake(settings)) is not None:
        if deadline.is_over():
            raise _name_taken(settings, other)
        time.sleep(STATUS_SECONDS)


@contextmanager
def report_app(settings: Settings, app: App) -> Iterator[Callable[[], None]]:
    """Report the app's slots of this host once a second, and at the end that it has ended.

    Provides a function that raises `UsageError` once another host has this one's name. A host
    without a name reports nothing.
    """
    reporter = HostReporter(settings, app)
    if settings.host:
        reporter.start()
    try:
        yield reporter.require_own_name
    finally:
        reporter.ending.set()
        if settings.host:
            reporter.join(LAST_REPORT_SECONDS)


class HostReporter(threading.Thread):
    """The thread that reports, because a database that hangs must not keep a supervisor waiting."""

    def __init__(self, settings: Settings, app: App) -> None:
        super().__init__(name="host-status", daemon=True)
        self.ending = threading.Event()
        self._settings, self._app = settings, app
        self._refusal: UsageError | None = None

    def require_own_name(self) -> None:
        """Raise `UsageError` if another host that lives has this one's name."""
        if self._refusal is not None:
            raise self._refusal

    def run(self) -> None:
        """Report until told to end, connecting again while the database does not answer."""
        logged = ""
        while not self.ending.is_set():
            try:
                return self._report()
            except UsageError as refusal:
                self._refusal = refusal
                return None
            except PurchasesError as error:
                # It is tried every second, and only the beginning is news.
                if str(error) != logged:
                    logged = str(error)
                    get_logger().warning("host_not_reported", app=self._app.name, error=logged)
            self.ending.wait(STATUS_SECONDS)
        return None

    def _report(self) -> None:
        """Report by one connection, until the end was reported too."""
        is_last = False
        with open_host_statuses(self._settings) as connection:
            while not is_last:
                is_last = self.ending.is_set()
                status = host_status(self._settings, self._app, is_ended=is_last)
                if not record_host_status(connection, status, LOST_SECONDS):
                    raise _name_taken(self._settings, _find_namesake(self._settings) or "another")
                self.ending.wait(STATUS_SECONDS)


def host_status(settings: Settings, app: App, *, is_ended: bool = False) -> HostStatus:
    """Return what this host has to say of an app: its slots, without keys of records."""
    reports = [_drop_keys(report) for report in read_reports(settings, app)]
    state = worst_state([slot_status(app.name, report) for report in reports])
    return HostStatus(
        host=settings.host,
        app=app.name,
        home=_own_home(settings),
        state=ENDED if is_ended else state,
        content=msgspec.json.encode(reports).decode(),
    )


def reports_of(
    settings: Settings, app: App, statuses: Sequence[HostStatus]
) -> list[SlotReport] | None:
    """Return the slots of an app on all hosts; None if this one has no name.

    Those of this host are from its files as long as it has not reported them.
    """
    if not settings.host:
        return None
    reported = [status for status in statuses if status.app == app.name]
    reports = [
        structs.replace(report, lost_since=status.heard_at / 1e6 if _is_lost(status) else None)
        for status in reported
        for report in _decode(status.content)
    ]
    if all(status.host != settings.host for status in reported):
        reports += [_drop_keys(report) for report in read_reports(settings, app)]
    return reports


def read_app_of_hosts(settings: Settings, app: App) -> tuple[AppStatus, list[WorkerStatus]]:
    """Read an app of all hosts, as `read_app` does; of this home while the database is away."""
    reports = None
    if settings.host:
        with suppress(PurchasesError), read_store(settings, LOCK_SECONDS) as store:
            reports = reports_of(settings, app, list_host_statuses(store))
    return read_app(settings, app, reports)


def forget_host(settings: Settings, host: str) -> None:
    """Forget a host that ended or is lost: no status shows it any longer, unless it comes back.

    Raises `UsageError` if the events are in a file, `NotFound` naming the hosts if it is none of
    them, `PurchasesError` while it lives, and what `open_reader` does.
    """
    if not isinstance(settings.database, PostgresDatabase):
        raise UsageError(
            f"The events are in {settings.database}, which is of this host alone: there is no other"
            " host to forget."
        )
    with open_host_statuses(settings) as connection:
        if forget_host_statuses(connection, host, LOST_SECONDS):
            return
        heard = {status.host: status.home for status in list_host_statuses(connection)}
    if host not in heard:
        hosts = ", ".join(sorted(heard)) or "none"
        raise NotFound(f"There is no host {host!r} in {settings.database}; there are: {hosts}.")
    raise PurchasesError(
        f"The host {host} runs, in {heard[host]}: stop it there first. If it was lost just now,"
        f" wait for {LOST_SECONDS:.0f} s."
    )


def _is_lost(status: HostStatus) -> bool:
    return status.state != ENDED and status.heard_seconds > LOST_SECONDS


def _drop_keys(report: SlotReport) -> SlotReport:
    """Return the report without what senders named: in a database it would stay, as of a person."""
    if report.worker is None:
        return report
    recent = structs.replace(report.worker.recent, keys={})
    return structs.replace(report, worker=structs.replace(report.worker, recent=recent))


def _find_namesake(settings: Settings) -> str | None:
    """Return the home of another host that has this one's name, and lives."""
    with suppress(PurchasesError), read_store(settings, LOCK_SECONDS) as store:
        for status in list_host_statuses(store):
            is_other = status.host == settings.host and status.home != _own_home(settings)
            if is_other and status.state != ENDED and not _is_lost(status):
                return status.home
    return None


def _name_taken(settings: Settings, home: str) -> UsageError:
    return UsageError(
        f"{PREFIX}HOST is {settings.host!r}, but so is the name of {home}, which runs: give each"
        " host another name, or their slots would end each other's in turn."
    )


def _own_home(settings: Settings) -> str:
    return f"{socket.gethostname()}:{settings.home}"
