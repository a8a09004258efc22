"""Names in the archive: the days that have one are rows again before an erasure changes them.

What an erasure changes is in `erasure`.
"""

from collections.abc import Callable, Sequence

from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.archive import (
    count_archived,
    list_archive,
    read_archived_file,
    return_days,
    show_archived,
)
from streaming.store.column_files import ColumnFile
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreConnection, read_store
from streaming.store.pseudonyms import KINDS, ErasureList

_Archive = Sequence[ColumnFile]
"""The files that are the only copy of events, none of which has the names."""


def return_named(settings: Settings, user: str | None, order: str | None) -> _Archive:
    """Make rows of the archived days that name a user, with all its orders, or one order."""
    orders = {order} if order is not None else set[str]()
    if user is not None:
        with read_store(settings) as store:
            if not count_archived(store):
                return []
            orders |= set(orders_of(store, user))
        orders |= _archived_orders_of(settings, user)
    return _return_days_of(
        settings, lambda c, name: name == user if c == "user" else name in orders
    )


def orders_of(store: StoreConnection, user: str | None) -> list[str]:
    """Return the orders of a user, of those that `analytics_event` has."""
    rows = store.execute(
        'SELECT DISTINCT order_id FROM analytics_event WHERE "user" = ? AND order_id IS NOT NULL',
        (user,),
    )
    return [row[0] for row in rows]


def return_erased(settings: Settings, erasures: ErasureList) -> _Archive:
    """Make rows of the archived days that name who was erased in this home."""
    pseudonyms = erasures.all_pseudonyms()
    return _return_days_of(
        settings, lambda column, name: pseudonyms.of_erased(KINDS[column], name) is not None
    )


def show_named(
    store: StoreConnection, settings: Settings, user: str | None, order: str | None
) -> None:
    """Show the archived events of a user, with all its orders, or of one order."""
    column_store = open_column_store(settings)
    orders = {order} if order is not None else set[str]()
    if user is not None:
        show_archived(store, column_store, names={"user": {user}})
        orders |= set(orders_of(store, user))
    names = {"order_id": orders} if user is None else {"user": {user}, "order_id": orders}
    show_archived(store, column_store, names=names)


def require_same_archive(store: StoreConnection, archive: _Archive | None) -> None:
    """Raise `Unavailable` if events were archived since the days that name one were returned."""
    if archive is None:
        return
    if not {file.name for file in list_archive(store)} <= {file.name for file in archive}:
        raise Unavailable("A run archives events meanwhile: wait for its end, and try again.")


def _return_days_of(settings: Settings, is_named: Callable[[str, str], bool]) -> list[ColumnFile]:
    """Make rows of the days again that have a name, by column (`user` or `order_id`) and name.

    Return the files that stay in the archive. Raises what `return_days` does.
    """
    days, listed = set[str](), _list_all(settings)
    for file in listed:
        rows = read_archived_file(file, open_column_store(settings), settings.database_path)
        names = rows.select(*KINDS)
        if any(is_named(c, name) for c in KINDS for name in names[c].drop_nulls().unique()):
            days.add(file.day)
    return_days(settings, days)
    return [file for file in listed if file.day not in days]


def _archived_orders_of(settings: Settings, user: str) -> set[str]:
    """Return the orders of a user among the archived events."""
    import polars as pl

    orders = set[str]()
    for file in _list_all(settings):
        rows = read_archived_file(file, open_column_store(settings), settings.database_path)
        orders |= set(rows.filter(pl.col("user") == user)["order_id"].drop_nulls())
    return orders


def _list_all(settings: Settings) -> list[ColumnFile]:
    with read_store(settings) as store:
        return list_archive(store)
