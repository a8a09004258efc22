"""The status file of a worker: written by it, read by supervisor, status and sensors."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from streaming.runtime.counters import Rates, RecentRecords, SchemaLookups, WorkerPosition
from streaming.runtime.latency import Latencies
from streaming.system.files import replace_file
from streaming.system.home import Home


class WorkerStatus(Struct):
    """The content of `<home>/workers/<app>-<slot>.json`, written about once a second.

    `state` is `starting`, `running`, `caught_up`, `paused`, `standby`, `stopped` or `failed`;
    `detail` says by what, of whom or why. Counters are since the start of the process. `stored`
    counts the records that were published or stored, `latencies` how long those took,
    `unknown_fields` how many of the published purchases had each, `lookups` schemas of a registry,
    null as long as none was named. `stored_per_second` is of the
    last ten minutes, null before.
    `lag_seconds` is the age of the last record that was read, 0 when caught up. Times are epoch
    seconds, 0 for never: `committed_at` of the last batch, `progressed_at` of the last batch or of
    the last moment without lag.
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
    stored_per_second: float | None = None
    recent: RecentRecords = RecentRecords()
    unknown_fields: dict[str, int] = {}
    latencies: Latencies = Latencies()
    lookups: SchemaLookups | None = None
    positions: list[WorkerPosition] = []
    committed_at: float = 0.0
    progressed_at: float = 0.0
    started_at: float = 0.0
    updated_at: float = 0.0


def replace_json(path: Path, content: Struct) -> None:
    """Replace a status file. If the disk is full or read-only the old content stays.

    The file's time is set even then: a reader takes it as the heartbeat.
    """
    try:
        with replace_file(path) as file:
            file.write(msgspec.json.encode(content))
    except OSError:
        with suppress(OSError):
            os.utime(path)


def read_status(home: Path, app: str, slot: int) -> WorkerStatus | None:
    """Return a slot's status file; None if there is none, or it cannot be read.

    On a full disk the content is old, and the file's time is when the worker last tried to write.
    """
    path = Home(home).worker_status(app, slot)
    try:
        status = msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
        status.updated_at = max(status.updated_at, path.stat().st_mtime)
    except (OSError, ValueError):
        return None
    return status
