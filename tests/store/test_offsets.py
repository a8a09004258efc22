"""Positions moved by a person: what came from a log that is no more is marked."""

import pytest

from streaming.store.connection import StoreConnection
from streaming.store.offsets import StoredOffset, move_offsets
from tests.store.rows import GROUP

DEAD_LETTER = (
    "INSERT INTO dead_letter (origin_topic_id, origin_partition, origin_offset, origin_topic,"
    " origin_timestamp, reason, attempts, dlq_partition, dlq_offset, state)"
    " VALUES (?, 0, ?, 'purchases', 0, 'empty', 1, 0, ?, 'open')"
)


@pytest.mark.parametrize(("topic_id", "offsets"), [("same", [40, 41]), ("other", [None, None])])
def test_dead_letters_of_a_topic_that_was_created_again_have_no_offset_any_more(
    connection: StoreConnection, topic_id: str, offsets: list[int | None]
) -> None:
    """So the new topic's dead letter of the same origin describes it, and `verify` agrees."""
    for number in range(2):
        connection.execute(DEAD_LETTER, ("origin", number, 40 + number))
    partition = ("purchases.dlq", 0)
    move_offsets(connection, GROUP, "analytics", {partition: StoredOffset(42, "same", "cluster")})
    moved = {partition: StoredOffset(0, topic_id, "cluster")}
    move_offsets(connection, GROUP, "analytics", moved)
    rows = connection.execute("SELECT dlq_offset FROM dead_letter ORDER BY origin_offset")
    assert [row[0] for row in rows] == offsets
