"""The file in which a worker says how it does, written by it and read by everybody else."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from streaming.runtime.counters import Rates, Refusals, WorkerPosition
from streaming.runtime.latency import Latencies
from streaming.system.home import Home


class WorkerStatus(Struct):
    """What a worker says of itself, at most once a second, in `<home>/workers/<app>-<slot>.json`.

    `state` is `starting`, `running`, `caught_up`, `paused`, `standby`, `stopped` or `failed`;
    `detail` says by what, of whom or why. Counters are since the start of the process; `stored` are
    the records that went on, and `latencies` how long they took. `lag_seconds` is the age of the
    last record that was read, 0 when caught up; times are epoch seconds, and 0 before:
    `committed_at` when a batch was last committed, `progressed_at` when that, or nothing to do, was
    last so.
    """

    app: str
    slot: int
    pid: int
    state: str = "starting"
    detail: str = ""
    records: int = 0
    stored: int = 0
    refused: int = 0
    duplicates: int = 0
    lag_records: int = 0
    lag_seconds: float = 0.0
    rates: Rates = Rates()
    refusals: Refusals = Refusals()
    latencies: Latencies = Latencies()
    positions: list[WorkerPosition] = []
    committed_at: float = 0.0
    progressed_at: float = 0.0
    started_at: float = 0.0
    updated_at: float = 0.0


def replace_json(path: Path, content: Struct) -> None:
    """Replace a status file at once for its readers; a full or read-only disk is no reason to stop.

    There the old content stays, and its file's time shows that its writer lives.
    """
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(msgspec.json.encode(content))
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        with suppress(OSError):
            os.utime(path)


def read_status(home: Path, app: str, slot: int) -> WorkerStatus | None:
    """Read a slot's status file; None where there is none.

    Where a full disk keeps the old content, the file's time is when the worker last tried to write.
    """
    path = Home(home).worker_status(app, slot)
    try:
        status = msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
        status.updated_at = max(status.updated_at, path.stat().st_mtime)
    except (OSError, ValueError):
        return None
    return status
