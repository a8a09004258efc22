"""The live view on a terminal: the sample that the dashboard shows, drawn as text."""

from collections.abc import Sequence
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streaming.formatting import group_thousands, printable_text
from streaming.totals.sampler import DayFigures, Now, Ranked

BARS: Final = " ▁▂▃▄▅▆▇█"
MINUTES: Final = 60
SHOWN: Final = 10


def render(now: Now) -> RenderableType:
    """Draw a sample for 80 columns or more: today, the last hour, rankings, latest purchases."""
    day = "today" if now.is_today else f"on {now.day.day}, the last day with purchases"
    figures = Table.grid(padding=(0, 3))
    figures.add_column(style="dim")
    figures.add_column(style="bold", justify="right")
    figures.add_column(style="dim")
    figures.add_column(style="dim")
    ever = f"{group_thousands(now.net_revenue)} {now.currency}"
    figures.add_row(
        f"items sold {day}", f"{now.day.items_sold:,}", *_comparisons(now, "items_sold")
    )
    figures.add_row(
        f"net revenue {day}",
        f"{group_thousands(now.day.net_revenue)} {now.currency}",
        *_comparisons(now, "net_revenue_micros"),
    )
    figures.add_row("all time", f"{now.items_sold:,} items", ever, "")
    figures.add_row("purchases/s", f"{now.events_per_second:,.1f}", "", "")
    figures.add_row("refused", f"{now.refused:,}", f"{now.refused_share:.2%}", now.top_reason or "")
    return Group(
        Text("purchases", style="bold") + Text(f"  as of {now.as_of[:19]}Z", style="dim"),
        figures,
        Text(),
        Text("revenue per minute, the last hour  ", style="dim") + Text(_bars(now), style="blue"),
        Text(),
        Columns(
            [
                _ranking(f"most popular {day}", now.popular_today),
                _ranking("most popular, all time", now.popular_ever),
            ],
            padding=(0, 4),
        ),
        Text(),
        _latest(now),
        Text("Ctrl-C ends it.", style="dim"),
    )


def _comparisons(now: Now, name: str) -> tuple[str, str]:
    """Return by how much today is above or below the same time of yesterday and of last week."""
    if not now.is_today:
        return "", ""

    def against(then: DayFigures, words: str) -> str:
        before = getattr(then, name)
        # A day of returns is negative: the sign must be that of the change.
        share = (getattr(now.day, name) - before) / abs(before) if before else None
        return "" if share is None else f"{share:+.1%} on {words}"

    return against(now.yesterday, "yesterday, same time"), against(now.last_week, "last week")


def _bars(now: Now) -> str:
    """Draw the revenue of each of the last 60 minutes as a bar."""
    width = len(now.buckets) // MINUTES
    sums = [
        sum(bucket[2] for bucket in now.buckets[start : start + width])
        for start in range(0, width * MINUTES, width)
    ]
    most = max(*sums, 1)
    # Returns may make a minute negative, which no bar shows.
    return "".join(BARS[max(0, amount) * (len(BARS) - 1) // most] for amount in sums)


def _ranking(title: str, items: Sequence[Ranked]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title, max_width=32, no_wrap=True)
    table.add_column("items sold", justify="right")
    table.add_column("in an hour", justify="right")
    for item in items[:SHOWN]:
        described = f"{item.item} {item.description or ''}".strip()
        table.add_row(Text(printable_text(described)), f"{item.items_sold:,}", _change(item.change))
    return table


def _change(change: int | None) -> str:
    if change is None:
        return "new"
    return f"▲ {change}" if change > 0 else f"▼ {-change}" if change < 0 else "same"


def _latest(now: Now) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("latest", max_width=48, no_wrap=True)
    table.add_column("country")
    table.add_column(now.currency, justify="right")
    for purchase in now.latest[:SHOWN]:
        what = f"{purchase.quantity:,} of {purchase.description or purchase.item}"
        amount = purchase.amount_micros
        shown = "price unknown" if amount is None else f"{amount / 1e6:,.2f}"
        table.add_row(
            Text(printable_text(what)), Text(printable_text(purchase.country or "")), shown
        )
    return table
