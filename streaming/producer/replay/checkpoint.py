"""What the home remembers of a replay: its shift, where `purchases` ended before it, how far it is.

One small file per recording, cluster and namespace; it is written before the first record is sent.
"""

import re
from pathlib import Path

import msgspec
from msgspec import Struct

from streaming.errors import PurchasesError
from streaming.system.files import replace_file
from streaming.system.home import Home


class Begun(Struct, frozen=True, kw_only=True):
    """A replay that was begun. Its records, if any, lie at or after `positions`.

    `shift_micros` is what every event time is moved by (0: as recorded), `columns` are by field.
    The rows below `acknowledged` are in the log; of the others only the log knows. `positions` are
    offsets by partition, of the topic with `topic_id`.
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


def memory_path(home: Path, digest: bytes, cluster_id: str, namespace: str) -> Path:
    """Give the file that remembers the replay of one recording to one cluster and namespace."""
    cluster = re.sub(r"[^A-Za-z0-9_-]", "_", cluster_id)
    name = f"{digest.hex()[:24]}-{cluster}{'.' if namespace else ''}{namespace}"
    return Home(home).replay_checkpoint(name)


def recall(path: Path) -> Begun | None:
    """Read what was begun; None where nothing was. Raises `PurchasesError` for a damaged file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Begun)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise PurchasesError(
            f"{path} remembers how far this replay came, but cannot be read: {error}."
            " Replay with --restart to begin anew."
        ) from None


def remember(path: Path, begun: Begun) -> None:
    """Write it durably, whole or not at all. Raises `PurchasesError` where the disk does not."""
    try:
        with replace_file(path, durable=True) as file:
            file.write(msgspec.json.format(msgspec.json.encode(begun)) + b"\n")
    except OSError as error:
        raise PurchasesError(f"{path} cannot be written: {error.strerror}.") from None
