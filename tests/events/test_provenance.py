"""Which record of `purchases` a published record was made of, for events and dead letters."""

import pytest

from streaming.events.analytics import encode_analytics, enrich
from streaming.events.dead_letter import dead_letter
from streaming.events.provenance import read_provenance
from streaming.events.purchase import PurchaseEvent
from streaming.events.record import Headers, own_origin
from streaming.events.refusal import Reason, Refusal
from tests.events.given import origin_fields, purchase, read, record

AT = "2025-11-24T16:00:01.000000Z"


def test_an_event_names_the_record_that_it_was_made_of() -> None:
    """By partition and offset, from the value alone."""
    given = record(purchase())
    event = read(given.value)[1]
    assert isinstance(event, PurchaseEvent)
    value = encode_analytics(enrich(event, given, AT))
    assert read_provenance(value, [("trace", b"1")]) == (
        (given.topic, given.partition),
        given.offset,
    )


def test_a_dead_letter_names_the_origin_of_its_purchase() -> None:
    """By its headers; its value is the purchase's own, and says nothing of it."""
    given = record(purchase(source_partition="9", source_offset="9"))
    made = dead_letter(given, own_origin(given), Refusal(Reason.EMPTY, "no value"), 1 << 20)
    assert read_provenance(made.value, made.headers) == (
        (given.topic, given.partition),
        given.offset,
    )


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (None, ()),
        (b"", ()),
        (b"not JSON", ()),
        (b"\xff", ()),
        (b"[" * 10_000, ()),
        (b'{"unknown":' + b"[" * 100_000, ()),
        (b'{"source_topic":"purchases","source_partition":1}', ()),
        (b'{"source_topic":"purchases","source_partition":"1","source_offset":2}', ()),
        (
            b'{"source_topic":"purchases","source_partition":1,"source_offset":2}',
            [("dlq.reason", b"empty")],
        ),
        (
            b'{"source_topic":"purchases","source_partition":1,"source_offset":2}',
            origin_fields("dlq.", offset=b"first"),
        ),
    ],
)
def test_a_record_of_others_has_no_provenance(value: bytes | None, headers: Headers) -> None:
    """Whatever they wrote, nothing is raised."""
    assert read_provenance(value, headers) is None
