"""A batch is bounded by time and bytes, whatever its records are."""

import time

import pytest

from streaming.events.record import Header, Record
from streaming.kafka.leading_records import LOOK_BYTES, RECORD_BYTES, LeadingRecords


def record(value: bytes | None, key: bytes | None = None, *headers: Header) -> Record:
    """Return a record of `purchases`."""
    return Record("purchases", bytes(16), 0, 0, 0, key, value, headers)


@pytest.mark.parametrize(
    "large",
    [
        record(b"v" * LOOK_BYTES),
        record(None, b"k" * LOOK_BYTES),
        record(b"v", b"k", ("h", b"v" * LOOK_BYTES)),
        record(b"v", b"k", *[("", b"")] * (LOOK_BYTES // RECORD_BYTES)),
    ],
)
def test_a_batch_ends_with_the_record_that_reaches_its_bytes(large: Record) -> None:
    """Keys and headers count like values, because they are passed on too."""
    leading = LeadingRecords([large] * 5, seconds=60, maximum_bytes=2 * LOOK_BYTES)
    assert list(leading) == [large] * 2
    assert leading.count == 2
    whole = LeadingRecords([large] * 5, seconds=60)
    assert list(whole) == [large] * 5
    assert whole.count == 5


def test_a_batch_ends_when_its_time_is_over_but_has_a_record() -> None:
    """The clock runs while the records are handled, and even a slow one gets on."""
    leading = LeadingRecords([record(b"v" * LOOK_BYTES)] * 5, seconds=0.05)
    for _ in leading:
        time.sleep(0.06)
    assert leading.count == 1


def test_a_batch_of_records_without_bytes_ends_when_its_time_is_over() -> None:
    """A record counts beside its bytes, so the clock is looked at however small they are."""
    leading = LeadingRecords([record(None)] * 20_000, seconds=0)
    assert len(list(leading)) == leading.count == LOOK_BYTES // RECORD_BYTES
