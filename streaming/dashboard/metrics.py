"""Prometheus' metrics of the whole deployment, made from its status and its live totals; pure.

Names and units follow Prometheus' conventions. No label has a user or an item: its values are
slots, partitions, reasons and the most frequent unknown fields, so that there are few series.
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

UP_STATES: Final = frozenset({"running", "caught_up", "behind", "standby"})
"""A standby is up, because another host works its slot."""


def metrics_text(
    status: Status, live: LiveFigures | None, refused_by_reason: Mapping[str, int]
) -> bytes:
    """Return the metrics; `live` are the live totals, None if they cannot be read.

    `refused_by_reason` counts the refused records that were not stored since.
    """
    registry = CollectorRegistry()
    families = chain(
        _figures(live, refused_by_reason),
        _store(status),
        _apps(status),
        _latencies(status),
        _partitions(status),
        _tables(status),
        _connectors(status),
        _registry(status),
    )
    registry.register(_FixedCollector(list(families)))
    return generate_latest(registry)


class _FixedCollector(Collector):
    """Metrics that are computed already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        return iter(self._metrics)


def _figures(live: LiveFigures | None, refused_by_reason: Mapping[str, int]) -> Iterator[Metric]:
    if live is not None:
        yield CounterMetricFamily("purchases_stored_events", "Events stored.", value=live.events)
        # Gauges, because returns make these sums fall.
        for name, meaning, value in (
            ("items_sold", "Items sold, returns negative.", live.items_sold),
            (
                "gross_revenue_micros",
                "Gross revenue, in millionths of the currency.",
                live.gross_revenue_micros,
            ),
            (
                "net_revenue_micros",
                "Net revenue, in millionths of the currency.",
                live.net_revenue_micros,
            ),
        ):
            yield GaugeMetricFamily(f"purchases_{name}", meaning, value=value)
    # A gauge too: a refused record that is redriven and stored counts no more.
    refused = GaugeMetricFamily(
        "purchases_refused_records", "Records refused, and not stored since.", labels=["reason"]
    )
    for reason, count in refused_by_reason.items():
        refused.add_metric([reason], count)
    yield refused


def _store(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "purchases_healthy", "1 if nothing is wrong.", value=float(status.healthy)
    )
    database, disk = status.database, status.disk
    if database.events is not None:
        yield CounterMetricFamily(
            "purchases_duplicate_events", "Duplicates skipped.", value=database.duplicates or 0
        )
        yield CounterMetricFamily(
            "purchases_conflicting_events",
            "Duplicates with another content than the stored event.",
            value=database.conflicting or 0,
        )
        yield GaugeMetricFamily(
            "purchases_not_storable_records",
            "Records of analytics that cannot be stored, and that nobody has given up.",
            value=database.not_storable or 0,
        )
        yield GaugeMetricFamily(
            "purchases_database_bytes", "Size of the database.", value=database.bytes or 0
        )
    yield GaugeMetricFamily(
        "purchases_refused_share_ratio",
        "Share of the last records that was refused.",
        value=status.refusals.share,
    )
    yield GaugeMetricFamily(
        "purchases_without_price_ratio",
        "Share of the last accepted purchases whose price is unknown.",
        value=status.prices.share,
    )
    yield GaugeMetricFamily(
        "purchases_disk_free_bytes", "Bytes free on the disk of the home.", value=disk.free_bytes
    )


def _apps(status: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "purchases_slot_up", "1 if a slot works or stands by.", labels=["app", "host", "slot"]
    )
    restarts = CounterMetricFamily(
        "purchases_slot_restarts",
        "Restarts of a worker by its supervisor.",
        labels=["app", "host", "slot"],
    )
    records = CounterMetricFamily(
        "purchases_slot_records",
        "Records since the worker's start.",
        labels=["app", "host", "slot", "outcome"],
    )
    unknown = CounterMetricFamily(
        "purchases_unknown_fields",
        "Purchases with a field of this unknown name, since the worker's start.",
        labels=["host", "slot", "field"],
    )
    lag = GaugeMetricFamily(
        "purchases_lag_seconds", "Age of the oldest unread record.", labels=["app"]
    )
    for app in status.apps:
        if app.lag_seconds is not None:
            lag.add_metric([app.app], app.lag_seconds)
        for slot in app.slots:
            labels = [app.app, slot.host, str(slot.slot)]
            up.add_metric(labels, float(slot.state in UP_STATES))
            restarts.add_metric(labels, slot.restarts or 0)
            for outcome, count in (
                ("done", slot.records_out),
                ("refused", slot.refused),
                ("duplicate", slot.duplicates),
            ):
                records.add_metric([*labels, outcome], count)
            for name, count in slot.unknown_fields.items():
                unknown.add_metric([slot.host, str(slot.slot), name], count)
    yield from (up, restarts, records, unknown, lag)


def _latencies(status: Status) -> Iterator[Metric]:
    """Yield a histogram per slot; in a sum the restart of one would look like a reset of all."""
    seconds = HistogramMetricFamily(
        "purchases_produced_to_stored_seconds",
        "From the producer's record to the database, of events stored since the worker's start.",
        labels=["host", "slot"],
    )
    for app in status.apps:
        for slot in app.slots if app.app == ANALYTICS.name else ():
            latencies = slot.latencies
            buckets = [(name, float(latencies.within.get(name, 0))) for name in NAMES]
            buckets.append(("+Inf", float(latencies.events)))
            seconds.add_metric([slot.host, str(slot.slot)], buckets, latencies.seconds)
    yield seconds


def _tables(status: Status) -> Iterator[Metric]:
    """Yield the metrics of the aggregate tables, if the batch half is there."""
    section = status.sections.get("tables")
    figures = {} if section is None else section.figures
    for figure, name, meaning in (
        ("days_behind", "daily_partitions_behind", "Days of which a table is behind."),
        (
            "failed_builds",
            "failed_builds",
            "Builds that failed, with no later build that succeeded.",
        ),
    ):
        value = figures.get(figure)
        if value is not None:
            yield GaugeMetricFamily(f"purchases_{name}", meaning, value=float(value))


def _connectors(status: Status) -> Iterator[Metric]:
    """Yield whether Kafka Connect answers, and how many tasks failed if it does.

    Without the setting it counts as well, because alerts name the metrics.
    """
    section = status.sections.get("connectors")
    figures = {"answers": True} if section is None else section.figures
    yield GaugeMetricFamily(
        "purchases_connect_up",
        "1 if Kafka Connect says how its connectors are.",
        value=float(bool(figures["answers"])),
    )
    if figures["answers"]:
        yield GaugeMetricFamily(
            "purchases_failed_connector_tasks",
            "Tasks and connectors of Kafka Connect that failed.",
            value=float(figures.get("failed_tasks") or 0),
        )


def _registry(status: Status) -> Iterator[Metric]:
    """Yield whether the schema registry answers; 1 without one, because an alert names it."""
    section = status.sections.get("registry")
    figures = {} if section is None else section.figures
    yield GaugeMetricFamily(
        "purchases_registry_up",
        "1 if the schema registry answers, or none is named.",
        value=float(figures.get("answers", True) or 0),
    )
    lookups = CounterMetricFamily(
        "purchases_schema_lookups",
        "Schema ids that the processor's workers looked up since their start.",
        labels=["outcome"],
    )
    for outcome in ("found", "refused", "not_asked"):
        lookups.add_metric([outcome], float(figures.get(f"schemas_{outcome}") or 0))
    yield lookups


def _partitions(status: Status) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "purchases_lag_records", "Records not read yet.", labels=["app", "topic", "partition"]
    )
    hidden = GaugeMetricFamily(
        "purchases_hidden_records",
        "Records behind an open transaction.",
        labels=["app", "topic", "partition"],
    )
    until_deleted = GaugeMetricFamily(
        "purchases_seconds_until_deleted",
        "Until retention may delete the oldest unread record.",
        labels=["app", "topic", "partition"],
    )
    held = GaugeMetricFamily(
        "purchases_topic_records", "Offsets that Kafka holds.", labels=["topic", "partition"]
    )
    for partition in status.partitions:
        labels = [partition.app, partition.topic, str(partition.partition)]
        lag.add_metric(labels, partition.lag_records)
        hidden.add_metric(labels, partition.hidden_records or 0)
        if partition.seconds_until_deleted is not None:
            until_deleted.add_metric(labels, partition.seconds_until_deleted)
        if partition.held_records is not None:
            held.add_metric(labels[1:], partition.held_records)
    yield from (lag, hidden, until_deleted, held)
