"""Purchases over HTTP before they are sent: split, named by the idempotency key, keyed."""

import hashlib
import json
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from streaming.dashboard.ingest_records import MAX_RECORDS, IngestBatch, read_batch
from streaming.errors import TooLarge, UsageError
from streaming.events.purchase import decode_any, read_purchase
from streaming.events.record import MAX_VALUE_BYTES, Record
from streaming.events.refusal import Refusal
from tests.events.given import RULES

TIME = "2026-03-01T12:00:00.5Z"
MILLISECONDS = 1_772_366_400_500
ID = "0190a6f0-0000-7000-8000-000000000001"
LAMP = {"user": "ada", "item": "lamp", "timestamp": TIME}


def batch(body: bytes, kind: str = "application/json", **headers: str) -> IngestBatch:
    """Read a body with its headers."""
    named = {"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    return read_batch(Request({"type": "http", "headers": raw}), body)


def derive_id(key: str, index: int, milliseconds: int = MILLISECONDS) -> str:
    """Derive an id by hand: 48 bits of time, version 8, 74 bits of a SHA-256."""
    digest = hashlib.sha256(key.encode() + struct.pack(">i", index)).digest()
    bits = f"{int.from_bytes(digest, 'big'):0256b}"[:74]
    text = f"{milliseconds:048b}" + "1000" + bits[:12] + "10" + bits[12:]
    return str(UUID(int=int(text, 2)))


def test_ids_are_those_of_time_key_and_position() -> None:
    """So that a retry, to whichever server, has the same."""
    made = batch(json.dumps([LAMP, {**LAMP, "event_id": None}]).encode(), idempotency_key="k-1")
    assert [r.event_id for r in made.records] == [derive_id("k-1", 0), derive_id("k-1", 1)]
    assert [json.loads(r.value)["event_id"] for r in made.records] == [
        derive_id("k-1", 0),
        derive_id("k-1", 1),
    ]
    again = batch(json.dumps(LAMP).encode(), idempotency_key="k-1").records[0]
    assert again.event_id == derive_id("k-1", 0)
    late = {**LAMP, "timestamp": MILLISECONDS + 7}
    other = batch(json.dumps(late).encode(), idempotency_key="k-2").records[0]
    assert other.event_id == derive_id("k-2", 0, MILLISECONDS + 7)


def test_an_id_of_its_own_is_kept_and_the_bytes_too() -> None:
    """The bytes stay as they were sent."""
    value = (
        b'{"event_id":"%s", "user":null,"order_id":"o-1","item":"x","timestamp":1.0}' % ID.encode()
    )
    record = batch(b" " + value + b" ", idempotency_key="k").records[0]
    assert (record.event_id, record.key, record.value.strip()) == (ID, b"o-1", value)


@given(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()).filter(
        lambda record: "event_id" not in record and "timestamp" not in record
    )
)
def test_an_id_is_added_to_any_object_and_nothing_else_is_changed(
    fields: dict[str, object],
) -> None:
    """Whatever its fields are, and with none at all but the time."""
    purchase = {**fields, "timestamp": TIME}
    record = batch(json.dumps(purchase).encode(), idempotency_key="k").records[0]
    assert json.loads(record.value) == {**purchase, "event_id": derive_id("k", 0)}


@pytest.mark.parametrize("timestamp", ["yesterday", None, True, 1.5, {}, 10**30])
def test_what_has_no_time_goes_as_it_is(timestamp: object) -> None:
    """The processor refuses it; it gets no id."""
    value = json.dumps({**LAMP, "timestamp": timestamp}).encode()
    record = batch(value, idempotency_key="k").records[0]
    assert (record.event_id, record.value) == (None, value)


def test_lines_are_split_and_one_that_is_no_json_goes_as_it_is() -> None:
    """So that it becomes a dead letter, and the others are stored."""
    lines = b'{"user":"a","item":"x","timestamp":0}\r\n\nnot json\n[]\n'
    made = batch(lines, "application/x-ndjson; charset=utf-8", idempotency_key="k")
    assert [record.value for record in made.records[1:]] == [b"not json", b"[]"]
    assert made.records[0].key == b"a"


@pytest.mark.parametrize(
    "line",
    [
        b"\xef\xbb\xbf" + json.dumps(LAMP).encode(),
        json.dumps({**LAMP, "note": "\ud800"}).encode(),
    ],
    ids=["byte order mark", "half a surrogate pair"],
)
def test_what_only_the_slow_reader_takes_has_an_id_too(line: bytes) -> None:
    """Else the processor would give it another one each time that it is sent."""
    record = batch(line, "application/x-ndjson", idempotency_key="k").records[0]
    assert (record.event_id, record.key) == (derive_id("k", 0), b"ada")
    read = decode_any(record.value.decode())
    assert (read.event_id, read.item) == (derive_id("k", 0), "lamp")
    with pytest.raises(UsageError, match="has no event_id"):
        batch(line, "application/x-ndjson")


def test_an_event_id_that_is_no_text_is_not_in_the_receipt() -> None:
    """An answer cannot hold it; the record is sent, and the processor refuses it."""
    line = json.dumps({**LAMP, "event_id": "\ud83d"}).encode()
    (record,) = batch(line, "application/x-ndjson").records
    assert (record.event_id, record.key, record.value) == (None, b"ada", line)


@pytest.mark.parametrize("fields", [{"user": "\ud83d"}, {"user": None, "order_id": "o-\ud83d"}])
def test_a_key_that_is_no_text_holds_up_no_other_record(fields: dict[str, object]) -> None:
    """The record goes without a key, and the processor refuses it."""
    lines = f"{json.dumps({**LAMP, **fields})}\n{json.dumps(LAMP)}\n".encode()
    first, second = batch(lines, "application/x-ndjson", idempotency_key="k").records
    assert (first.event_id, first.key) == (derive_id("k", 0), None)
    assert (second.event_id, second.key) == (derive_id("k", 1), b"ada")
    record = Record("purchases", bytes(16), 0, 0, MILLISECONDS, None, first.value)
    outcome = read_purchase(record, RULES)[1]
    assert isinstance(outcome, Refusal)
    assert outcome.reason == "invalid_text"


def test_the_trace_of_the_request_goes_along() -> None:
    """As a header of each record."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made = batch(b"{}", idempotency_key="k", traceparent=trace)
    assert made.headers == [("traceparent", trace.encode())]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{}", "application/json", "Record 0 has no event_id"),
        (b"[{}", "application/json", "Nothing of it was sent"),
        (b"\xff", "application/json", "Nothing of it was sent"),
        (b"[]", "application/json", "no record"),
        (b" \n", "application/x-ndjson", "no record"),
        (b"a=1", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        (b"{}", "", "missing"),
    ],
)
def test_a_body_that_is_not_taken_is_answered_with_the_reason(
    body: bytes, kind: str, said: str
) -> None:
    """Before anything of it is sent."""
    with pytest.raises(UsageError, match=said):
        batch(body, kind)


def test_too_much_is_too_large() -> None:
    """Records by number, and one by its bytes."""
    with pytest.raises(TooLarge, match="over 1,000 records"):
        batch(b"[" + b",".join([b"{}"] * (MAX_RECORDS + 1)) + b"]", idempotency_key="k")
    with pytest.raises(TooLarge, match="Record 1"):
        batch(b"[{}," + b'"%s"' % (b"x" * MAX_VALUE_BYTES) + b"]", idempotency_key="k")
