"""Prometheus' metrics of the whole deployment, on the workers' behalf: from status and figures.

Names follow Prometheus' conventions; no label has more values than there are slots, partitions or
reasons.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streaming.apps import ANALYTICS
from streaming.runtime.latency import NAMES
from streaming.status.model import Status
from streaming.store.live_totals import LiveFigures

UP: Final = frozenset({"running", "caught_up", "behind", "standby"})
"""A standby needs nobody: another host works its slot."""


def metrics_text(status: Status, live: LiveFigures | None, reasons: Mapping[str, int]) -> bytes:
    """Write the metrics; `live` are the figures of all time, None where they cannot be read.

    `reasons` counts the refused that are not stored by reason.
    """
    registry = CollectorRegistry()
    parts = (
        _figures(live, reasons),
        _store(status),
        _apps(status),
        _times(status),
        _partitions(status),
        _tables(status),
    )
    registry.register(_Given(list(chain(*parts))))
    return generate_latest(registry)


class _Given(Collector):
    """Metrics that are known already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Give them."""
        return iter(self._metrics)


def _figures(live: LiveFigures | None, reasons: Mapping[str, int]) -> Iterator[Metric]:
    if live is not None:
        yield CounterMetricFamily("purchases_stored_events", "Stored.", value=live.events)
        for name, meaning, value in (
            ("items_sold", "Items sold, returns negative.", live.items_sold),
            (
                "gross_revenue_micros",
                "Sales, in millionths of the currency.",
                live.gross_revenue_micros,
            ),
            (
                "net_revenue_micros",
                "Less returns, in millionths of the currency.",
                live.net_revenue_micros,
            ),
        ):
            yield GaugeMetricFamily(f"purchases_{name}", meaning, value=value)
    refused = GaugeMetricFamily(
        "purchases_refused_records", "Refused, and not stored since.", labels=["reason"]
    )
    for reason, number in reasons.items():
        refused.add_metric([reason], number)
    yield refused


def _store(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "purchases_healthy", "1 where nothing is wrong.", value=float(status.healthy)
    )
    database, disk = status.database, status.disk
    if database.events is not None:
        yield CounterMetricFamily(
            "purchases_duplicate_events", "Known already.", value=database.duplicates or 0
        )
        yield GaugeMetricFamily(
            "purchases_database_bytes", "Size of the database.", value=database.bytes or 0
        )
    yield GaugeMetricFamily(
        "purchases_refused_share_ratio",
        "Refused of the last records.",
        value=status.refusals.share,
    )
    yield GaugeMetricFamily(
        "purchases_disk_free_bytes", "Free under the home.", value=disk.free_bytes
    )


def _apps(status: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "purchases_slot_up", "1 where a slot works or stands by.", labels=["app", "slot"]
    )
    restarts = CounterMetricFamily(
        "purchases_slot_restarts", "Restarts by its supervisor.", labels=["app", "slot"]
    )
    records = CounterMetricFamily(
        "purchases_slot_records",
        "Records since the worker's start.",
        labels=["app", "slot", "outcome"],
    )
    lag = GaugeMetricFamily(
        "purchases_lag_seconds", "Age of the oldest unread record.", labels=["app"]
    )
    for app in status.apps:
        if app.lag_seconds is not None:
            lag.add_metric([app.app], app.lag_seconds)
        for slot in app.slots:
            labels = [app.app, str(slot.slot)]
            up.add_metric(labels, float(slot.state in UP))
            restarts.add_metric(labels, slot.restarts or 0)
            for outcome, number in (
                ("done", slot.records_out),
                ("refused", slot.refused),
                ("duplicate", slot.duplicates),
            ):
                records.add_metric([*labels, outcome], number)
    yield from (up, restarts, records, lag)


def _times(status: Status) -> Iterator[Metric]:
    """Give the histogram of each slot: summed, one that starts anew would look like all of them."""
    seconds = HistogramMetricFamily(
        "purchases_produced_to_stored_seconds",
        "From the producer's record to the database, of events stored since the worker's start.",
        labels=["slot"],
    )
    for app in status.apps:
        for slot in app.slots if app.app == ANALYTICS.name else ():
            known = slot.latencies
            buckets = [(name, float(known.within.get(name, 0))) for name in NAMES]
            buckets.append(("+Inf", float(known.events)))
            seconds.add_metric([str(slot.slot)], buckets, known.seconds)
    yield seconds


def _tables(status: Status) -> Iterator[Metric]:
    """Give what the batch half says, where it is asked."""
    section = status.sections.get("tables")
    figures = {} if section is None else section.figures
    for figure, name, meaning in (
        ("days_behind", "daily_partitions_behind", "Days of which a table is not up to date."),
        ("failed_builds", "failed_builds", "Builds that failed and are not made good."),
    ):
        value = figures.get(figure)
        if value is not None:
            yield GaugeMetricFamily(f"purchases_{name}", meaning, value=float(value))


def _partitions(status: Status) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "purchases_lag_records", "Records not read.", labels=["app", "topic", "partition"]
    )
    hidden = GaugeMetricFamily(
        "purchases_hidden_records",
        "Records behind an open transaction.",
        labels=["app", "topic", "partition"],
    )
    for partition in status.partitions:
        labels = [partition.app, partition.topic, str(partition.partition)]
        lag.add_metric(labels, partition.lag_records)
        hidden.add_metric(labels, partition.hidden_records or 0)
    yield from (lag, hidden)
