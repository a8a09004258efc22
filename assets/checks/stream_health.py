"""How the stream is that the batch half lives on: what is refused, repeated, late or out of range.

Every function reads inside the caller's snapshot, and gives a `Finding`.
"""

from typing import Final

from assets.builds.event_reader import read_ledger
from assets.builds.staleness import days_out_of_range
from assets.checks.finding import EXAMPLES, Finding, Scene
from streaming.errors import PurchasesError
from streaming.kafka.lag import read_lag
from streaming.kafka.names import Names
from streaming.store.backup import require_integrity
from streaming.store.connection import StoreConnection
from streaming.store.deployment import recorded_deployment
from streaming.store.live_totals import stored_positions

LAG_DEADLINE_SECONDS: Final = 10.0
LAG_SECONDS: Final = 60.0
RECENT_EVENTS: Final = 10_000


def out_of_range(connection: StoreConnection, scene: Scene) -> Finding:
    """Count the events of days that have no partition: they are stored, but in no day table."""
    ledger = {day: counted.events for day, counted in read_ledger(connection).items()}
    first, last = scene.first, scene.last
    outside = days_out_of_range(ledger, first, last)
    events = sum(outside.values())
    return Finding(
        well=not events,
        sentence=f"{events} events lie outside {first} to {last}, the days that have partitions.",
        numbers={"events": events, "days": len(outside)},
        examples=tuple(
            f"{day}: {count} events." for day, count in list(outside.items())[:EXAMPLES]
        ),
        warns=True,
    )


def lag(connection: StoreConnection, scene: Scene) -> Finding:
    """Ask Kafka how far the stored events are behind the log; over a minute is too far."""
    settings = scene.settings
    names, deployment = Names.of(settings), recorded_deployment(connection)
    group = names.analytics_group(deployment.deployment_id if deployment else "")
    stored = stored_positions(connection, group, names.analytics)
    try:
        found = read_lag(settings, stored, LAG_DEADLINE_SECONDS)
    except PurchasesError as error:
        return Finding(well=False, sentence=f"The lag is unknown: {error}", warns=True)
    seconds = found.seconds
    return Finding(
        well=seconds is not None and seconds <= LAG_SECONDS,
        sentence=f"{found.records} records are not in the figures yet, the oldest of them for"
        f" {'an unknown time' if seconds is None else f'{seconds:.0f} s'}.",
        numbers={"records": found.records, **({} if seconds is None else {"seconds": seconds})},
        warns=True,
    )


def refusals(connection: StoreConnection, scene: Scene) -> Finding:
    """Compare the share of refused records with the usual, since the last 10,000 were stored."""
    share = scene.settings.refusal_share
    row = connection.execute(
        "SELECT count(*), coalesce(min(processed_at), 0) FROM analytics_event"
        " WHERE rowid > (SELECT max(rowid) FROM analytics_event) - ?",
        (RECENT_EVENTS,),
    ).fetchone()
    stored, since = row
    rows = connection.execute(
        "SELECT reason, count(*) FROM dead_letter WHERE state <> 'stored' AND refused_at >= ?"
        " GROUP BY reason ORDER BY count(*) DESC, reason",
        (since,),
    ).fetchall()
    refused = sum(count for _, count in rows)
    found = refused / max(stored + refused, 1)
    return Finding(
        well=found <= share,
        sentence=f"Of the last {stored + refused} records {refused} were refused"
        f" ({found:.1%}; {share:.1%} is usual).",
        numbers={"refused": refused, "share": round(found, 6)},
        examples=tuple(f"{reason}: {count}." for reason, count in rows[:EXAMPLES]),
        warns=True,
    )


def repeats(connection: StoreConnection, _: Scene) -> Finding:
    """Count the events that came again; those that came with other content need a look."""
    row = connection.execute(
        "SELECT coalesce(sum(records), 0), coalesce(sum(duplicates), 0),"
        " coalesce(sum(conflicting), 0) FROM stream_offset"
    ).fetchone()
    records, duplicates, conflicting = row
    return Finding(
        well=not conflicting,
        sentence=f"Of {records} records {duplicates} were known already, {conflicting} of them"
        " with another content; the first one stays.",
        numbers={"duplicates": duplicates, "conflicting": conflicting},
        warns=True,
    )


def integrity(connection: StoreConnection, scene: Scene) -> Finding:
    """Let SQLite look at every page of the database."""
    try:
        require_integrity(connection, scene.settings.database_path)
    except PurchasesError as error:
        return Finding(well=False, sentence=str(error))
    return Finding(well=True, sentence="Every page of the database is sound.")
