"""What the store holds of one person: events, dead letters, and rows of tables that name the user.

Read only, from the views as people read them. What replaces it is in `erasure`.
"""

from typing import Final

from streaming.errors import NotFound
from streaming.events.identifiers import event_id_text
from streaming.settings import Settings
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection, read_store
from streaming.store.pseudonyms import words
from streaming.store.table_dialect import dialect_of

PersonalData = dict[str, list[dict[str, object]]]
"""By table, each row by column."""

# The view shows guests by a word, which may be somebody's name: so the table says whose it is.
TIMES: Final = 'SELECT event_id, event_time FROM analytics_event WHERE "user" = ?'
EVENTS: Final = 'SELECT * FROM analytics_event_readable WHERE "user" = ?'
DEAD_LETTERS: Final = (
    "SELECT * FROM dead_letter_readable WHERE key IS NOT NULL OR detail IS NOT NULL"
)


def read_personal_data(settings: Settings, user: str) -> PersonalData:
    """Return all that names the user, at one moment: times in UTC as text, money as decimals.

    A dead letter is the user's if its key, or a word of its detail, is the user or one of the
    user's orders. Raises `NotFound` if there is nothing, and what `read_store` does.
    """
    with read_store(settings) as store:
        show_archived(store, open_column_store(settings), names={"user": {user}})
        times = {event_id_text(packed): time for packed, time in store.execute(TIMES, (user,))}
        events = [event for event in _rows(store, EVENTS, user) if event["event_id"] in times]
        events.sort(key=lambda event: (times[str(event["event_id"])], event["event_id"]))
        names = {user, *(event["order_id"] for event in events)} - {None}
        dead_letters = [
            dead_letter
            for dead_letter in _rows(store, DEAD_LETTERS)
            if dead_letter["key"] in names or names & words(str(dead_letter["detail"]))
        ]
        tables = {
            name: _rows(store, f'SELECT * FROM "{_view(store, name)}" WHERE "user" = ?', user)  # noqa: S608 - the schema's
            for name, column, _ in dialect_of(store).list_columns(store)
            if column == "user" and name != "analytics_event"
        }
    data = {"analytics_event": events, "dead_letter": dead_letters, **tables}
    if not any(data.values()):
        raise NotFound(f"Nothing that is stored names the user {user}; check how it is written.")
    return data


def _rows(store: StoreConnection, statement: str, *values: object) -> list[dict[str, object]]:
    cursor = store.execute(statement, values)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def _view(store: StoreConnection, table: str) -> str:
    """Return the table's readable view, or the table itself if it has none."""
    view = f"{table}_readable"
    return view if dialect_of(store).has_view(store, view) else table
