"""What `produce` and `replay` show while they send, and print at their end."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streaming.errors import PurchasesError
from streaming.formatting import printable_text
from streaming.system.home import Home

if TYPE_CHECKING:
    from streaming.producer.generator.run import ProduceResult
    from streaming.producer.replay.run import ReplayResult
    from streaming.producer.sender import SendProgress

LOG_SECONDS: Final = 10.0
"""A log of a replay of hours stays short, and shows within a moment that it goes on."""
NAMED: Final = 5
"""More names go to a file: an error is a sentence, and a stop may leave thousands."""


@contextmanager
def show_progress() -> Iterator[Callable[["SendProgress"], None]]:
    """Yield a function that shows progress on stderr: a bar, or off a terminal a line each 10 s."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines()


def produce_summary(result: "ProduceResult", count: int | None, home: Path) -> str:
    """Return the result of `produce`, of which `count` was asked for, as a sentence.

    Raises `PurchasesError` if that many were not sent and acknowledged; it names those without an
    acknowledgement, in a file of `home` if they are many.
    """
    if result.unacknowledged:
        names = _list_names(result.unacknowledged, home)
        raise PurchasesError(f"{_unacknowledged_sentence(result)}: {names}.")
    if result.failure:
        raise PurchasesError(f"{result.failure}. {result.sent:,} purchases were sent before.")
    if count is not None and result.sent < count:
        raise PurchasesError(f"Stopped: {result.sent:,} of {count:,} purchases were sent.")
    return f"{result.sent:,} purchases sent, all acknowledged, in {result.seconds:.1f} s."


def replay_summary(result: "ReplayResult", file: Path) -> str:
    """Return the result of `replay` as a sentence.

    Raises `PurchasesError` if a row may be missing, which the same command again sends, or if one
    will be refused.
    """
    again = "the same command again sends only what is missing"
    if result.finished_before:
        return (
            f"All {result.rows:,} purchases of {file} were sent by {result.finished_before};"
            f" nothing was sent{_dates(result)}."
        )
    if result.unacknowledged:
        raise PurchasesError(f"{_unacknowledged_sentence(result)}; {again}.")
    if result.done < result.rows:
        why = result.failure or "Stopped"
        raise PurchasesError(
            f"{why}, after {result.done:,} of the {result.rows:,} purchases of {file}; {again}."
        )
    unpaid = sum(result.unpaid.values())
    before = result.rows - result.sent - unpaid
    there = f"; {before:,} were there before" if before else ""
    if unpaid:
        there += f"; {unpaid:,} left out, because nothing was paid ({statuses(result.unpaid)})"
    if result.refused:
        raise PurchasesError(
            f"{result.sent:,} purchases of {file} sent in {result.seconds:.1f} s{there}"
            f"{_dates(result)}. {result.refused:,} of them will be refused: {result.refusals}."
            " Once they are processed, `purchases dlq list` shows them."
        )
    return (
        f"{result.sent:,} purchases of {file} sent, all acknowledged, in {result.seconds:.1f} s"
        f"{there}{_dates(result)}."
    )


def statuses(unpaid: Mapping[str, int]) -> str:
    """Return rows of which nothing was paid, by status: `2 Status is Refunded`."""
    return ", ".join(f"{count:,} {printable_text(status)}" for status, count in unpaid.items())


def _dates(result: "ReplayResult") -> str:
    """Return the days of the events that were replayed, and whether they are as recorded."""
    if result.days is None:
        return ""
    first, last = result.days
    span = f"{first}" if first == last else f"{first} to {last}"
    return f": {span}, {'shifted' if result.shift_micros else 'as recorded'}"


def _unacknowledged_sentence(result: "ProduceResult | ReplayResult") -> str:
    reason = f"{result.failure}. " if result.failure else ""
    return (
        f"{reason}{len(result.unacknowledged):,} of the {result.sent:,} purchases sent were not"
        " acknowledged, and may be in Kafka or not"
    )


def _list_names(names: list[str], home: Path) -> str:
    """Name all, or the first and a file with all of them."""
    first = ", ".join(names[:NAMED])
    if len(names) <= NAMED:
        return first
    path = Home(home).unacknowledged_lists / f"{time.time_ns() // 1_000_000}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")
    return f"{first} and the others in {path}"


@contextmanager
def _bar() -> Iterator[Callable[["SendProgress"], None]]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from streaming.cli.console import PrintableConsole

    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} acknowledged, {task.fields[rate]:,.0f} events/s"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=PrintableConsole(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate=0.0)

        def show(progress: "SendProgress") -> None:
            rate = progress.acknowledged / max(progress.seconds, 0.001)
            bar.update(task, total=progress.total, completed=progress.acknowledged, rate=rate)

        yield show


def _lines() -> Callable[["SendProgress"], None]:
    from streaming.system.logs import get_logger

    shown = time.monotonic()

    def show(progress: "SendProgress") -> None:
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
