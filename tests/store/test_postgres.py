"""Statements of the store that PostgreSQL takes as SQLite does, with the same result.

Both databases hold the same rows here; no command stores into PostgreSQL.
"""

import ast
import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy import event as on

from assets.builds.writer import record_failure
from assets.tables.models import BuildFailure
from streaming.settings import Settings
from streaming.store.advances import Advance, PositionTaken
from streaming.store.column_files import read_column_files
from streaming.store.connection import StoreConnection
from streaming.store.dead_letters import (
    DeadLetterFilter,
    count_by_day,
    count_by_reason,
    find_dead_letter,
    find_dead_letters,
)
from streaming.store.deployment import recorded_deployment
from streaming.store.engine import open_engine
from streaming.store.event_ids import find_stored_ids, has_events_between
from streaming.store.figures import add_figures
from streaming.store.live_totals import (
    changed_days,
    count_corrections,
    count_events_since,
    count_not_storable,
    distinct_figures,
    live_figures,
    read_first_day,
    read_version,
    refusals,
    top_items,
)
from streaming.store.models import Table
from streaming.store.offsets import next_offsets, read_offsets
from streaming.store.rows import OPEN, PARKED, day_cutter, deltas
from streaming.store.source_topics import record_source_topics
from streaming.store.writer import BatchRows
from streaming.totals.queries import day_sums, day_version, last_day, sums_by_quarter, sums_of_span
from streaming.verification.database_checks import stored_days, stored_items, stored_totals
from tests.docs.pages import ROOT
from tests.postgres import TranslatedCursor, connect, translate
from tests.store.rows import GROUP, SOURCE_TOPICS, add_dead_letter, year_of_days
from tests.store.test_writer import ATTEMPTS, DAY, NOON, UTC, contested_events, write, writing

STATEMENT = re.compile(r"\b(SELECT|UPDATE|INSERT|WHERE|FROM|SET)\b")
BARE_USER = re.compile(r"""(?<![".'\w])user(?!["'\w])""")
ALL_STATES = DeadLetterFilter(("open", "redriven", "stored", "parked", "dropped"))
FAILURE: dict[str, Any] = {
    "table_name": "daily_sales",
    "partition": "2024-03-01",
    "attempts": 1,
    "reason": "no disk",
    "run_id": "run",
    "failed_at": 7,
}
WRITTEN = (
    "build_failure",
    "day_ledger",
    "dead_letter",
    "live_item_totals",
    "live_totals",
    "stream_offset",
)
SPAN = (NOON - DAY, NOON + 3 * DAY)

READERS: dict[str, Callable[[StoreConnection], object]] = {
    "changed days": lambda store: changed_days(store, (0, ""), 10**9, 3),
    "column files": read_column_files,
    "corrections": count_corrections,
    "day": lambda store: day_sums(store, "2024-03-01"),
    "days of the ledger": stored_days,
    "dead letters, newest first": lambda store: list(
        find_dead_letters(store, ALL_STATES, newest_first=True)
    ),
    "dead letters": lambda store: list(find_dead_letters(store, ALL_STATES)),
    "dead letters by day": lambda store: count_by_day(store, ALL_STATES, UTC),
    "dead letters by reason": lambda store: count_by_reason(store, ALL_STATES),
    "dead letter": lambda store: find_dead_letter(store, "0:2"),
    "deployment": recorded_deployment,
    "distinct": distinct_figures,
    "events between": lambda store: has_events_between(store, *SPAN),
    "events since": lambda store: count_events_since(store, NOON + DAY),
    "figures": live_figures,
    "first day": lambda store: read_first_day(store, date(2024, 3, 2)),
    "items": lambda store: top_items(store, 10),
    "items of verify": stored_items,
    "last day": lambda store: last_day(store, "2024-03-02"),
    "next offsets": lambda store: next_offsets(store, GROUP, "analytics"),
    "not storable": count_not_storable,
    "offsets": lambda store: read_offsets(store, GROUP),
    "quarters": lambda store: sums_by_quarter(store, date(2024, 3, 1), UTC),
    "refusals": refusals,
    "span": lambda store: sums_of_span(store, SPAN),
    "stored ids": lambda store: find_stored_ids(store, ["id-000001", "id-999999"]),
    "totals of verify": stored_totals,
    "version": read_version,
    "version of a day": lambda store: day_version(store, date(2024, 3, 1)),
}


@pytest.fixture
def engine(postgres: str) -> Iterator[Engine]:
    """Return an engine over a PostgreSQL database with the tables of the store."""
    made = create_engine("postgresql+psycopg://", creator=lambda: connect(postgres, begin=True))

    @on.listens_for(made, "before_cursor_execute", retval=True)
    def _translate(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: object,
        context: Any,  # noqa: ANN401 - SQLAlchemy's
        _many: object,
    ) -> tuple[str, object]:
        # What SQLAlchemy compiled is in the style of the driver.
        return (translate(statement) if context.compiled is None else statement), parameters

    with made.begin() as connection:
        Table.metadata.create_all(connection)
    yield made
    made.dispose()


@pytest.fixture
def reader(postgres: str) -> Iterator[StoreConnection]:
    """Return a connection to the same database that takes the statements of readers."""
    with connect(postgres) as opened:
        opened.cursor_factory = TranslatedCursor
        yield cast("StoreConnection", opened)


@pytest.mark.sqlite("a file beside a server")
def test_readers_find_the_same_in_both_databases(
    store: Settings, connection: StoreConnection, engine: Engine, reader: StoreConnection
) -> None:
    """Figures, ledger, dead letters and positions, of the same type down to each value."""
    events = contested_events(40)
    write(store, events[:100], None, 100)
    write(store, events[100:], 100, len(events))
    for offset, state in enumerate((OPEN, PARKED, OPEN)):
        add_dead_letter(connection, offset, state, ("not_storable", "empty")[offset % 2])
    # Its dead letter is not read yet.
    connection.execute(
        "UPDATE dead_letter SET refused_at = NULL, dlq_partition = NULL, dlq_offset = NULL"
        " WHERE origin_offset = 1"
    )
    copy_rows(connection, engine)
    for name, read in READERS.items():
        rows = read(connection)
        # Of one type too: a sum that comes as a decimal is equal, and another digest.
        assert (name, repr(read(reader))) == (name, repr(rows))


@pytest.mark.sqlite("a file beside a server")
def test_figures_and_positions_are_written_to_both_alike(
    store: Settings, connection: StoreConnection, engine: Engine, reader: StoreConnection
) -> None:
    """A batch's dead letters, counts and positions, the figures of events, and failed builds."""
    record_source_topics(engine, SOURCE_TOPICS)
    on_file = open_engine(store)
    changed = deltas([each.row() for each in year_of_days(60)], day_cutter(UTC))
    for number, order in enumerate(permutations(ATTEMPTS)):
        moved = {("analytics", 0): Advance(number or None, number + 1, 0, 1)}
        for each in (on_file, engine):
            with each.begin() as writer:
                writing(BatchRows([], list(order), moved), str, number)(writer, alone=True)
                add_figures(writer, changed, number)
                record_failure(writer, BuildFailure(version=number // 3, **FAILURE))
    on_file.dispose()
    for table in WRITTEN:
        statement = f"SELECT * FROM {table} ORDER BY 1, 2"
        assert reader.execute(statement).fetchall() == connection.execute(statement).fetchall()
    moved = {("analytics", 0): Advance(3, 4, 0, 1)}
    with pytest.raises(PositionTaken), engine.begin() as writer:
        writing(BatchRows([], [], moved), str)(writer, alone=True)


def test_no_statement_names_the_user_without_quotes(postgres: str) -> None:
    """A bare `user` is a keyword, and counts the session's user in every row without an error."""
    with psycopg.connect(postgres) as connection:
        connection.execute('CREATE TABLE event ("user" TEXT)')
        connection.execute("INSERT INTO event VALUES ('ann'), ('bob'), (NULL)")
        counted = connection.execute('SELECT count(DISTINCT user), count("user") FROM event')
        assert counted.fetchone() == (1, 2)
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for package in ("assets", "orchestration", "streaming")
        for path in sorted((ROOT / package).rglob("*.py"))
        # Migrations of SQLite's files stay as they were run.
        if "versions" not in path.parts
        for line, text in texts(path)
        if STATEMENT.search(text) and BARE_USER.search(text)
    ]
    assert not bare


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each text of a module with its line; what is computed inside of it is left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value for part in node.values if isinstance(part, ast.Constant))
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def copy_rows(connection: StoreConnection, engine: Engine) -> None:
    """Copy the rows of all tables of the models."""
    with engine.begin() as target:
        for table in Table.metadata.sorted_tables:
            rows = connection.execute(f'SELECT * FROM "{table.name}"').fetchall()
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                target.exec_driver_sql(f'INSERT INTO "{table.name}" VALUES ({marks})', rows)
