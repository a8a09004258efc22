"""Checks of the stream that the tables are built from: lag, refusals, duplicates, days, integrity.

Every function reads inside the caller's snapshot and returns a `Finding`. The comparison of tables
with the stream is in `reconciliation`.
"""

from typing import Final

from assets.builds.event_reader import read_ledger
from assets.builds.staleness import days_out_of_range
from assets.checks.finding import EXAMPLES, CheckContext, Finding
from streaming.errors import PurchasesError
from streaming.kafka.lag import read_lag
from streaming.kafka.names import Names
from streaming.store.backup import require_integrity
from streaming.store.connection import StoreConnection
from streaming.store.deployment import recorded_deployment
from streaming.store.offsets import next_offsets
from streaming.system.database import PostgresDatabase

LAG_DEADLINE_SECONDS: Final = 10.0
"""How long Kafka may take to answer; a check must not hold a run for longer."""
LAG_SECONDS: Final = 60.0
"""The lag that is reported: far above the latency of a stream that keeps up."""
RECENT_EVENTS: Final = 10_000
"""Over how many stored events the share of refusals is taken: enough for a share of 0.1 %."""


def check_out_of_range(connection: StoreConnection, context: CheckContext) -> Finding:
    """Count the events of days that have no partition: they are stored, but in no day table."""
    ledger = {day: figures.events for day, figures in read_ledger(connection).items()}
    history = context.history
    outside = days_out_of_range(ledger, history)
    events = sum(outside.values())
    return Finding(
        passed=not events,
        description=f"{events} events lie outside {history.first} to {history.last},"
        " the days that have partitions.",
        numbers={"events": events, "days": len(outside)},
        examples=tuple(
            f"{day}: {count} events." for day, count in list(outside.items())[:EXAMPLES]
        ),
        is_warning=True,
    )


def check_lag(connection: StoreConnection, context: CheckContext) -> Finding:
    """Measure the lag between the stored events and the log; more than a minute is a fault."""
    settings = context.settings
    names, deployment = Names.of(settings), recorded_deployment(connection)
    group = names.analytics_group(deployment.deployment_id if deployment else "")
    stored = next_offsets(connection, group, names.analytics)
    try:
        measured = read_lag(settings, stored, LAG_DEADLINE_SECONDS)
    except PurchasesError as error:
        return Finding(passed=False, description=f"The lag is unknown: {error}", is_warning=True)
    seconds = measured.seconds
    return Finding(
        passed=seconds is not None and seconds <= LAG_SECONDS,
        description=f"{measured.records} records are not in the figures yet, the oldest of them for"
        f" {'an unknown time' if seconds is None else f'{seconds:.0f} s'}.",
        numbers={"records": measured.records, **({} if seconds is None else {"seconds": seconds})},
        is_warning=True,
    )


def check_refusals(connection: StoreConnection, context: CheckContext) -> Finding:
    """Compare the share of refused records among the last 10,000 with the usual share."""
    usual_share = context.settings.refusal_share
    # Refusals are counted from the time of the oldest of these events: both cover one period.
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
    share = refused / max(stored + refused, 1)
    return Finding(
        passed=share <= usual_share,
        description=f"Of the last {stored + refused} records {refused} were refused"
        f" ({share:.1%}; {usual_share:.1%} is usual).",
        numbers={"refused": refused, "share": round(share, 6)},
        examples=tuple(f"{reason}: {count}." for reason, count in rows[:EXAMPLES]),
        is_warning=True,
    )


def check_repeats(connection: StoreConnection, _: CheckContext) -> Finding:
    """Count duplicates; those whose content conflicts with the stored event are a fault."""
    row = connection.execute(
        "SELECT coalesce(sum(records), 0), coalesce(sum(duplicates), 0),"
        " coalesce(sum(conflicting), 0) FROM stream_offset"
    ).fetchone()
    records, duplicates, conflicting = row
    return Finding(
        passed=not conflicting,
        description=f"Of {records} records {duplicates} were duplicates, {conflicting} of them with"
        " conflicting content; of each id the lowest source is stored.",
        numbers={"duplicates": duplicates, "conflicting": conflicting},
        is_warning=True,
    )


def check_integrity(connection: StoreConnection, context: CheckContext) -> Finding:
    """Check every page of a file, or ask a server what its checksums found so far."""
    database = context.settings.database
    if isinstance(database, PostgresDatabase):
        return _check_checksums(connection, database)
    try:
        require_integrity(connection, database)
    except PurchasesError as error:
        return Finding(passed=False, description=str(error))
    return Finding(passed=True, description="Every page of the database is sound.")


def _check_checksums(connection: StoreConnection, database: PostgresDatabase) -> Finding:
    (failures,) = connection.execute(
        "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    state = (
        "without checksums, so that nothing is known of its pages; its administrator may turn them"
        " on with pg_checksums"
        if failures is None
        else f"with checksums, of which {failures} were wrong so far"
    )
    return Finding(passed=not failures, description=f"{database} is {state}.")
