"""Work in forked children that are killed at one of its steps: each call in some files is one.

A child must be forked before polars has threads, so the parent does no work of its own.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from streaming.settings import Settings
from tests.databases import copy_store, drop_databases, home_settings


def run_forked(do: Callable[[], Any]) -> tuple[int, Any]:
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


def kill_at_each(
    home: Path,
    kills: int,
    change: Callable[[Settings, int], int],
    judge: Callable[[Settings], object],
    **changed: object,
) -> None:
    """Kill a change of a copy of a home at so many of its steps, each in a copy of its own.

    `change` is killed at the step that it is given, and with 0 returns how many it has. Prints a
    line of JSON of one that is not killed, then one after each kill: the signal that ended it, and
    what `judge` returns of the copy. `changed` are settings of the copies.
    """

    def copy_home(name: str) -> Settings:
        copy = home.with_name(name)
        shutil.copytree(home, copy)
        settings = home_settings(copy).model_copy(update=changed)
        if not isinstance(settings.database, Path):
            copy_store(home_settings(home), settings)
        return settings

    def attempt(name: str, step: int) -> int:
        settings = copy_home(name)
        signalled, steps = run_forked(partial(change, settings, step))
        _, judgement = run_forked(partial(judge, settings))
        sys.stdout.write(json.dumps([signalled, judgement]) + "\n")
        sys.stdout.flush()
        shutil.rmtree(settings.home)
        drop_databases(settings.home)
        return int(steps or 0)

    steps = attempt("whole", 0)
    for number in range(kills):
        attempt(f"killed-{number}", 1 + number * (steps - 1) // kills)
