"""The checkpoint of a replay: its shift, the end offsets before it, and how far it has come.

One small file per recording, cluster and namespace; it is written before the first record is sent.
What follows from it is decided in `plan`.
"""

import re
from pathlib import Path

import msgspec
from msgspec import Struct

from streaming.errors import PurchasesError
from streaming.system.files import replace_file
from streaming.system.home import Home


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A replay that was begun. Its records, if any, are at or after `positions`.

    `shift_micros` is what every event time is moved by (0: as recorded), `columns` are by field.
    The rows below `acknowledged` are in the log; whether the others are, only the log tells.
    `positions` are offsets by partition, of the topic with `topic_id`. `id_columns` are those of
    `--id`; none: ids are of the rows' content. An earlier release, which gave ids by a row's number
    in the file, wrote none (None). `form` are options by which the file is read.
    """

    file: str
    digest: str
    timezone: str
    columns: dict[str, str]
    as_recorded: bool
    shift_micros: int
    begun_at: str
    topic_id: str
    positions: dict[int, int]
    acknowledged: int = 0
    finished_at: str | None = None
    id_columns: list[str] | None = None
    form: dict[str, str] = {}


def checkpoint_path(home: Path, digest: bytes, cluster_id: str, namespace: str) -> Path:
    """Return the checkpoint's file: of one recording, cluster and namespace."""
    cluster = re.sub(r"[^A-Za-z0-9_-]", "_", cluster_id)
    name = f"{digest.hex()[:24]}-{cluster}{'.' if namespace else ''}{namespace}"
    return Home(home).replay_checkpoint(name)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is none. Raises `PurchasesError` for a damaged file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise PurchasesError(
            f"The checkpoint {path} of this replay cannot be read: {error}."
            " Begin again with --restart."
        ) from None


def write_checkpoint(path: Path, begun: Checkpoint) -> None:
    """Write durably, whole or not at all. Raises `PurchasesError` if the disk refuses."""
    try:
        with replace_file(path, durable=True) as file:
            file.write(msgspec.json.format(msgspec.json.encode(begun)) + b"\n")
    except OSError as error:
        raise PurchasesError(f"{path} cannot be written: {error.strerror}.") from None
