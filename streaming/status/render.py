"""The status on a terminal, as tables. What is in them is in `model`."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streaming.formatting import printable_text
from streaming.status.model import (
    AppStatus,
    PartitionStatus,
    Section,
    SlotStatus,
    Status,
    UnknownField,
)

FIELDS_SHOWN: Final = 5
"""More would take the screen from what is wrong."""
SHORT_LAG_SECONDS: Final = 5.0
"""A lag below this comes and goes with each batch: a rate of it says nothing."""


def render(status: Status) -> RenderableType:
    """Return a status as a renderable for 80 columns or more: the verdict first, then its basis."""
    style = "bold green" if status.healthy else "bold red"
    # Sentences quote keys and errors of others, which must not steer the terminal.
    parts: list[RenderableType] = [Text(printable_text(status.verdict), style=style)]
    for problem in status.problems:
        if problem.sentence != status.verdict:
            parts.append(Text(printable_text(problem.sentence), style="red"))
        parts.append(Text(f"  {printable_text(problem.remedy)}", style="dim"))
    parts += [Text(), _slots(status.apps), Text(), _partitions(status.partitions), Text()]
    parts.append(_other_figures(status))
    parts += [_section(name, section) for name, section in status.sections.items()]
    return Group(*parts)


def _table(*columns: str, right: int) -> Table:
    """Return an empty table; its columns from index `right` on are figures."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number >= right else "left")
    return table


def _slots(apps: tuple[AppStatus, ...]) -> Table:
    table = _table(
        "worker", "state", "pid", "up", "restarts", "in/s", "out/s", "refused/s", right=2
    )
    for app in apps:
        for slot in app.slots:
            state = slot.state.replace("_", " ") + (f": {slot.detail}" if slot.detail else "")
            table.add_row(slot.name, Text(printable_text(state)), *_figures(slot))
    return table


def _figures(slot: SlotStatus) -> list[str]:
    return [
        "" if slot.pid is None else str(slot.pid),
        _age(slot.uptime_seconds),
        "" if slot.restarts is None else str(slot.restarts),
        f"{slot.in_per_second:,.0f}",
        f"{slot.out_per_second:,.0f}",
        f"{slot.refused_per_second:,.0f}",
    ]


def _partitions(partitions: tuple[PartitionStatus, ...]) -> Table:
    table = _table("partition", "position", "end", "behind", "seconds", "hidden", right=1)
    for partition in partitions:
        table.add_row(
            f"{partition.topic}-{partition.partition}",
            f"{partition.position:,}",
            f"{partition.end:,}",
            f"{partition.lag_records:,}",
            "?" if partition.lag_seconds is None else f"{partition.lag_seconds:,.1f}",
            "?" if partition.hidden_records is None else f"{partition.hidden_records:,}",
        )
    return table


def _other_figures(status: Status) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    database, disk, refusals = status.database, status.disk, status.refusals
    if database.events is not None:
        figures = f"{database.events:,} events, {database.refused:,} refused"
        table.add_row("database", f"{figures}, {database.duplicates:,} duplicates")
        if database.archived or database.keep_events:
            rows = "all" if database.keep_events is None else f"{database.keep_events:,} days"
            table.add_row("rows kept", f"{rows}, {database.archived:,} events are in files only")
    for app in status.apps:
        table.add_row(f"{app.app} so far", _counters(app))
        if app.lag_records and (app.lag_seconds is None or app.lag_seconds >= SHORT_LAG_SECONDS):
            drain = app.seconds_to_drain
            table.add_row(
                f"{app.app} catches up",
                "not at this rate" if drain is None else f"in {_age(drain)}",
            )
    table.add_row("refused lately", f"{refusals.share:.2%} of {refusals.records:,} records")
    prices = status.prices
    table.add_row("without a price", f"{prices.share:.2%} of {prices.purchases:,} purchases")
    for line in _unknown_fields(status.unknown_fields):
        table.add_row("unknown field", line)
    full = "" if disk.days_until_full is None else f", full in {disk.days_until_full:,.1f} days"
    size = disk.bytes_per_million_events
    each = "" if size is None else f", {size / 2**20:,.0f} MiB a million events"
    table.add_row("disk free", f"{disk.free_bytes / 2**30:,.1f} GiB{full}{each}")
    table.add_row("as of", f"{status.as_of[:19].replace('T', ' ')} UTC")
    return table


def _unknown_fields(fields: Sequence[UnknownField]) -> Iterator[str]:
    """Yield a sentence for each of the most frequent fields, and the number of the others."""
    for field in fields[:FIELDS_SHOWN]:
        meant = "" if field.meant is None else f"; did you mean `{field.meant}`?"
        yield f"`{printable_text(field.name)}`, sent {field.purchases:,} times, is no field{meant}"
    if len(fields) > FIELDS_SHOWN:
        yield f"and {len(fields) - FIELDS_SHOWN} more; see `purchases status --json`"


def _counters(app: AppStatus) -> str:
    """Return the counters of the living workers, and when the last batch was committed."""
    slots = app.slots
    committed = "none yet" if app.committed_at is None else f"{app.committed_at[11:19]} UTC"
    return (
        f"{sum(slot.records_in for slot in slots):,} in,"
        f" {sum(slot.records_out for slot in slots):,} out,"
        f" {sum(slot.refused for slot in slots):,} refused,"
        f" {sum(slot.duplicates for slot in slots):,} duplicate"
        f" ({app.duplicates_per_second:,.0f}/s); last batch {committed}"
    )


def _section(name: str, section: Section) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    for figure, value in section.figures.items():
        table.add_row(f"{name} {figure.replace('_', ' ')}", printable_text(str(value)))
    return table


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
