"""Work in forked children that are killed at one of its steps: each call in some files is one.

A child must be forked before polars has threads, so the parent does no work of its own.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def forked(do: Callable[[], Any]) -> tuple[int, Any]:
    """Do something in a child; return the signal that killed it, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(do()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status), json.loads(text or b"null")


def killed_at(do: Callable[[], object], files: tuple[str, ...], last: int) -> int:
    """Do something, killed at its step of this number; with 0 return how many steps it has."""
    steps = 0

    def count(frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal steps
        if frame.f_code.co_filename.endswith(files):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    do()
    sys.setprofile(None)
    return steps
