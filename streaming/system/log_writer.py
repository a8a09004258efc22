"""A log of bounded size for a program that rotates none: the program writes to a pipe.

`python -m streaming.system.log_writer FILE` copies its input to the file until that ends. How a
process rotates its own log is in `log_rotation`.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from streaming.system.log_rotation import LOG_BYTES

CHUNK_BYTES: Final = 64 * 1024
"""What a pipe holds."""


def start_log_writer(
    log: Path, environment: Mapping[str, str]
) -> tuple["subprocess.Popen[bytes]", BinaryIO]:
    """Start the process that keeps `log`, and return it with the pipe to write to.

    It ends when all have closed the pipe. It leads a session of its own, so that a Ctrl-C does not
    end it before them.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    source, pipe = os.pipe()
    with os.fdopen(source, "rb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, os.fspath(log.absolute())],
            env=environment,
            stdin=output,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, os.fdopen(pipe, "wb")


def copy_to_log(source: int, log: Path, most: int = LOG_BYTES) -> None:
    """Append what comes from a descriptor to `log`; at `most` bytes, go on in a new file.

    The one before it is kept as `<name>.1`. What cannot be written is dropped.
    """
    while chunk := os.read(source, CHUNK_BYTES):
        # A full disk must not stop whoever writes to the pipe.
        with suppress(OSError):
            if log.exists() and log.stat().st_size + len(chunk) > most:
                log.replace(log.with_suffix(".log.1"))
            with log.open("ab") as file:
                file.write(chunk)


if __name__ == "__main__":
    copy_to_log(sys.stdin.fileno(), Path(sys.argv[1]))
