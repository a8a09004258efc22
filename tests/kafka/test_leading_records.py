"""A batch is bounded by time and bytes, whatever its records are."""

import time

import pytest

from streaming.events.record import Header, Record
from streaming.kafka.leading_records import LeadingRecords


def record(value: bytes | None, key: bytes | None = None, *headers: Header) -> Record:
    """Return a record of `purchases`."""
    return Record("purchases", bytes(16), 0, 0, 0, key, value, headers)


@pytest.mark.parametrize(
    "large",
    [record(b"v" * 60), record(None, b"k" * 60), record(b"v", None, ("h" * 30, b"v" * 30))],
)
def test_a_batch_ends_with_the_record_that_reaches_its_bytes(large: Record) -> None:
    """Keys and headers count like values, because they are passed on too."""
    leading = LeadingRecords([large] * 5, seconds=60, maximum_bytes=100)
    assert list(leading) == [large] * 2
    assert leading.count == 2
    whole = LeadingRecords([large] * 5, seconds=60)
    assert list(whole) == [large] * 5
    assert whole.count == 5


def test_a_batch_ends_when_its_time_is_over_but_has_a_record() -> None:
    """The clock runs while the records are handled, and even a slow one gets on."""
    leading = LeadingRecords([record(b"v")] * 5, seconds=0.05)
    for _ in leading:
        time.sleep(0.06)
    assert leading.count == 1
