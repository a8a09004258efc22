"""What a verification goes on from: digests that no change of a row leaves as they were."""

from itertools import product

import msgspec
import pytest

from streaming.store.connection import StoreConnection, transaction
from streaming.verification import checkpoint
from streaming.verification.checkpoint import (
    COLUMNS,
    FORM,
    Checkpoint,
    chunk_digests,
    chunk_numbers,
    last_row,
    read_checkpoint,
)
from tests.store.rows import add_events, event

ROWS = 7
IDS = [
    *(bytes([byte]) * 16 for byte in range(256)),
    *(bytes(first) for length in range(3) for first in product(b'\x00",\\\xff', repeat=length)),
]
"""Each byte in an id, and short ones of bytes with which one could be read as another."""
VALUES = {int: (1, 2, 12, 2**31 - 1), str: ("", "null", '"', "a\x01", "ä"), bytes: IDS}
NULLABLE = {"user", "order_id"}


@pytest.fixture
def stored(either_connection: StoreConnection) -> StoreConnection:
    """Return a connection to a few events."""
    add_events(either_connection, [event(number, number) for number in range(ROWS)])
    return either_connection


def digests(store: StoreConnection) -> list[str]:
    """Return the digests of all rows."""
    row = last_row(store)
    return chunk_digests(store, chunk_numbers(row), row)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_value_of_a_column_has_a_digest_of_its_own(
    stored: StoreConnection, column: str
) -> None:
    """Also null beside the text of it, and ids of any bytes."""
    values = [*VALUES[COLUMNS[column]], *([None] if column in NULLABLE else [])]
    results = set[str]()
    for value in values:
        statement = f'UPDATE analytics_event SET "{column}" = ? WHERE rowid = 4'
        assert stored.execute(statement, (value,)).rowcount == 1
        results.update(digests(stored))
    assert len(results) == len(values)


def test_rows_that_are_removed_or_exchange_a_value_have_another_digest(
    stored: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same chunk or in two, and in the same statement or in two."""
    for chunk_rows, step_rows in ((ROWS, ROWS), (4, 2), (2, 2)):
        monkeypatch.setattr(checkpoint, "CHUNK_ROWS", chunk_rows)
        monkeypatch.setattr(checkpoint, "STEP_ROWS", step_rows)
        before = digests(stored)
        assert len(before) == -(-ROWS // chunk_rows)
        for first in range(1, ROWS):
            both = f"rowid IN ({first}, {first + 1})"
            exchange = (
                "UPDATE analytics_event SET source_offset = (SELECT sum(source_offset)"
                f" FROM analytics_event WHERE {both}) - source_offset WHERE {both}"
            )
            stored.execute(exchange)
            assert digests(stored) != before
            stored.execute(exchange)
            assert digests(stored) == before
    stored.execute("DELETE FROM analytics_event WHERE rowid = 3")
    assert digests(stored) != before


def test_a_checkpoint_of_another_form_is_none(either_connection: StoreConnection) -> None:
    """That of an earlier release has other digests, so nothing can rest on it."""
    for form in (FORM - 1, FORM):
        kept = Checkpoint(
            form=form,
            cluster_id="",
            topic_ids={},
            timezone="UTC",
            erasures=[],
            row=0,
            chunks=[],
            figures="",
            held={},
            positions={},
            ends={},
            counted={},
            stored={},
            not_storable="",
            since=None,
        )
        with transaction(either_connection):
            either_connection.execute(
                "INSERT INTO verification"
                " (started_at, finished_at, agrees, compared, differences, checkpoint)"
                " VALUES (1, 2, ?, '{}', '[]', ?)",
                (True, msgspec.json.encode(kept).decode()),
            )
        result = read_checkpoint(either_connection)
        assert (None if result is None else result.checkpoint) == (kept if form == FORM else None)
