"""`replay`: a recording sent to `purchases` once, however often it is interrupted.

A checkpoint is written before the first record is sent. After a death the log itself says which
rows are there, and only the others are sent. How a row becomes a record is in `rows`.
"""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from streaming.errors import PurchasesError, UsageError
from streaming.events.identifiers import topic_id_text
from streaming.kafka.acls import producer_rules, scan_rules
from streaming.kafka.config import consumer_config, producer_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster, preflight
from streaming.kafka.purchase_rules import purchase_rules
from streaming.kafka.recorded_settings import require_recorded_settings
from streaming.producer.pace import Pace
from streaming.producer.replay.checkpoint import (
    Checkpoint,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from streaming.producer.replay.log_scan import LogScan
from streaming.producer.replay.plan import ReplayRequest, ReplayTarget, plan
from streaming.producer.replay.recording import Recording, read_recording
from streaming.producer.replay.rows import PresentIds, rows
from streaming.producer.replay.stored_rows import stored_rows
from streaming.producer.replay.verdicts import Verdicts
from streaming.producer.sender import RecordSender, SendProgress
from streaming.settings import Settings
from streaming.system.home import Home
from streaming.system.lease import acquire, holder
from streaming.system.shutdown import StopRequest

# So much is read again from the log after a death; each checkpoint waits for all acknowledgements.
CHECKPOINT_SECONDS: Final = 10.0
REFUSED_ROWS: Final = 1_000
"""If all of so many rows would be refused, a column or its form is wrong."""


@dataclass(frozen=True)
class ReplayResult:
    """The result: of `rows` in the file the first `done` are there, `sent` by this run.

    `days` are the first and the last event's, in the deployment's time zone (None: no row has a
    time), moved by `shift_micros`. Of `unpaid` rows, by their status, nothing was paid: they are
    left out. Of those sent the processor will refuse `refused`, and `refusals` says why.
    `unacknowledged` has the ids of events that may be in the log or not. `finished_before` is when
    an earlier run had sent everything: then this one sent nothing.
    """

    rows: int
    done: int
    sent: int
    seconds: float
    shift_micros: int
    days: tuple[date, date] | None
    refused: int
    refusals: str
    unpaid: Mapping[str, int]
    unacknowledged: list[str]
    failure: str | None
    finished_before: str | None


def read_request(settings: Settings, request: ReplayRequest) -> Recording:
    """Read the recording of a request; see `read_recording`, also for what it raises."""
    return read_recording(
        request.path,
        request.mapping,
        settings.timezone,
        request.id_columns,
        request.form,
        settings.currency,
    )


def replay(
    settings: Settings,
    request: ReplayRequest,
    stop: StopRequest,
    report: Callable[[SendProgress], None],
) -> ReplayResult:
    """Send the rows of a recording that are not on `purchases` yet, until done or `stop` is set.

    Raises `UsageError` for a file or option that is wrong, before anything is sent;
    `PurchasesError` if there is no connection, if the processor was started with other settings,
    or another process replays the same recording.
    """
    if request.speed is not None and not 0 < request.speed < float("inf"):
        raise UsageError(f"--speed {request.speed} must be over 0, or max.")
    recording = read_request(settings, request)
    names = Names.of(settings)
    topic = names.purchases
    cluster = preflight(settings, producer_rules(names))
    require_recorded_settings(settings)
    path = checkpoint_path(settings.home, recording.digest, cluster.cluster_id, settings.namespace)
    lock = Home(settings.home).replay_lease(path.stem)
    try:
        lease = acquire(lock)
    except OSError as error:
        raise PurchasesError(f"{lock} cannot be written: {error.strerror}.") from None
    if lease is None:
        raise PurchasesError(
            f"{request.path} is being replayed already, by process {holder(lock)};"
            " wait until it is done, or stop it."
        )
    with lease:
        return _ReplayRun(settings, request, recording, cluster, topic, path, stop).run(report)


@dataclass(frozen=True)
class _ReplayRun:
    """One run of a replay, by the process that holds its lease."""

    settings: Settings
    request: ReplayRequest
    recording: Recording
    cluster: Cluster
    topic: str
    path: Path
    stop: StopRequest

    def run(self, report: Callable[[SendProgress], None]) -> ReplayResult:
        height = self.recording.frame.height
        before = self._read_checkpoint()
        begun = self._plan(before)
        if begun.finished_at is not None:
            return self._result(begun, height, None)
        verdicts = Verdicts(purchase_rules(self.settings), time.time_ns() // 1_000_000)
        # A replay that goes on has sent valid rows before.
        if before is None:
            self._require_a_valid_row(begun)
        # Before the first record: without it, a run that was killed would not be known to have
        # begun.
        write_checkpoint(self.path, begun)
        # A first run begins at the log's end, so that nothing of it can be there.
        in_log = frozenset() if before is None else self._read_present_ids(begun)
        if self.stop.is_set():
            return self._result(begun, begun.acknowledged, None)
        servers = self.cluster.bootstrap_servers
        config = producer_config(self.settings, servers, "replay")
        unpaid = sum(self.recording.unpaid().values())
        missing = height - begun.acknowledged - len(in_log) - unpaid
        sender = RecordSender(config, self.topic, self.stop, report, max(missing, 0))
        with stored_rows(self.settings, self.recording, begun.shift_micros) as stored:

            def present_ids(ids: Sequence[str], contents: Sequence[bytes]) -> Container[str]:
                here = stored(ids, contents)
                return {event_id for event_id in ids if event_id in here or event_id in in_log}

            done = self._send(sender, begun, present_ids, verdicts)
        if not sender.finish():
            # Only if all is acknowledged: otherwise the next run asks the log again.
            finished_at = _now().isoformat(timespec="seconds") if done == height else None
            write_checkpoint(self.path, replace(begun, acknowledged=done, finished_at=finished_at))
        return self._result(begun, done, sender, verdicts)

    def _read_checkpoint(self) -> Checkpoint | None:
        try:
            return read_checkpoint(self.path)
        except PurchasesError:
            # What cannot be read is no reason against a beginning from the start.
            if self.request.restart:
                return None
            raise

    def _plan(self, before: Checkpoint | None) -> Checkpoint:
        def ends() -> dict[int, int]:
            with closing(self._scan()) as scan:
                return scan.ends()

        topic_id = topic_id_text(self.cluster.topics[self.topic].topic_id)
        target = ReplayTarget(topic_id, self.settings.timezone, _now())
        return plan(before, self.request, self.recording, target, ends)

    def _scan(self) -> LogScan:
        group = f"{self.settings.namespace}replay-scan"
        servers = self.cluster.bootstrap_servers
        config = consumer_config(self.settings, servers, "replay-scan", group)
        return LogScan(config, self.topic, self.cluster.topics[self.topic].partitions)

    def _read_present_ids(self, begun: Checkpoint) -> frozenset[str]:
        """Return the event ids in the part of the log that this replay may have written."""
        preflight(self.settings, scan_rules(Names.of(self.settings)))
        with closing(self._scan()) as scan:
            batches = scan.event_ids(begun.positions, self.stop)
            return frozenset(event_id for batch in batches for event_id in batch)

    def _send(
        self, sender: RecordSender, begun: Checkpoint, present_ids: PresentIds, verdicts: Verdicts
    ) -> int:
        """Send the rows not present; return how many, from the first, are there or under way.

        Every 10 s, when all of them are acknowledged, a checkpoint is written.
        """
        done = begun.acknowledged
        schedule = _Schedule(self.request.speed, Pace(self.stop, sender.tick))
        checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        by_row_number = begun.id_columns is None
        for row in rows(
            self.recording, begun.shift_micros, done, present_ids, by_row_number=by_row_number
        ):
            if row.value is not None:
                # After a first failure the count must not grow: it says that all rows before it are
                # there.
                if sender.failure or sender.unacknowledged or self.stop.is_set():
                    break
                if not schedule.wait_until(row.micros):
                    break
                if not sender.send(row.key, row.value):
                    break
                verdicts.judge(row)
            done = row.number + 1
            if time.monotonic() >= checkpoint and sender.wait_until_drained():
                write_checkpoint(self.path, replace(begun, acknowledged=done))
                checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        return done

    def _require_a_valid_row(self, begun: Checkpoint) -> None:
        """Raise `UsageError` if all of the first rows would be refused: then nothing is sent."""
        verdicts = Verdicts(purchase_rules(self.settings), time.time_ns() // 1_000_000)
        for row in islice(rows(self.recording, begun.shift_micros), REFUSED_ROWS):
            if row.value is not None:
                verdicts.judge(row)
        if verdicts.judged and verdicts.refused.total() == verdicts.judged:
            raise UsageError(
                f"Nothing of {self.request.path} was sent, because all of its first"
                f" {verdicts.judged:,} rows would be refused: {verdicts.refusals()}. See what each"
                " column became with --check."
            )

    def _result(
        self,
        begun: Checkpoint,
        done: int,
        sender: RecordSender | None,
        verdicts: Verdicts | None = None,
    ) -> ReplayResult:
        return ReplayResult(
            rows=self.recording.frame.height,
            done=done,
            sent=0 if sender is None else sender.sent,
            seconds=0.0 if sender is None else sender.progress().seconds,
            shift_micros=begun.shift_micros,
            days=self.recording.days(begun.shift_micros),
            refused=0 if verdicts is None else verdicts.refused.total(),
            refusals="" if verdicts is None else verdicts.refusals(),
            unpaid=self.recording.unpaid(),
            unacknowledged=[] if sender is None else sender.unacknowledged,
            failure=None if sender is None else sender.failure,
            finished_before=begun.finished_at,
        )


class _Schedule:
    """Sends at recorded times by `speed`; if that is None, without a wait."""

    def __init__(self, speed: float | None, pace: Pace) -> None:
        self._speed = speed
        self._pace = pace
        self._first: int | None = None
        self._due = 0.0

    def wait_until(self, micros: int | None) -> bool:
        """Wait for the moment of a row recorded at `micros`; False if asked to stop instead.

        A row without a time, or with an earlier one than the row before, goes with that.
        """
        if self._speed is None or micros is None:
            return True
        if self._first is None:
            self._first = micros
        self._due = max(self._due, (micros - self._first) / 1e6 / self._speed)
        return self._pace.wait_until(self._due)


def _now() -> datetime:
    return datetime.now(UTC)
