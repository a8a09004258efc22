"""Checks that reconcile the tables with the stream's figures, and those with the stored events.

Every function reads inside the caller's snapshot and returns a `Finding`. Checks of the stream
alone are in `stream_health`.
"""

import json
from collections.abc import Sequence
from datetime import date
from itertools import chain
from typing import Final

from assets.builds.audit import REST, UNITS
from assets.builds.staleness import StalePartition, read_stale_partitions
from assets.builds.writer import digest
from assets.checks.finding import EXAMPLES, CheckContext, Finding
from assets.tables.calendar import day_window
from assets.tables.models import WHOLE
from assets.tables.sql_transform import AnyTransform
from assets.tables.transforms import Transform
from streaming.errors import PurchasesError
from streaming.kafka.names import Names
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection
from streaming.store.live_totals import CORRECTIONS
from streaming.store.sql_tables import code_versions
from streaming.units import MICROS
from streaming.verification.database_checks import check_days, check_items, check_totals

PAST_DAY_SECONDS: Final = 10 * 60
"""How long a past day may wait for its build: it is requested at once, so this is plenty."""
TODAY_SECONDS: Final = 30 * 60
"""The summaries are built every ten minutes at most, today more often: three times that is late."""
FIGURES: Final = ("events", "items_sold", "net_revenue_micros")


def check_parity(
    connection: StoreConnection, context: CheckContext, transform: Transform
) -> Finding:
    """Compare the sums of each partition with the stream's figures of the same version.

    A partition that is behind is pending, not wrong.
    """
    # The names of tables are constants of this program: parameters cannot stand for them.
    statement = _PARITY_OF_DAYS if transform.by_day else _PARITY_OF_ALL
    if not transform.guests:
        statement = _PARITY_OF_CUSTOMERS
    query = statement.format(table=transform.table, corrections=CORRECTIONS)
    rows = connection.execute(query, {"table": transform.table}).fetchall()
    compared = [(row[0], _whole_figures(row[1:5]), _whole_figures(row[5:])) for row in rows]
    wrong = [row for row in compared if row[1] != row[2]]
    pending = [s for s in _read_stale(connection, context) if s.table == transform.table]
    examples = [
        f"{partition}: {', '.join(map(str, built))} {', '.join(FIGURES)}, the stream counted"
        f" {', '.join(map(str, counted))}."
        for partition, built, counted in wrong[:EXAMPLES]
    ]
    return Finding(
        passed=not wrong,
        description=f"{len(rows) - len(wrong)} partitions equal the stream's figures,"
        f" {len(wrong)} differ, {len(pending)} are behind and pending.",
        numbers={"equal": len(rows) - len(wrong), "different": len(wrong), "pending": len(pending)},
        examples=tuple(examples),
    )


def _whole_figures(columns: Sequence[int]) -> tuple[int, int, int]:
    """Return events, items sold and micros of net revenue, whose units and rest are apart."""
    events, items_sold, units, rest = columns
    return events, items_sold, units * MICROS + rest


def check_addition(connection: StoreConnection, _: CheckContext, transform: Transform) -> Finding:
    """Find days whose rows were added to, and differed when all their events were computed."""
    builds = connection.execute(
        "SELECT partition, added_events > 0, difference FROM table_build WHERE table_name = ?",
        (transform.table,),
    ).fetchall()
    added = sum(is_added for _, is_added, _ in builds)
    different = [f"{day}: {difference}" for day, _, difference in builds if difference is not None]
    return Finding(
        passed=not different,
        description=f"{added} days have events that were added to their last build,"
        f" {len(different)} days differed when they were computed."
        + (" Compute them with `purchases backfill --force`." if different else ""),
        numbers={"added": added, "different": len(different)},
        examples=tuple(different[:EXAMPLES]),
    )


def check_unchanged(
    connection: StoreConnection, _: CheckContext, transform: AnyTransform
) -> Finding:
    """Compare the digest of each partition's rows with the digest of its build."""
    order = ", ".join(f'"{name}"' for name in transform.key)
    where = "WHERE day = ?" if transform.by_day else ""
    query = f"SELECT * FROM {transform.table} {where} ORDER BY {order}"
    builds = connection.execute(
        "SELECT partition, digest FROM table_build WHERE table_name = ?", (transform.table,)
    ).fetchall()
    changed = [
        partition
        for partition, built in builds
        for values in [(partition,) if transform.by_day else ()]
        if digest(transform, connection.execute(query, values).fetchall()) != built
    ]
    return Finding(
        passed=not changed,
        description=f"The rows of {len(builds) - len(changed)} partitions are as they were built,"
        f" {len(changed)} were changed since.",
        numbers={"unchanged": len(builds) - len(changed), "changed": len(changed)},
        examples=tuple(f"{partition} was changed." for partition in changed[:EXAMPLES]),
    )


def check_recomputed(connection: StoreConnection, context: CheckContext) -> Finding:
    """Recompute totals, items and ledger from the events, by code that the stream does not use."""
    try:
        show_archived(connection, open_column_store(context.settings))
    except PurchasesError as error:
        return Finding(passed=False, description=str(error))
    days = check_days(connection, context.settings.zone)
    checks = [check_totals(connection), check_items(connection), days]
    differing = sum(check.differing for check in checks)
    compared = sum(check.compared for check in checks)
    return Finding(
        passed=not differing,
        description=f"{compared} figures were recomputed from the events, {differing} differ.",
        numbers={"compared": compared, "different": differing},
        examples=tuple(sentence for check in checks for sentence in check.examples),
    )


def check_on_time(
    connection: StoreConnection, context: CheckContext, transform: AnyTransform
) -> Finding:
    """Find days with an event that has waited too long: 30 minutes for today, 10 for a past day."""
    behind = [s for s in _read_stale(connection, context) if s.table == transform.table]
    waits = {s.partition: _read_late_seconds(connection, s, context) for s in behind}
    late = {partition: seconds for partition, seconds in waits.items() if seconds}
    return Finding(
        passed=not late,
        description=f"{len(behind)} partitions are behind the stream, {len(late)} for too long.",
        numbers={
            "behind": len(behind),
            "late": len(late),
            "longest_seconds": round(max(late.values(), default=0.0), 1),
        },
        examples=tuple(
            f"{day} has waited for {seconds / 60:.0f} minutes."
            for day, seconds in list(late.items())[:EXAMPLES]
        ),
        is_warning=True,
    )


def _read_stale(connection: StoreConnection, context: CheckContext) -> Sequence[StalePartition]:
    """Read the stale partitions, without days that have no partition in Dagster."""
    first, last = context.history.iso_bounds()
    return [
        stale
        for stale in read_stale_partitions(connection, code_versions(context.settings))
        if stale.partition == WHOLE or first <= stale.partition <= last
    ]


def _read_late_seconds(
    connection: StoreConnection, stale: StalePartition, context: CheckContext
) -> float:
    """Return how long (s) the oldest event has waited if that is too long, else 0.

    Today's limit holds for whole tables too. If only the text of a `.sql` file was edited, no event
    waits.
    """
    if stale.version == stale.built_version:
        return 0.0
    is_past = stale.partition < context.history.last.isoformat()
    limit = (PAST_DAY_SECONDS if is_past else TODAY_SECONDS) * MICROS
    # No event waits for longer than since the build: most partitions need no read of the events.
    if context.now - (stale.built_at or 0) <= limit:
        return 0.0
    waited = context.now - _read_waiting_since(connection, stale, context)
    return waited / MICROS if waited > limit else 0.0


def _read_waiting_since(
    connection: StoreConnection, stale: StalePartition, context: CheckContext
) -> int:
    """Return when (µs) the first event was processed that the build lacks, or the build's own time.

    If there is no such event, as after a correction, it is the partition's last change. Events of a
    log that was given up do not count: what the build has of them is not known any more.
    """
    build = connection.execute(
        "SELECT stream_offsets FROM table_build WHERE table_name = ? AND partition = ?",
        (stale.table, stale.partition),
    ).fetchone()
    window = (-(2**63), 2**63 - 1)
    if stale.partition != WHOLE:
        window = day_window(date.fromisoformat(stale.partition), context.settings.zone)
    # The build's offsets say which events it has: `analytics-0` is the next of partition 0. If they
    # are of a log that was given up, the times say it.
    topic = f"{Names.of(context.settings).analytics}-"
    offsets = json.loads(build[0]) if build else {}
    built = {int(n.removeprefix(topic)): at for n, at in offsets.items() if n.startswith(topic)}
    next_offset = "0"
    if built:
        next_offset = f"CASE stream_partition{' WHEN ? THEN ?' * len(built)} ELSE 0 END"
    row = connection.execute(
        "SELECT min(processed_at) FROM analytics_event WHERE event_time >= ? AND event_time < ?"
        f" AND stream_partition >= 0 AND (stream_offset >= {next_offset} OR processed_at > ?)",
        (*window, *chain.from_iterable(built.items()), stale.built_at or 0),
    ).fetchone()
    return max(stale.changed_at if row[0] is None else row[0], stale.built_at or 0)


_FIGURES: Final = f"events, items_sold, {UNITS} AS units, {REST} AS rest"
_SUMS: Final = (
    f"sum(events) AS events, sum(items_sold) AS items_sold, sum({UNITS}) AS units,"
    f" sum({REST}) AS rest"
)
_BUILT: Final = (
    "coalesce(s.events, 0), coalesce(s.items_sold, 0), coalesce(s.units, 0), coalesce(s.rest, 0)"
)
# The second half finds rows of days that the stream never counted.
_PARITY_OF_DAYS: Final = f"""
SELECT l.day, {_BUILT}, l.events, l.items_sold, l.units, l.rest
FROM (SELECT day, version, {_FIGURES} FROM day_ledger) l
JOIN table_build b ON b.table_name = :table AND b.partition = CAST(l.day AS TEXT)
  AND b.version = l.version
LEFT JOIN (SELECT day, {_SUMS} FROM {{table}} GROUP BY day) s ON s.day = l.day
UNION ALL
SELECT day, {_SUMS}, 0, 0, 0, 0
FROM {{table}} WHERE day NOT IN (SELECT day FROM day_ledger) GROUP BY day
"""
_PARITY_OF_ALL: Final = f"""
SELECT b.partition, {_BUILT}, t.events, t.items_sold, t.units, t.rest
FROM (SELECT {_FIGURES} FROM live_totals) t
JOIN table_build b ON b.table_name = :table AND b.version = t.events + {{corrections}}
CROSS JOIN (SELECT {_SUMS} FROM {{table}}) s
"""
# Events alone: the stream counts those of guests, but no other sum without them.
_PARITY_OF_CUSTOMERS: Final = """
SELECT b.partition, coalesce(sum(s.events), 0), 0, 0, 0, t.events - t.guest_events, 0, 0, 0
FROM live_totals t
JOIN table_build b ON b.table_name = :table AND b.version = t.events + {corrections}
LEFT JOIN {table} s ON true GROUP BY b.partition, t.events, t.guest_events
"""
