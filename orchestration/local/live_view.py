"""The live view of `up` in a terminal, and its log line elsewhere. Pure: figures in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streaming.formatting import group_thousands, printable_text
from streaming.runtime.status_file import WorkerStatus


@dataclass(frozen=True)
class LiveView:
    """The figures as stored, the lag, and the status of each worker.

    `events_per_second` is of the last seconds, `net_revenue` a decimal text, `lag_seconds` the age
    of the records that are read now; `top` holds items with their `items_sold`, `notices` sentences
    about Dagster.
    """

    activity: str
    dagster: str
    page: str
    currency: str
    stored: int
    refused: int
    top_reason: str | None
    items_sold: int
    net_revenue: str
    events_per_second: float
    lag_records: int
    lag_seconds: float
    top: Sequence[tuple[str, int]]
    workers: Sequence[WorkerStatus]
    notices: Sequence[str]

    def fields(self) -> dict[str, object]:
        """Return the figures as fields of a log line, without items."""
        return {
            "page": self.page,
            "dagster": self.dagster,
            "events_per_second": round(self.events_per_second, 1),
            "stored": self.stored,
            "refused": self.refused,
            "top_reason": self.top_reason,
            "lag_records": self.lag_records,
            "lag_seconds": self.lag_seconds,
            "items_sold": self.items_sold,
            "net_revenue": self.net_revenue,
            "workers": {f"{w.app}-{w.slot}": w.state for w in self.workers},
            "notices": list(self.notices),
        }


def render(view: LiveView) -> RenderableType:
    """Draw the view for a terminal of 80 columns or more."""
    figures = Table.grid(padding=(0, 3))
    figures.add_column(style="dim")
    figures.add_column(justify="right", min_width=18)
    figures.add_column(style="dim")
    figures.add_column(justify="right", min_width=14)
    refused = f"{view.refused:,}" + (f" ({view.top_reason})" if view.top_reason else "")
    revenue = f"{group_thousands(view.net_revenue)} {view.currency}"
    rate = f"{view.events_per_second:,.0f}"
    figures.add_row("items sold", f"{view.items_sold:,}", "events/s", rate)
    figures.add_row("net revenue", revenue, "lag records", f"{view.lag_records:,}")
    figures.add_row("stored", f"{view.stored:,}", "lag seconds", f"{view.lag_seconds:,.1f}")
    figures.add_row("refused", refused, "", "")
    return Group(
        Text("purchases", style="bold") + Text(f"  {view.activity}", style="dim"),
        Text(),
        figures,
        Text(),
        _most_popular(view.top),
        Text(),
        _workers(view.workers),
        *(Text(notice, style="bold red") for notice in view.notices),
        # Where one is empty, another host runs it.
        *([Text(f"The dashboard: {view.page}")] if view.page else []),
        *([Text(f"Dagster:  {view.dagster}")] if view.dagster else []),
        Text("Ctrl-C ends it; the next start continues where this one stopped.", style="dim"),
    )


def _most_popular(top: Sequence[tuple[str, int]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("most popular", min_width=24, max_width=40, no_wrap=True)
    table.add_column("items sold", justify="right")
    for item, items_sold in top:
        table.add_row(Text(printable_text(item)), f"{items_sold:,}")
    return table


def _workers(workers: Sequence[WorkerStatus]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("worker", "state", "pid"):
        table.add_column(column)
    table.add_column("records", justify="right")
    for worker in workers:
        state = f"{worker.state}: {worker.detail}" if worker.detail else worker.state
        name, records = f"{worker.app}-{worker.slot}", f"{worker.records:,}"
        table.add_row(name, Text(printable_text(state)), str(worker.pid), records)
    return table
