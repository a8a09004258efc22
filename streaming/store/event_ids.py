"""Which events are stored already: by id, or by content where an id was given by another rule."""

from collections.abc import Iterator, Sequence
from typing import Final

from streaming.events.identifiers import event_id_text, pack_event_id
from streaming.store.connection import StoreConnection

STORED_IDS: Final = (
    "WITH asked (id) AS (VALUES {marks})"
    " SELECT id FROM asked WHERE id IN (SELECT event_id FROM analytics_event)"
    " OR id IN (SELECT event_id FROM archived_event)"
)
ANY_BETWEEN: Final = (
    "SELECT EXISTS (SELECT 1 FROM analytics_event WHERE event_time BETWEEN ? AND ?)"
    " OR EXISTS (SELECT 1 FROM column_file"
    " WHERE archived > 0 AND last_event >= ? AND first_event <= ?)"
)
CONTENTS: Final = (
    'SELECT source_timestamp, event_time, "user", item, quantity, unit_price_micros, order_id,'
    " description, country FROM analytics_event WHERE event_time BETWEEN ? AND ?"
    # A derived id is of version 8.
    " AND length(event_id) = 16 AND substr(event_id, 7, 1) >= ? AND substr(event_id, 7, 1) < ?"
)

Content = tuple[int, str | None, str, int, int | None, str | None, str | None, str | None]
"""Event time (µs), user, item, quantity, price (micros), order, description and country.

Without names, because it is only hashed and compared as a whole, once for each stored event.
"""


def find_stored_ids(store: StoreConnection, ids: Sequence[str]) -> set[str]:
    """Return which of the ids, SQLite's limit of 32,766 at most, are those of stored events."""
    if not ids:
        return set()
    statement = STORED_IDS.format(marks=",".join(["(?)"] * len(ids)))
    return {
        event_id_text(packed) for (packed,) in store.execute(statement, [*map(pack_event_id, ids)])
    }


def has_events_between(store: StoreConnection, first: int, last: int) -> bool:
    """Return whether an event is stored whose time (µs) is from `first` to `last`."""
    return bool(store.execute(ANY_BETWEEN, (first, last, first, last)).fetchone()[0])


def read_derived_contents(
    store: StoreConnection, first: int, last: int
) -> Iterator[tuple[int, Content]]:
    """Yield the events of a derived id whose time (µs) is from `first` to `last`.

    Each with the time of its record, in ms.
    """
    for appended_at, *content in store.execute(CONTENTS, (first, last, b"\x80", b"\x90")):
        yield appended_at, tuple(content)
