"""The one writer of a batch: rows, dead letters, totals, ledger and positions, or nothing.

Everything happens in the caller's transaction, and nobody else inserts an event. What a batch adds
is computed in `rows`; what a person changes is in `dead_letters`, `offsets` and `rebuild`.
"""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from msgspec import Struct
from sqlalchemy import ColumnClause, Connection, Engine, case, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert

from streaming.events.identifiers import event_id_text
from streaming.events.record import TopicPartition
from streaming.events.refusal import Reason
from streaming.store.advances import Advance, Counts, Source, advance_positions
from streaming.store.archived_ids import find_archived, require_rows, with_archived
from streaming.store.column_files import FORGET_DAY
from streaming.store.engine import RepeatedIds, is_postgres, lock_figures, lock_store, share_store
from streaming.store.figures import SELECT_IDS, add_figures, compile_insert, item_values
from streaming.store.models import Table
from streaming.store.rows import (
    EVENT_ID,
    EVENT_TIME,
    ITEM,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    SOURCE_TIMESTAMP,
    SOURCE_TOPIC,
    STORED,
    STREAM_PARTITION,
    DeadLetterUpdate,
    EventRow,
    Resolution,
    deltas,
    difference,
    event_id_of,
    resolve,
)

ROWS_TOGETHER: Final = 400
"""Events in one INSERT: 400 rows of 19 columns are 7,600 of SQLite's 32,766 parameters."""


class BatchRows(Struct, frozen=True):
    """The events in the order of reading, the dead letters, and how far each partition was read."""

    events: list[EventRow]
    dead_letters: list[DeadLetterUpdate]
    advances: dict[TopicPartition, Advance]


class StoredBatch(Struct, frozen=True):
    """The events that a batch stored, the number of duplicates, and of conflicting ones in them."""

    new: list[EventRow]
    duplicates: int
    conflicting: int


class Write(Protocol):
    """What writes within a transaction, `alone` or while other consumers do."""

    def __call__(self, connection: Connection, *, alone: bool) -> StoredBatch:
        """Write by `write_batch`."""


def write_in_transaction(engine: Engine, write: Write, *, alone: bool) -> StoredBatch:
    """Call `write` with a transaction, and return what it does.

    On PostgreSQL consumers write together as long as all ids are new, and are committed one by one.
    Nobody else changes events meanwhile. If `write` raises `RepeatedIds`, it is called again in a
    transaction that is the only one to write, as it is at once if the caller says `alone`. Raises
    what `write` does.
    """
    if not alone:
        with suppress(RepeatedIds), engine.begin() as connection:
            share_store(connection)
            return write(connection, alone=False)
    with engine.begin() as connection:
        lock_store(connection)
        return write(connection, alone=True)


def write_batch(  # noqa: PLR0913 - what is written, and how
    connection: Connection,
    batch: BatchRows,
    source: Source,
    day_of: Callable[[int], str],
    clock: Callable[[], int],
    *,
    alone: bool,
) -> StoredBatch:
    """Write a batch in a transaction of `write_in_transaction`.

    `day_of` returns the ISO date of a time in µs, `clock` such a time. Raises `RepeatedIds` if it
    must be written `alone`, `PositionTaken` if a position is not the expected one, and
    `DaysArchived` if an archived event would change; the caller then rolls back.
    """
    # In the order of the index, which saves a fifth of the database's time. Of one id, the first
    # that was read stays the first.
    rows, ordered = batch.events, sorted(batch.events, key=event_id_of)
    # Before other consumers wait for this one. What fewer events add is computed again.
    added = deltas(rows, day_of)
    items = item_values(connection, added)
    # Events first: which of them are new decides all figures and counts below.
    archived = find_archived(connection, batch.events)
    if archived:
        # Their ids are taken, but no row is there to refuse them.
        rows, ordered = (
            [row for row in r if row[EVENT_ID] not in archived] for r in (rows, ordered)
        )
    changes = _insert_events(connection, rows, ordered, alone=alone)
    lock_figures(connection)
    # So batches have these times in the order of their commits.
    now = clock()
    if archived:
        changes = with_archived(changes, batch.events, archived)
    if changes.updates:
        require_rows(connection, changes, day_of)
        connection.exec_driver_sql(
            _UPDATE_EVENT, [(*row, row[EVENT_ID]) for row in changes.updates]
        )
    # Only a correction needs the rows that it replaces; nearly every batch just adds.
    if changes.corrections:
        _correct(connection, changes, day_of, now)
    elif changes.new:
        if len(changes.new) == len(batch.events):
            add_figures(connection, added, now, items)
        else:
            add_figures(connection, deltas(changes.new, day_of), now)
    _upsert_dead_letters(connection, batch.dead_letters)
    counts = Counts(
        duplicates=_by_partition(source.analytics, changes.duplicates),
        conflicting=_by_partition(source.analytics, changes.conflicting),
        # Read, but neither stored nor duplicate: a partition's counts add up to its records.
        not_storable=Counter(
            (row.origin.topic, row.origin.partition)
            for row in batch.dead_letters
            if row.reason == Reason.NOT_STORABLE
        ),
    )
    advance_positions(connection, source, batch.advances, counts, now)
    return StoredBatch(changes.new, len(changes.duplicates), len(changes.conflicting))


def changed_erasure_ids(connection: Connection, counted: int) -> set[str] | None:
    """Return the ids of the erasures, None if they are still as many: none is ever deleted."""
    if connection.exec_driver_sql("SELECT count(*) FROM erasure").scalar_one() == counted:
        return None
    return set(connection.exec_driver_sql("SELECT id FROM erasure").scalars())


_EVENT: Final = Table.metadata.tables["analytics_event"]
_DEAD_LETTER: Final = Table.metadata.tables["dead_letter"]


def _upsert_dead_letter() -> Insert:
    """Build the upsert of a dead letter, which results in the same row in either order of reading.

    The last dead letter of an origin describes it: the last of its partition, or the one of more
    attempts if they are in several. `stored` wins, `attempts` is the maximum.
    """
    statement = insert(_DEAD_LETTER)
    old, new = _DEAD_LETTER.c, statement.excluded
    same_log = new.dlq_partition == old.dlq_partition
    beside = tuple_(new.attempts, new.dlq_partition) > tuple_(old.attempts, old.dlq_partition)
    # An update that says `stored` comes with an event, and brings no dead letter to describe.
    later = new.dlq_offset.is_not(None) & (
        old.dlq_offset.is_(None) | case((same_log, new.dlq_offset > old.dlq_offset), else_=beside)
    )
    described = ("reason", "detail", "key", "refused_at", "dlq_partition", "dlq_offset")
    chosen: dict[str, Any] = {name: case((later, new[name]), else_=old[name]) for name in described}
    # Dropped was the dead letter of that moment: a later refusal, or a store, makes it void.
    chosen["dropped_because"] = case(
        ((new.state == STORED) | (new.attempts > old.attempts), new.dropped_because),
        else_=old.dropped_because,
    )
    chosen["attempts"] = case((new.attempts > old.attempts, new.attempts), else_=old.attempts)
    # What a person did (`redriven`, `dropped`) holds until the purchase is refused again or stored.
    chosen["state"] = case(
        ((old.state == STORED) | (new.state == STORED), STORED),
        (new.attempts > old.attempts, new.state),
        else_=old.state,
    )
    return statement.on_conflict_do_update(
        index_elements=["origin_topic_id", "origin_partition", "origin_offset"], set_=chosen
    )


def _together(statement: str, rows: int) -> str:
    """Return the insert of many rows at once, which takes a fifth less than one by one."""
    # By text, because SQLAlchemy takes rows as dictionaries: a conversion for every event.
    head, row, tail = re.split(r"(?<=VALUES )(\([?, ]+\))", statement)
    return head + ", ".join([row] * rows) + tail


_INSERT_EVENT: Final = compile_insert(
    insert(_EVENT).on_conflict_do_nothing(index_elements=["event_id"])
)
_INSERT_EVENTS: Final = _together(_INSERT_EVENT, ROWS_TOGETHER)
_DELETE_EMPTY_ITEM: Final = "DELETE FROM live_item_totals WHERE item = ? AND events = 0"
_INSERT_CORRECTION: Final = (
    # Numbered here: a sequence of PostgreSQL leaves gaps, and the last number is their count.
    "INSERT INTO correction (id, kind, event_id, day_before, day, source_topic, source_partition,"
    " source_offset, source_timestamp, corrected_at)"
    " VALUES ((SELECT coalesce(max(id), 0) + 1 FROM correction), 'conflict', ?, ?, ?,"
    " (SELECT name FROM source_topic WHERE id = ?), ?, ?, ?, ?)"
)
_EVENT_VALUES: Final = ", ".join(f'"{column.name}" = ?' for column in _EVENT.columns)
_UPDATE_EVENT: Final = f"UPDATE analytics_event SET {_EVENT_VALUES} WHERE event_id = ?"
_UPSERT_DEAD_LETTER: Final = _upsert_dead_letter()
_DEAD_LETTER_COLUMNS: Final = tuple(column.name for column in _DEAD_LETTER.columns)
# The key of `analytics_event` is no number, so its rows are numbered beside it, in the order of
# storing: by SQLite itself, on PostgreSQL by a column.
_ROWID: Final[ColumnClause[int]] = literal_column("rowid")
_LAST_ROWID: Final = select(func.coalesce(func.max(_ROWID), 0)).select_from(_EVENT)


def _insert_events(
    connection: Connection, rows: list[EventRow], ordered: list[EventRow], *, alone: bool
) -> Resolution:
    """Insert the rows whose ids are new, in their order by id; return what else the rows change.

    Nearly always all are new, which inserting itself finds out. Else the ids that were stored
    before are looked up. A new row's rowid is above those of all batches that were committed
    before.
    """
    if not rows:
        return Resolution([], [], [], [], [])
    if not alone and is_postgres(connection):
        from streaming.store.postgres_rows import copy_events

        copy_events(connection, ordered)
        return Resolution(rows, [], [], [], [])
    # Before the insert, so that it parts the rows of this batch from those of earlier ones.
    last = connection.execute(_LAST_ROWID).scalar_one()
    if _insert_new(connection, ordered) == len(rows):
        return Resolution(rows, [], [], [], [])
    return resolve(rows, _stored_rows(connection, rows, last))


def _insert_new(connection: Connection, ordered: list[EventRow]) -> int:
    """Insert the rows whose ids are new; return how many were.

    Hundreds with one statement, which saves a fifth of the time.
    """
    if is_postgres(connection):
        from streaming.store.postgres_rows import insert_events

        return insert_events(connection, ordered)
    together = len(ordered) - len(ordered) % ROWS_TOGETHER
    inserted = 0
    for start in range(0, together, ROWS_TOGETHER):
        # A list grows faster than `chain` is read into a tuple.
        values: list[object] = []
        for row in ordered[start : start + ROWS_TOGETHER]:
            values += row
        inserted += connection.exec_driver_sql(_INSERT_EVENTS, tuple(values)).rowcount
    if together < len(ordered):
        inserted += connection.exec_driver_sql(_INSERT_EVENT, ordered[together:]).rowcount
    return inserted


def _stored_rows(connection: Connection, rows: list[EventRow], last: int) -> dict[bytes, EventRow]:
    """Look up the rows of the rows' ids that were stored up to the rowid `last`."""
    stored: dict[bytes, EventRow] = {}
    for start in range(0, len(rows), SELECT_IDS):
        ids = [row[EVENT_ID] for row in rows[start : start + SELECT_IDS]]
        # The batch's own rows are in the table by now, and would look like stored ones.
        statement = select(_EVENT).where(_EVENT.c.event_id.in_(ids), last >= _ROWID)
        # So that corrections have the same numbers in every database.
        statement = statement.order_by(_EVENT.c.event_id)
        result = connection.execute(statement)
        stored.update({row[EVENT_ID]: cast("EventRow", tuple(row)) for row in result})
    return stored


def _correct(
    connection: Connection, changes: Resolution, day_of: Callable[[int], str], now: int
) -> None:
    """Record the corrections, and add the difference to the figures with what is new."""
    connection.exec_driver_sql(
        _INSERT_CORRECTION,
        [
            (
                event_id_text(row[EVENT_ID]),
                day_of(row[EVENT_TIME]),
                day_of(winner[EVENT_TIME]),
                row[SOURCE_TOPIC],
                row[SOURCE_PARTITION],
                row[SOURCE_OFFSET],
                row[SOURCE_TIMESTAMP],
                now,
            )
            for row, winner in changes.corrections
        ],
    )
    replaced = [row for row, _ in changes.corrections]
    added = [*changes.new, *(winner for _, winner in changes.corrections)]
    add_figures(connection, difference(deltas(added, day_of), deltas(replaced, day_of)), now)
    days = {day_of(row[EVENT_TIME]) for pair in changes.corrections for row in pair}
    # Column files are copies of what was stored before, so builds must read the rows of these days.
    connection.exec_driver_sql(FORGET_DAY, [(day,) for day in sorted(days)])
    # Read in another order, this item would have had no row.
    connection.exec_driver_sql(_DELETE_EMPTY_ITEM, [(row[ITEM],) for row in replaced])


def _upsert_dead_letters(connection: Connection, dead_letters: list[DeadLetterUpdate]) -> None:
    for dead_letter in dead_letters:
        values = dict(zip(_DEAD_LETTER_COLUMNS, dead_letter.values(), strict=True))
        connection.execute(_UPSERT_DEAD_LETTER, values)


def _by_partition(topic: str, rows: list[EventRow]) -> Counter[TopicPartition]:
    return Counter((topic, row[STREAM_PARTITION]) for row in rows)
