"""What the batch computed against what the stream counted, and against the events themselves.

Every function reads inside the caller's snapshot, and gives a `Finding`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from assets.builds.staleness import Difference, read_differences
from assets.builds.writer import digest
from assets.checks.finding import EXAMPLES, Finding, Scene
from assets.tables.calendar import day_window
from assets.tables.models import WHOLE
from assets.tables.transforms import Transform
from streaming.kafka.names import Names
from streaming.store.connection import StoreConnection
from streaming.verification.database_checks import check_days, check_items, check_totals

PAST_DAY_SECONDS: Final = 10 * 60
TODAY_SECONDS: Final = 30 * 60
SECOND: Final = 1_000_000
FIGURES: Final = ("events", "items_sold", "net_revenue_micros")


def parity(connection: StoreConnection, scene: Scene, transform: Transform) -> Finding:
    """Compare the sums of each partition with the stream's figures, where versions are equal.

    A partition that is behind is pending, and not wrong.
    """
    statement = _PARITY_OF_DAYS if transform.by_day else _PARITY_OF_ALL
    if not transform.guests:
        statement = _PARITY_OF_CUSTOMERS
    query = statement.format(table=transform.table)
    rows = connection.execute(query, {"table": transform.table}).fetchall()
    wrong = [row for row in rows if row[1:4] != row[4:7]]
    pending = [d for d in _behind(connection, scene) if d.table == transform.table]
    examples = [
        f"{partition}: {', '.join(map(str, found))} {', '.join(FIGURES)}, the stream counted"
        f" {', '.join(map(str, counted))}."
        for partition, *figures in wrong[:EXAMPLES]
        for found, counted in [(figures[:3], figures[3:])]
    ]
    return Finding(
        well=not wrong,
        sentence=f"{len(rows) - len(wrong)} partitions equal the stream's figures,"
        f" {len(wrong)} differ, {len(pending)} are behind and pending.",
        numbers={"equal": len(rows) - len(wrong), "different": len(wrong), "pending": len(pending)},
        examples=tuple(examples),
    )


def unchanged(connection: StoreConnection, _: Scene, transform: Transform) -> Finding:
    """Compare the digest of each partition's rows with the one of its build."""
    order = ", ".join(f'"{name}"' for name in transform.key)
    where = "WHERE day = ?" if transform.by_day else "WHERE ? IS NOT NULL"
    query = f"SELECT * FROM {transform.table} {where} ORDER BY {order}"  # noqa: S608 - constants
    builds = connection.execute(
        "SELECT partition, digest FROM table_build WHERE table_name = ?", (transform.table,)
    ).fetchall()
    changed = [
        partition
        for partition, built in builds
        if digest(connection.execute(query, (partition,)).fetchall()) != built
    ]
    return Finding(
        well=not changed,
        sentence=f"The rows of {len(builds) - len(changed)} partitions are as they were built, of"
        f" {len(changed)} somebody changed them.",
        numbers={"unchanged": len(builds) - len(changed), "changed": len(changed)},
        examples=tuple(f"{partition} was changed." for partition in changed[:EXAMPLES]),
    )


def recomputed(connection: StoreConnection, scene: Scene) -> Finding:
    """Recompute totals, items and ledger from the events, by code that the stream does not use."""
    days = check_days(connection, scene.settings.zone)
    checks = [check_totals(connection), check_items(connection), days]
    differing = sum(check.differing for check in checks)
    compared = sum(check.compared for check in checks)
    return Finding(
        well=not differing,
        sentence=f"{compared} figures were computed again from the events, {differing} differ.",
        numbers={"compared": compared, "different": differing},
        examples=tuple(sentence for check in checks for sentence in check.examples),
    )


def on_time(connection: StoreConnection, scene: Scene, transform: Transform) -> Finding:
    """Find days of which an event has waited too long: today's 30 minutes, a past day's 10."""
    behind = [d for d in _behind(connection, scene) if d.table == transform.table]
    waited = {d.partition: _late_seconds(connection, d, scene) for d in behind}
    late = {partition: seconds for partition, seconds in waited.items() if seconds}
    return Finding(
        well=not late,
        sentence=f"{len(behind)} partitions are behind the stream, {len(late)} for too long.",
        numbers={
            "behind": len(behind),
            "late": len(late),
            "longest_seconds": round(max(late.values(), default=0.0), 1),
        },
        examples=tuple(
            f"{day} has waited for {seconds / 60:.0f} minutes."
            for day, seconds in list(late.items())[:EXAMPLES]
        ),
        warns=True,
    )


def _behind(connection: StoreConnection, scene: Scene) -> Sequence[Difference]:
    """Give the partitions whose build is not of the stream's version, without days out of range."""
    first, last = scene.first.isoformat(), scene.last.isoformat()
    return [
        difference
        for difference in read_differences(connection)
        if difference.partition == WHOLE or first <= difference.partition <= last
    ]


def _late_seconds(connection: StoreConnection, difference: Difference, scene: Scene) -> float:
    """Give for how long an event has waited where that is too long, else 0; the whole is as today.

    Only where the build is old enough the events are looked at.
    """
    past = difference.partition < scene.last.isoformat()
    limit = (PAST_DAY_SECONDS if past else TODAY_SECONDS) * SECOND
    if scene.now - (difference.built_at or 0) <= limit:
        return 0.0
    waited = scene.now - _waits_since(connection, difference, scene)
    return waited / SECOND if waited > limit else 0.0


def _waits_since(connection: StoreConnection, difference: Difference, scene: Scene) -> int:
    """Give when the first event was processed that the build does not have (µs).

    Never before the build itself. Where none is found, as after a change of the log, it is the
    time of the partition's last change.
    """
    build = connection.execute(
        "SELECT stream_offsets FROM table_build WHERE table_name = ? AND partition = ?",
        (difference.table, difference.partition),
    ).fetchone()
    window = (-(2**63), 2**63 - 1)
    if difference.partition != WHOLE:
        window = day_window(date.fromisoformat(difference.partition), scene.settings.zone)
    path = f'$."{Names.of(scene.settings).analytics}-'
    row = connection.execute(
        "SELECT min(processed_at) FROM analytics_event WHERE event_time >= ? AND event_time < ?"
        " AND stream_offset >= coalesce(json_extract(?, ? || stream_partition || '\"'), 0)",
        (*window, build[0] if build else "{}", path),
    ).fetchone()
    return max(difference.changed_at if row[0] is None else row[0], difference.built_at or 0)


_PARITY_OF_DAYS: Final = """
SELECT l.day, coalesce(s.events, 0), coalesce(s.items_sold, 0), coalesce(s.net_revenue_micros, 0),
  l.events, l.items_sold, l.net_revenue_micros
FROM day_ledger l
JOIN table_build b ON b.table_name = :table AND b.partition = CAST(l.day AS TEXT)
  AND b.version = l.version
LEFT JOIN (SELECT day, sum(events) AS events, sum(items_sold) AS items_sold,
  sum(net_revenue_micros) AS net_revenue_micros FROM {table} GROUP BY day) s ON s.day = l.day
UNION ALL
SELECT day, sum(events), sum(items_sold), sum(net_revenue_micros), 0, 0, 0
FROM {table} WHERE day NOT IN (SELECT day FROM day_ledger) GROUP BY day
"""
_PARITY_OF_ALL: Final = """
SELECT b.partition, coalesce(sum(s.events), 0), coalesce(sum(s.items_sold), 0),
  coalesce(sum(s.net_revenue_micros), 0), t.events, t.items_sold, t.net_revenue_micros
FROM live_totals t
JOIN table_build b ON b.table_name = :table AND b.version = t.events
LEFT JOIN {table} s GROUP BY b.partition
"""
_PARITY_OF_CUSTOMERS: Final = """
SELECT b.partition, coalesce(sum(s.events), 0), 0, 0, t.events - t.guest_events, 0, 0
FROM live_totals t
JOIN table_build b ON b.table_name = :table AND b.version = t.events
LEFT JOIN {table} s GROUP BY b.partition
"""
