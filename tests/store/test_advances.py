"""The positions of many partitions move by one statement, and only all together."""

import pytest
from sqlalchemy import Engine, event

from streaming.settings import Settings
from streaming.store.advances import Advance, PositionTaken, stored_positions
from streaming.store.engine import open_engine
from streaming.store.writer import BatchRows
from tests.store.rows import GROUP
from tests.store.test_writer import writing

PARTITIONS = 300


def advance(engine: Engine, expected: dict[int, int | None], after: int) -> int:
    """Advance partitions from what is expected; return how many statements that took."""
    statements = []
    event.listen(engine, "after_cursor_execute", lambda *_: statements.append(1))
    moved = {("analytics", n): Advance(at, after, 3, 2) for n, at in expected.items()}
    with engine.begin() as connection:
        writing(BatchRows([], [], moved), str)(connection, alone=True)
    return len(statements)


def test_many_partitions_advance_by_one_statement(either_store: Settings) -> None:
    """A statement for each would be a server's answer for each, while all others wait."""
    engine = open_engine(either_store)
    advance(engine, dict.fromkeys(range(PARTITIONS)), 2)
    assert advance(engine, dict.fromkeys(range(PARTITIONS), 2), 4) < 10
    with engine.begin() as connection:
        stored = stored_positions(connection, GROUP)
    assert len(stored) == PARTITIONS
    rows = {(row.next_offset, row.leader_epoch, row.records, row.stored) for row in stored.values()}
    assert rows == {(4, 3, 4, 4)}
    engine.dispose()


def test_one_position_that_another_moved_is_named_and_stops_all(either_store: Settings) -> None:
    """Not one of the others moves: their records are read again with it."""
    engine = open_engine(either_store)
    advance(engine, {0: None, 1: None, 2: None}, 2)
    with pytest.raises(PositionTaken, match=r"^analytics-1 is read by another consumer$"):
        advance(engine, {0: 2, 1: 1, 2: 2}, 4)
    with pytest.raises(PositionTaken, match=r"^analytics-2 is read by another consumer$"):
        advance(engine, {0: 2, 3: None, 2: None}, 4)
    with engine.begin() as connection:
        stored = stored_positions(connection, GROUP)
    assert {key[1]: row.next_offset for key, row in stored.items()} == {0: 2, 1: 2, 2: 2}
    engine.dispose()
