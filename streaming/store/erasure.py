"""Erasure: the correction that replaces a person's user and orders in all that is stored.

One transaction changes events, dead letters and tables, gives each day it touches a new version,
and leaves a row in `erasure` without any name. Which names are erased, and what stands for them, is
in `pseudonyms`; the consumer replaces them in what it stores later.
"""

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import structs

from streaming.errors import NotFound, UsageError
from streaming.events.identifiers import event_id_text
from streaming.settings import Settings
from streaming.store.archive import with_rows
from streaming.store.archived_names import (
    orders_of,
    require_same_archive,
    return_erased,
    return_named,
    show_named,
)
from streaming.store.column_files import forget_days
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.deployment import recorded_deployment
from streaming.store.free_space import overwrite_free_space
from streaming.store.kept_columns import destroy_named, remove_unlisted
from streaming.store.live_totals import read_version
from streaming.store.named_rows import NamedRows, find_named_rows, list_names, rename_rows
from streaming.store.pseudonyms import (
    DROPPED,
    ERASED,
    KINDS,
    Erasure,
    ErasureList,
    ListedErasure,
    Pseudonyms,
    new_erasure_list,
    read_erasure_list,
    read_pseudonyms,
    write_erasure_list,
)
from streaming.store.rows import STORED, day_cutter
from streaming.store.sql_tables import forget_sql_days
from streaming.store.table_dialect import dialect_of
from streaming.system.home import Home

# The order of the columns is that of `_Event`.
EVENTS: Final = (
    "SELECT rowid, event_id, event_time, (SELECT name FROM source_topic t"
    " WHERE t.id = source_topic), source_partition, source_offset, source_timestamp,"
    ' "user", order_id FROM analytics_event'
    ' WHERE "user" IN (SELECT name FROM erased_user)'
    " OR order_id IN (SELECT name FROM erased_order)"
)


@dataclass(frozen=True)
class ErasureResult:
    """The erasure, whose row is its proof; without `apply` it counts what would be replaced.

    `with_user` counts events of an erased order that keep their user. `is_overwritten` says that
    the file holds the names in no free space either; a server may. `is_new` is False if all was
    erased before. `destroyed` counts the files of the archive that held the names: backups may need
    them.
    """

    erasure: Erasure
    with_user: int
    is_new: bool
    is_overwritten: bool
    destroyed: int = 0


@dataclass(frozen=True)
class _Event:
    rowid: int
    event_id: bytes
    event_time: int
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp: int
    user: str | None
    order: str | None


@dataclass(frozen=True)
class _DeadLetter:
    topic_id: str
    partition: int
    offset: int
    key: str | None


@dataclass(frozen=True)
class _Changes:
    """The events and dead letters as they become, and the names of tables."""

    events: Sequence[_Event]
    dead_letters: Sequence[_DeadLetter]
    names: Sequence[NamedRows]

    def __bool__(self) -> bool:
        return bool(self.events or self.dead_letters or self.names)


def erase(settings: Settings, user: str | None, order: str | None, *, apply: bool) -> ErasureResult:
    """Replace a user with all its orders, or one order; unless `apply`, only count them.

    If it is killed in between, the next start completes it. Raises `NotFound` if nothing that is
    stored names it and it was not erased before, `UsageError` for a pseudonym, and what
    `read_pseudonyms` and `write_store` do.
    """
    return with_rows(settings, lambda: _erase(settings, user, order, apply=apply))


def _erase(
    settings: Settings, user: str | None, order: str | None, *, apply: bool
) -> ErasureResult:
    path = Home(settings.home).erasures
    opened = write_store if apply else partial(read_store, temporary=True)
    # Before the write lock, because days become rows again in transactions of their own.
    archive = return_named(settings, user, order) if apply else None
    with opened(settings) as store:
        require_same_archive(store, archive)
        if not apply:
            show_named(store, settings, user, order)
        before = read_pseudonyms(path, erasure_ids(store))
        if {user, order} & before.erased:
            raise UsageError("That is a pseudonym already: nobody can be told from it.")
        erasures = read_erasure_list(path) or new_erasure_list()
        pseudonyms = structs.replace(before, key=bytes.fromhex(erasures.key))
        users = [user] if user is not None else []
        orders = [order] if order is not None else orders_of(store, user)
        added = {pseudonyms.of("user", name) for name in users}
        added |= {pseudonyms.of("order", name) for name in orders if name not in before.erased}
        after = structs.replace(pseudonyms, erased=before.erased | added)
        changes = _find_changes(store, after, users, orders)
        # Nothing to change is a repetition if the names were erased before, else a mistake.
        is_new = bool(changes) or not added <= before.erased
        if not changes and is_new:
            raise NotFound(
                f"Nothing that is stored names the {f'user {user}' if users else f'order {order}'};"
                " check how it is written."
            )
        day_of = day_cutter(_zone(store, settings))
        erasure = _make_erasure(changes, day_of, len(users), len(added) - len(users))
        if apply and is_new:
            _apply(store, changes, settings)
            _record(store, erasure)
            # Before the commit: a consumer that sees the row finds the pseudonyms.
            listed = ListedErasure(erasure, sorted(added - before.erased))
            listed_all = structs.replace(erasures, erasures=[*erasures.erasures, listed])
            write_erasure_list(path, listed_all)
        destroyed = destroy_named(store, Home(settings.home), after) if apply else 0
    with_user = 0 if users else sum(event.user is not None for event in changes.events)
    is_overwritten = apply and overwrite_free_space(settings.database)
    # Last, because a bucket may not answer: the next seal removes the copies then.
    if apply:
        remove_unlisted(settings)
    return ErasureResult(erasure, with_user, is_new, is_overwritten, destroyed)


def _make_erasure(
    changes: _Changes, day_of: Callable[[int], str], users: int, orders: int
) -> Erasure:
    """Return a new erasure of so many names, which changes these rows."""
    return Erasure(
        id=str(uuid.uuid4()),
        erased_at=time.time_ns() // 1000,
        users=users,
        orders=orders,
        events=len(changes.events),
        days=len({day_of(event.event_time) for event in changes.events}),
        dead_letters=len(changes.dead_letters),
        table_rows=len(changes.names),
    )


def apply_again(settings: Settings) -> list[Erasure]:
    """Apply the erasures of the home that the database does not have, and return them.

    So it is with a restored backup, and with a new database. Raises what
    `write_store` does.
    """
    erasures = read_erasure_list(Home(settings.home).erasures)
    if erasures is None or not _has_missing_erasures(settings, erasures):
        return []
    missing = with_rows(settings, lambda: _apply_missing(settings, erasures))
    overwrite_free_space(settings.database)
    remove_unlisted(settings)
    return missing


def _apply_missing(settings: Settings, erasures: ErasureList) -> list[Erasure]:
    archive = return_erased(settings, erasures)
    with write_store(settings) as store:
        require_same_archive(store, archive)
        ids = erasure_ids(store)
        missing = [each for each in erasures.erasures if each.erasure.id not in ids]
        pseudonyms = erasures.pseudonyms({each.erasure.id for each in missing})
        # Only the rows themselves still tell which names these are.
        users, orders = (
            [
                name
                for name in list_names(store, "analytics_event", column)
                if pseudonyms.of_erased(kind, name)
            ]
            for column, kind in KINDS.items()
        )
        _apply(store, _find_changes(store, pseudonyms, users, orders), settings)
        for each in missing:
            _record(store, each.erasure)
        destroy_named(store, Home(settings.home), erasures.all_pseudonyms())
    return [each.erasure for each in missing]


def erasure_ids(store: StoreConnection) -> set[str]:
    """Return the ids of the erasures that the database has."""
    return {row[0] for row in store.execute("SELECT id FROM erasure")}


def _has_missing_erasures(settings: Settings, erasures: ErasureList) -> bool:
    with read_store(settings) as store:
        return not {each.erasure.id for each in erasures.erasures} <= erasure_ids(store)


def _find_changes(
    store: StoreConnection, pseudonyms: Pseudonyms, users: Collection[str], orders: Collection[str]
) -> _Changes:
    """Return what is to be replaced; `users` and `orders` are the names of erased pseudonyms."""
    for table, erased in (("erased_user", users), ("erased_order", orders)):
        dialect_of(store).create_temporary(store, table, {"name": str}, ["name"])
        dialect_of(store).fill_table(
            store, table, ["name"], [(name,) for name in sorted(set(erased))]
        )
    events = [
        _Event(*[*row[:7], *pseudonyms.replace_names(*row[7:])]) for row in store.execute(EVENTS)
    ]
    dead_letters = [
        _DeadLetter(*[*row[:3], pseudonyms.of_erased_key(row[3]) or row[3]])
        for row in store.execute(
            "SELECT origin_topic_id, origin_partition, origin_offset, key, detail FROM dead_letter"
        )
        if pseudonyms.of_erased_key(row[3]) or pseudonyms.is_named(row[4])
    ]
    return _Changes(events, dead_letters, find_named_rows(store, pseudonyms))


def _apply(store: StoreConnection, changes: _Changes, settings: Settings) -> None:
    """Replace the names; the figures stay as they are, and the days they are in become stale."""
    now = time.time_ns() // 1000
    _correct(store, changes.events, day_cutter(_zone(store, settings)), now)
    store.executemany(
        # A stored one stays stored, as its event does. Any other is dropped, so that nobody sends
        # the name again.
        "UPDATE dead_letter SET key = ?, detail = ?,"
        " dropped_because = CASE WHEN state = ? THEN dropped_because ELSE ? END,"
        " state = CASE WHEN state = ? THEN state ELSE ? END"
        " WHERE origin_topic_id = ? AND origin_partition = ? AND origin_offset = ?",
        [
            (x.key, ERASED, STORED, ERASED, STORED, DROPPED, x.topic_id, x.partition, x.offset)
            for x in changes.dead_letters
        ],
    )
    rename_rows(store, changes.names)


def _correct(
    store: StoreConnection, events: Sequence[_Event], day_of: Callable[[int], str], now: int
) -> None:
    if not events:
        return
    store.executemany(
        'UPDATE analytics_event SET "user" = ?, order_id = ? WHERE rowid = ?',
        [(event.user, event.order, event.rowid) for event in events],
    )
    days = [day_of(event.event_time) for event in events]
    store.executemany(
        "INSERT INTO correction (id, kind, event_id, day_before, day, source_topic,"
        " source_partition, source_offset, source_timestamp, corrected_at) VALUES"
        " ((SELECT coalesce(max(id), 0) + 1 FROM correction), 'erasure', ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                event_id_text(event.event_id),
                day,
                day,
                event.source_topic,
                event.source_partition,
                event.source_offset,
                event.source_timestamp,
                now,
            )
            for event, day in zip(events, days, strict=True)
        ],
    )
    forget_days(store, days)
    # A table of a file may show users under any name, so its days go (docs/decisions/0060).
    forget_sql_days(store, days)
    # A day of a newer version than its build is built again, though its sums are the same.
    version = read_version(store)
    store.executemany(
        "UPDATE day_ledger SET version = ?, changed_at = ? WHERE day = ?",
        [(version, now, day) for day in sorted(set(days))],
    )
    store.execute("UPDATE live_totals SET changed_at = ?", (now,))


def _record(store: StoreConnection, erasure: Erasure) -> None:
    store.execute("INSERT INTO erasure VALUES (?, ?, ?, ?, ?, ?, ?, ?)", structs.astuple(erasure))


def _zone(store: StoreConnection, settings: Settings) -> ZoneInfo:
    recorded = recorded_deployment(store)
    return settings.zone if recorded is None else ZoneInfo(recorded.timezone)
