"""The totals as a report: for programs as JSON, for people as lines.

The figures are read by `store.live_totals`, the lag by `kafka.lag`; the command is `cli.totals`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from msgspec import UNSET, Struct, UnsetType

from streaming.errors import PurchasesError
from streaming.formatting import group_thousands, printable_text
from streaming.kafka.lag import Lag, read_lag
from streaming.kafka.names import Names
from streaming.settings import Settings
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import read_store
from streaming.store.deployment import recorded_deployment
from streaming.store.live_totals import (
    ItemFigures,
    LiveFigures,
    distinct_figures,
    live_figures,
)
from streaming.store.offsets import next_offsets
from streaming.units import decimal_text, rfc_3339


class MostPopular(Struct, frozen=True):
    """The item of which most were sold."""

    item: str
    items_sold: int


class Report(Struct, frozen=True, kw_only=True):
    """The totals at the moment `as_of`, under the names of `totals --json`.

    `orders` and `customers` are left out if they were not counted; the lag is null if Kafka did not
    answer. Money is in micros, and without that word an exact decimal.
    """

    events: int
    items_sold: int
    gross_revenue_micros: int
    gross_revenue: str
    net_revenue_micros: int
    net_revenue: str
    currency: str
    orders: int | UnsetType = UNSET
    customers: int | UnsetType = UNSET
    guest_events: int
    most_popular_item: MostPopular | None
    refused: int
    as_of: str
    lag_records: int | None
    lag_seconds: float | None


def read_report(settings: Settings, *, distinct: bool) -> tuple[Report, str]:
    """Read all figures at one moment, and how far they are behind.

    With `distinct`, orders and customers are counted too. Returns the report, and why the lag is
    unknown ("" if it is known). Raises what `read_store` does.
    """
    names = Names.of(settings)
    # The broker is asked while the database counts, because both take long.
    with ThreadPoolExecutor(1) as background, read_store(settings) as store:
        as_of = rfc_3339(datetime.now(UTC))
        deployment = recorded_deployment(store)
        # Without a deployment nothing is stored, and no row has this group.
        group = names.analytics_group(deployment.deployment_id if deployment else "")
        stored = next_offsets(store, group, names.analytics)
        # Positions of the same snapshot as the figures, and older than the ends that they are
        # compared with.
        asked = background.submit(_ask_lag, settings, stored)
        live = live_figures(store)
        if distinct:
            # Distinct counts need every event, also those that are in column files only.
            show_archived(store, open_column_store(settings))
        counted = distinct_figures(store) if distinct else None
        lag, unknown = asked.result()
    report = Report(
        events=live.events,
        items_sold=live.items_sold,
        gross_revenue_micros=live.gross_revenue_micros,
        gross_revenue=decimal_text(live.gross_revenue_micros),
        net_revenue_micros=live.net_revenue_micros,
        net_revenue=decimal_text(live.net_revenue_micros),
        currency=deployment.currency if deployment else settings.currency,
        orders=counted.orders if counted else UNSET,
        customers=counted.customers if counted else UNSET,
        guest_events=live.guest_events,
        most_popular_item=_most_popular(live),
        refused=live.refused,
        as_of=as_of,
        lag_records=None if lag is None else lag.records,
        lag_seconds=None if lag is None or lag.seconds is None else round(lag.seconds, 3),
    )
    return report, unknown


def text_lines(report: Report, unknown: str) -> str:
    """Write the report as lines of a name and a figure; `unknown` says why the lag is."""
    best = report.most_popular_item
    popular = f"{printable_text(best.item)} ({best.items_sold:,} sold)" if best else "nothing yet"
    age = "" if report.lag_seconds is None else f" ({report.lag_seconds:,.1f} s)"
    lines = {
        "Items sold": f"{report.items_sold:,}",
        "Most popular": popular,
        "Net revenue": f"{group_thousands(report.net_revenue)} {report.currency}",
        "Gross revenue": f"{group_thousands(report.gross_revenue)} {report.currency}",
        "Orders": report.orders,
        "Customers": report.customers,
        "Events": f"{report.events:,} ({report.guest_events:,} by guests)",
        "Refused": report.refused,
        "Not yet counted": f"unknown: {unknown}" if unknown else f"{report.lag_records:,}{age}",
        "As of": f"{report.as_of[:19].replace('T', ' ')} UTC",
    }
    return "\n".join(
        f"{name:<17}{figure if isinstance(figure, str) else format(figure, ',')}"
        for name, figure in lines.items()
        if not isinstance(figure, UnsetType)
    )


def _ask_lag(settings: Settings, stored: Mapping[int, int]) -> tuple[Lag | None, str]:
    try:
        return read_lag(settings, stored), ""
    except PurchasesError as error:
        return None, str(error)


def _most_popular(live: LiveFigures) -> MostPopular | None:
    best: ItemFigures | None = live.most_popular_item
    return None if best is None else MostPopular(best.item, best.items_sold)
