"""A reset says what it skips and what is read again, before it moves anything."""

from datetime import UTC, datetime

import pytest

from streaming.errors import UsageError
from streaming.offsets.positions import StoredPosition
from streaming.offsets.reset import Move, PartitionFilter, Target, plan_move

EARLIEST, LATEST = Target("earliest"), Target("latest")


def position(at: int, state: str = "ok") -> StoredPosition:
    """Return a position of the processor in a log that holds 10 to 50."""
    return StoredPosition("processor", "purchases", 1, at, 10, 50, state)


def move(stored: StoredPosition, target: Target) -> tuple[int, int, int]:
    """Return where a move leads, and what it skips and repeats."""
    planned = plan_move(stored, target, {})
    assert planned == Move(
        "processor",
        "purchases",
        1,
        stored.position,
        planned.after,
        planned.skipped,
        planned.repeated,
    )
    return planned.after, planned.skipped, planned.repeated


def test_a_move_forward_skips_and_a_move_back_repeats() -> None:
    """Counted in offsets, of what the log still holds."""
    assert move(position(30), LATEST) == (50, 20, 0)
    assert move(position(30), EARLIEST) == (10, 0, 20)
    assert move(position(30), Target("25", offset=25)) == (25, 0, 5)
    assert move(position(5, "lost"), LATEST) == (50, 40, 0)
    assert move(position(60, "ahead"), EARLIEST) == (10, 0, 40)


def test_of_a_deleted_position_both_are_the_most_that_it_can_be() -> None:
    """Nobody knows what was read: all of it, or nothing."""
    assert move(position(-1, "deleted"), EARLIEST) == (10, 0, 40)
    assert move(position(-1, "deleted"), LATEST) == (50, 40, 0)
    assert move(position(30, "other_topic"), LATEST) == (50, 40, 0)


def test_a_time_without_a_later_record_is_the_end() -> None:
    """Else it is the first record at or after it."""
    target = Target("2024-03-01", time=datetime(2024, 3, 1, tzinfo=UTC))
    assert plan_move(position(30), target, {("purchases", 1): 40}).after == 40
    assert plan_move(position(30), target, {}).after == 50


def test_an_offset_outside_the_log_is_refused() -> None:
    """With what the partition holds."""
    with pytest.raises(UsageError, match=r"--to 51 is outside purchases-1, which holds 10 to 50"):
        plan_move(position(30), Target("51", offset=51), {})


def test_a_filter_takes_all_partitions_or_those_it_names() -> None:
    """And a message names it as the command did."""
    stored = position(30)
    assert PartitionFilter().takes(stored)
    assert PartitionFilter("purchases", 1).takes(stored)
    assert not PartitionFilter("analytics").takes(stored)
    assert not PartitionFilter(partition=0).takes(stored)
    assert str(PartitionFilter("purchases", 0)) == "partition 0 of topic purchases"
