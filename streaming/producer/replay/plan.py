"""Whether a run of `replay` begins or goes on, and with which shift: pure decisions.

The checkpoint and the end offsets are given; they come from `checkpoint` and `log_scan`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from streaming.errors import UsageError
from streaming.producer.replay.checkpoint import Checkpoint
from streaming.producer.replay.columns import Constant
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.recording import Recording
from streaming.units import MICROS, micros_of


@dataclass(frozen=True)
class ReplayRequest:
    """What to replay: a file, as `form` says that it is written.

    `mapping` gives columns by field (see `columns.read_mapping`), `id_columns` those that name
    a row. `speed` is recorded seconds per second (None: as fast as it goes). `as_recorded` False
    means shifted so that the last event is now, None as begun, or else as recorded. `restart`
    chooses the shift again.
    """

    path: Path
    mapping: Mapping[str, str | Constant] = field(default_factory=dict)
    id_columns: Sequence[str] = ()
    form: FileFormat = field(default_factory=FileFormat)
    speed: float | None = None
    as_recorded: bool | None = None
    restart: bool = False


@dataclass(frozen=True)
class ReplayTarget:
    """Where a replay goes, and when: the topic's id as text, the time zone, the present (UTC)."""

    topic_id: str
    timezone: str
    now: datetime


def plan(
    before: Checkpoint | None,
    request: ReplayRequest,
    recording: Recording,
    target: ReplayTarget,
    ends: Callable[[], dict[int, int]],
) -> Checkpoint:
    """Return the replay to go on with, or a new one, whose records will be behind `ends()`.

    A restart with the same shift is no new replay, because its events have the same ids: then the
    whole log is read for what is there, and likewise if the topic was created again. Raises
    `UsageError` if going on would give the same events other contents, or nothing can be shifted.
    """
    if before is None or request.restart:
        shift = shift_of(request, recording, target.now)
        same = (
            before is not None
            and before.shift_micros == shift
            and (before.id_columns or []) == list(recording.id_columns)
        )
        return Checkpoint(
            file=str(request.path.absolute()),
            digest=recording.digest.hex(),
            timezone=target.timezone,
            columns=dict(recording.columns),
            as_recorded=request.as_recorded is not False,
            shift_micros=shift,
            begun_at=target.now.isoformat(timespec="seconds"),
            topic_id=target.topic_id,
            positions={} if same else ends(),
            # What an earlier release sent stays known by the ids that it gave.
            form=recording.form.options(),
            id_columns=before.id_columns if same and before else list(recording.id_columns),
        )
    _refuse_other_contents(before, request, recording, target)
    if before.topic_id == target.topic_id:
        return before
    return replace(before, topic_id=target.topic_id, positions={}, acknowledged=0, finished_at=None)


def shift_of(request: ReplayRequest, recording: Recording, now: datetime) -> int:
    """Return the µs by which a new replay moves every event.

    Raises `UsageError` if there is nothing to be shifted.
    """
    return _shift_to_end_now(recording, now) if request.as_recorded is False else 0


def _shift_to_end_now(recording: Recording, now: datetime) -> int:
    """Return the whole seconds, in µs, that bring the last event to `now` or just before."""
    last = recording.last_micros
    if last is None:
        raise UsageError(
            f"{recording.path} has no row with a time, so it cannot be shifted to end now;"
            " replay it without --shift-to-now."
        )
    return (micros_of(now) - last) // MICROS * MICROS


def _options(form: Mapping[str, str]) -> str:
    return " ".join(word for option in form.items() for word in option if word)


def _refuse_other_contents(
    before: Checkpoint, request: ReplayRequest, recording: Recording, target: ReplayTarget
) -> None:
    begun = None
    if request.as_recorded is not None and request.as_recorded != before.as_recorded:
        begun = "as recorded" if before.as_recorded else "shifted to end then"
    elif before.columns != recording.columns:
        begun = "with other columns"
    elif (before.id_columns or []) != list(recording.id_columns):
        begun = f"with --id {','.join(before.id_columns)}" if before.id_columns else "without --id"
    elif before.form != recording.form.options():
        begun = f"with {_options(before.form) or 'the file read as it is'}"
    elif before.timezone != target.timezone:
        begun = f"in the time zone {before.timezone}"
    if begun:
        raise UsageError(
            f"The replay of {request.path} was begun {begun} at {before.begun_at}; run it so"
            " again, or choose again with --restart."
        )
