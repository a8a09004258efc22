"""`logs`: the last lines of the logs of a home, and what is written to them from then on.

Which events there are is in docs/log-events.md. Nothing is filtered: that is what `grep` is for.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from streaming.cli.output import print_text
from streaming.errors import NotFound, UsageError

TAIL_BYTES: Final = 1 << 20
"""Read from the end of a file: far more than the lines that anybody asks for."""
POLL_SECONDS: Final = 0.3
"""A person sees a line at once, and a follow of idle logs takes next to no CPU."""

App = Annotated[
    str | None,
    typer.Argument(
        metavar="APP",
        help="processor, analytics, broker, dashboard, dagster, daemon, runs or demo."
        " Default: all.",
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]
Lines = Annotated[int, typer.Option("-n", min=0, max=10_000, help="Last lines of each log.")]


def logs(app: App = None, follow: Follow = False, lines: Lines = 20) -> None:
    """Print the last lines of the logs of this home, and with --follow what comes after them.

    What runs in a terminal of its own, such as `purchases process`, logs there.

    Example: purchases logs analytics --follow
    """
    from streaming.settings import load_settings
    from streaming.system.shutdown import stop_on_signals

    chosen = _choose(log_files(load_settings().home), app)
    with ExitStack() as files:
        handles: dict[str, BinaryIO] = {}
        for name, path in chosen.items():
            # All are opened before the first is followed, so that no line between is lost.
            handles[name] = files.enter_context(path.open("rb"))
            for line in last_lines(handles[name], lines):
                _print_line(name, line, alone=len(chosen) == 1)
        if not follow:
            return
        with stop_on_signals() as stop:
            while not stop.wait(POLL_SECONDS):
                for name, handle in handles.items():
                    for line in new_lines(handle):
                        _print_line(name, line, alone=len(chosen) == 1)


def log_files(home: Path) -> dict[str, Path]:
    """Return the log of each part of a home by name; the files need not exist."""
    from streaming.apps import APPS
    from streaming.system.home import Home

    files = Home(home)
    return {
        **{app.name: files.supervisor_log(app.name) for app in APPS},
        "broker": files.broker_log,
        "dashboard": files.service_log("page"),
        "dagster": files.service_log("webserver"),
        "daemon": files.service_log("daemon"),
        "runs": files.service_log("worker"),
        "demo": files.feeder_log,
    }


def last_lines(file: BinaryIO, number: int) -> list[bytes]:
    """Return the last whole lines of a file, and leave it open behind them."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    begins_within_a_line = file.tell() > 0
    lines = list(new_lines(file))[1 if begins_within_a_line else 0 :]
    return lines[-number:] if number else []


def new_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the whole lines that were added; a file that was cut is read from its beginning."""
    # Rotation copies a log and cuts it in place (`system.log_rotation`), so the file stays open.
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)
    while (line := file.readline()).endswith(b"\n"):
        yield line
    # The part of a line comes again, when it is whole.
    file.seek(-len(line), os.SEEK_CUR)


def _choose(files: Mapping[str, Path], app: str | None) -> dict[str, Path]:
    """Return the logs to print. Raises `UsageError` for an unknown name, `NotFound` without any."""
    if app is not None and app not in files:
        raise UsageError(f"{app} has no log; name one of {', '.join(files)}.")
    there = {n: path for n, path in files.items() if app in {None, n} and path.is_file()}
    if not there:
        raise NotFound(
            f"There is no log{f' of {app}' if app else ''} in this home: nothing was started in the"
            " background yet. Start it with `purchases up`."
        )
    return there


def _print_line(name: str, line: bytes, *, alone: bool) -> None:
    text = line.decode(errors="replace").rstrip("\r\n")
    print_text(text if alone else f"{name:<9} {text}")
