"""Child processes: started with a log file and, if they are to be found again, with a lease.

When a child is started again is its owner's matter.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from streaming.system.lease import TAKE_OVER, Lease
from streaming.system.log_rotation import LOG_FILE, rotate


def start_child(  # noqa: PLR0913 - a process has that many sides
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    log: Path | BinaryIO,
    lease: Lease | None = None,
    *,
    own_session: bool = False,
    directory: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child that appends its output to `log`, a file or a pipe, and hand it `lease`.

    The child rotates a file itself (`log_rotation`). It inherits the lease's descriptor, writes its
    own id into it within milliseconds, and holds it until it dies: whoever comes next finds it even
    if this process was killed. With `own_session` neither a Ctrl-C in the terminal nor its closing
    reaches it. It works in `directory`, or in ours. Raises `OSError` if it cannot start.
    """
    taking = [] if lease is None else [*TAKE_OVER, os.fspath(lease.path.absolute())]
    with _open_log(log) if isinstance(log, Path) else nullcontext(log) as output:
        return subprocess.Popen(
            [*taking, *command],
            env=_with_log(environment, log) if isinstance(log, Path) else environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            start_new_session=own_session,
            # A `flock` belongs to the open file, not to the process: whoever inherits it holds the
            # lease.
            pass_fds=[] if lease is None else [lease.descriptor],
        )


def start_detached(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Start a grandchild in a session of its own: init reaps it, and not this process."""
    with _open_log(log) as output:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            env=_with_log(environment, log),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )


def stop_child(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait for at most `seconds` until a child that was asked to stop has ended, then kill it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        # For a child that ends before it would.
        rotate(log)
    return log.open("ab")


def _with_log(environment: Mapping[str, str] | None, log: Path) -> dict[str, str]:
    """Return the environment of a child that rotates its own log."""
    return {**(os.environ if environment is None else environment), LOG_FILE: os.fspath(log)}
