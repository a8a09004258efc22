"""What `produce` and `replay` show while they send, and say of what was not acknowledged."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streaming.producer.app import Progress

LOG_SECONDS: Final = 10.0
NAMED: Final = 5


@contextmanager
def shown_progress() -> Iterator[Callable[["Progress"], None]]:
    """Give a function that shows progress on stderr: a bar, or off a terminal a line each 10 s."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines()


def unacknowledged_sentence(home: Path, names: list[str], sent: int) -> str:
    """Name what was not acknowledged; too much for a sentence goes into a file of `home`."""
    first = ", ".join(names[:NAMED])
    if len(names) > NAMED:
        path = home / "unacknowledged" / f"{time.time_ns() // 1_000_000}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")
        first += f" and those in {path}"
    return (
        f"{len(names):,} of the {sent:,} purchases sent were not acknowledged and may be in Kafka"
        f" or not: {first}."
    )


@contextmanager
def _bar() -> Iterator[Callable[["Progress"], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} acknowledged, {task.fields[rate]:,.0f} events/s"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate=0.0)

        def show(progress: "Progress") -> None:
            rate = progress.acknowledged / max(progress.seconds, 0.001)
            bar.update(task, total=progress.total, completed=progress.acknowledged, rate=rate)

        yield show


def _lines() -> Callable[["Progress"], None]:
    from streaming.logs import get_logger

    shown = time.monotonic()

    def show(progress: "Progress") -> None:
        nonlocal shown
        if time.monotonic() - shown >= LOG_SECONDS:
            shown = time.monotonic()
            get_logger().info(
                "sending",
                acknowledged=progress.acknowledged,
                total=progress.total,
                events_per_second=round(progress.acknowledged / progress.seconds, 1),
            )

    return show
