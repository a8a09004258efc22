"""Adding what a batch changes to live totals, items and day ledger, in the caller's transaction.

What a batch changes is computed in `rows`, and its rows are written by `writer`.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import Insert, insert

from streaming.store.engine import is_postgres
from streaming.store.live_totals import CORRECTIONS
from streaming.store.models import Table
from streaming.store.rows import NO_SUMS, Deltas, Sums
from streaming.units import TRILLION, split_sum, whole_sum

SELECT_IDS: Final = 10_000
"""Ids in one SELECT: below SQLite's limit of 32,766 parameters."""


_TOTALS: Final = Table.metadata.tables["live_totals"]
_ITEM: Final = Table.metadata.tables["live_item_totals"]
_DAY: Final = Table.metadata.tables["day_ledger"]


# SQLAlchemy writes PostgreSQL's form of an upsert for SQLite too, and not the other way round.
def _adding(
    table: SqlTable, key: str, columns: Sequence[str], setting: Sequence[str] = ()
) -> Insert:
    """Build an upsert that adds `columns` to what is there, and replaces the ones of `setting`."""
    statement = insert(table)
    # `excluded` is SQL's name for the row that met one of the same key.
    added = {name: table.c[name] + statement.excluded[name] for name in columns}
    replaced = {name: statement.excluded[name] for name in setting}
    return statement.on_conflict_do_update(index_elements=[key], set_={**added, **replaced})


def compile_insert(statement: Insert) -> str:
    """Return the statement's text, for rows as tuples in the order of the table's columns."""
    return str(statement.compile(dialect=sqlite.dialect()))


_SUMS: Final = ["events", "items_sold", "gross_revenue_micros", "net_revenue_micros"]
_TRILLIONS: Final = ["gross_revenue_trillions", "net_revenue_trillions"]
_DAY_SUMS: Final = ["events", "items_sold", "net_revenue_micros"]
_OF_DAY: Final = ["version", "changed_at"]
# The row is read for the version anyway, so that it need not be added up in SQL.
_REPLACE_TOTALS: Final = compile_insert(
    _adding(_TOTALS, "id", [], [*_SUMS, *_TRILLIONS, "guest_events", "changed_at"])
)
_ADD_ITEM: Final = compile_insert(_adding(_ITEM, "item", _SUMS))
_REPLACE_ITEM: Final = compile_insert(_adding(_ITEM, "item", [], [*_SUMS, *_TRILLIONS]))
_ADD_DAY: Final = compile_insert(_adding(_DAY, "day", _DAY_SUMS, _OF_DAY))
_REPLACE_DAY: Final = compile_insert(
    _adding(_DAY, "day", [], [*_DAY_SUMS, "net_revenue_trillions", *_OF_DAY])
)
_SELECT_TOTALS: Final = f"SELECT guest_events, {', '.join(_SUMS + _TRILLIONS)} FROM live_totals"
_SELECT_CORRECTIONS: Final = f"SELECT {CORRECTIONS}"
_SELECT_ITEMS: Final = (
    f"SELECT item, {', '.join(_SUMS + _TRILLIONS)} FROM live_item_totals WHERE item IN"
)
_SELECT_DAYS: Final = (
    # The zeros stand for gross revenue, which the ledger does not have.
    "SELECT day, events, items_sold, 0, net_revenue_micros, 0, net_revenue_trillions"
    " FROM day_ledger WHERE day IN"
)


def item_values(connection: Connection, added: Deltas) -> Sequence[Any]:
    """Return what is added to the items as the database takes it, for `add_figures`."""
    return _values(connection, [(name, *sums, 0, 0) for name, sums in added.items.items()])


def add_figures(
    connection: Connection, added: Deltas, now: int, items: Sequence[Any] | None = None
) -> None:
    """Add to totals, items and ledger; the events and corrections are the version of the days.

    `items` is what `item_values` returned of the same, for who computed it before the lock.
    """
    row = connection.exec_driver_sql(_SELECT_TOTALS).one_or_none()
    guests, *stored = row or (0,) * 7
    before = _whole_sums(stored)
    after = _add(before, added.total)
    events, items_sold, gross, net, *trillions = _split_sums(after)
    # Both only grow, so a version never comes twice, and nobody has to store a counter for it.
    version = events + connection.exec_driver_sql(_SELECT_CORRECTIONS).scalar_one()
    totals = (events, items_sold, gross, net, guests + added.guest_events, now, *trillions)
    connection.exec_driver_sql(_REPLACE_TOTALS, (1, *totals))
    # No sum of an item or a day is beyond the sales or the returns of all time. While these are
    # below a trillion, micros hold every sum, and SQLite adds without reading first.
    if _below_a_trillion(before) and _below_a_trillion(after):
        items = items or item_values(connection, added)
        days = [(day, (*sums, 0, 0)) for day, sums in added.days.items()]
        add_item, add_day = _ADD_ITEM, _ADD_DAY
    else:
        sums_of = _add_stored(connection, _SELECT_ITEMS, added.items)
        items = _values(connection, [(name, *_split_sums(s)) for name, s in sums_of])
        days = [
            (day, _split_sums(s)) for day, s in _add_stored(connection, _SELECT_DAYS, added.days)
        ]
        add_item, add_day = _REPLACE_ITEM, _REPLACE_DAY
    _insert(connection, add_item, _ITEM, items)
    ledger = [
        (day, version, events, items_sold, net, now, trillions)
        for day, (events, items_sold, _, net, _, trillions) in days
    ]
    _insert(connection, add_day, _DAY, _values(connection, ledger))


def _values(connection: Connection, rows: Sequence[tuple[object, ...]]) -> Sequence[Any]:
    """Return the rows as `_insert` takes them."""
    if is_postgres(connection):
        from streaming.store.postgres_rows import arrays

        return arrays(rows)
    return rows


def _insert(connection: Connection, statement: str, table: SqlTable, values: Sequence[Any]) -> None:
    if is_postgres(connection):
        from streaming.store.postgres_rows import of_arrays

        statement = of_arrays(statement, table)
    connection.exec_driver_sql(statement, values)


def _add_stored(
    connection: Connection, statement: str, added: Mapping[str, Sums]
) -> Iterator[tuple[str, Sums]]:
    """Return each item or day with the sum of what is stored and what is added."""
    names = list(added)
    for start in range(0, len(names), SELECT_IDS):
        some = names[start : start + SELECT_IDS]
        marks = ", ".join("?" * len(some))
        # Read and added in Python: in SQL a sum beyond 64 bits becomes a float.
        rows = connection.exec_driver_sql(f"{statement} ({marks})", tuple(some))
        stored = {name: _whole_sums(sums) for name, *sums in rows}
        yield from ((name, _add(stored.get(name, NO_SUMS), added[name])) for name in some)


def _add(one: Sums, other: Sums) -> Sums:
    return Sums(*map(add, one, other))


def _below_a_trillion(total: Sums) -> bool:
    returned = total.gross - total.net
    return max(total.gross, returned) < TRILLION


def _whole_sums(columns: Sequence[int]) -> Sums:
    """Return the sums of events, items sold, gross and net micros, gross and net trillions."""
    events, items_sold, gross, net, gross_trillions, net_trillions = columns
    gross, net = whole_sum(gross_trillions, gross), whole_sum(net_trillions, net)
    return Sums(events, items_sold, gross, net)


def _split_sums(sums: Sums) -> tuple[int, int, int, int, int, int]:
    """Return the columns that `_whole_sums` takes."""
    events, items_sold, gross, net = sums
    (gross_trillions, gross), (net_trillions, net) = split_sum(gross), split_sum(net)
    return events, items_sold, gross, net, gross_trillions, net_trillions
