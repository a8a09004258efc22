"""Derived ids are a contract with every database that stored them: the vectors never change.

The hexadecimal values were worked out by hand from SHA-256 sums, not by the code under test.
"""

import hashlib
import re
import sqlite3
import struct
import uuid
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events.identifiers import (
    derived_id,
    event_id_text,
    pack_event_id,
    record_key,
    topic_id_bytes,
    topic_id_text,
)
from streaming.events.record import Origin, origin_id
from streaming.store.migrations import readable
from streaming.verification.records import shown_id, stored_id
from tests.events.given import OWN_ID, REDRIVEN_ID, TOPIC_ID, TOPIC_ID_TEXT, thorough

FILE = hashlib.sha256(b"online retail").digest()
FIRST = 1_291_191_960_000
TIME = 1_763_985_600_123
SHIFT = 472_793_640_123_456
LAST = 2**48 - 1
UUID_FORM = "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"


def replayed_content(row: int, shift_micros: int) -> bytes:
    """Return what the id of a replayed row is made of."""
    return FILE + struct.pack(">qq", row, shift_micros)


def posted_content(key: str, index: int) -> bytes:
    """Return what the id of a purchase posted with an idempotency key is made of."""
    return key.encode() + struct.pack(">i", index)


VECTORS = [
    ("no content, time 0", 0, b"", "00000000-0000-8e3b-8311-0a63f070526b"),
    ("no content, last time", LAST, b"", "ffffffff-ffff-8e3b-8311-0a63f070526b"),
    ("a time before 1970 counts as 0", -1, b"", "00000000-0000-8e3b-8311-0a63f070526b"),
    ("a time past 48 bits is the last", 2**63, b"", "ffffffff-ffff-8e3b-8311-0a63f070526b"),
    ("replay, first row", FIRST, replayed_content(0, 0), "012ca109-c1c0-87ea-a466-b0147fecd0e3"),
    (
        "replay, shifted",
        TIME,
        replayed_content(541_908, SHIFT),
        "019ab5bc-2e7b-86cb-8b9d-fbf016c7c499",
    ),
    ("replay, shifted back", TIME, replayed_content(1, -5), "019ab5bc-2e7b-8e13-94bf-f812d9dff995"),
    (
        "HTTP, first",
        TIME - 123,
        posted_content("order-7", 0),
        "019ab5bc-2e00-8e07-9c65-341529802b21",
    ),
    (
        "HTTP, second",
        TIME - 123,
        posted_content("order-7", 1),
        "019ab5bc-2e00-890e-ad24-2c0402e9bf18",
    ),
]


@pytest.mark.parametrize(("name", "milliseconds", "content", "expected"), VECTORS)
def test_a_derived_id_is_the_one_of_the_contract(
    name: str, milliseconds: int, content: bytes, expected: str
) -> None:
    """48 bits of time, then the leading 74 bits of the SHA-256, as a UUIDv8."""
    assert derived_id(milliseconds, content) == expected, name


def test_an_origin_gives_its_id_whatever_the_attempt() -> None:
    """Topic id, partition and offset decide, so a redrive has the id of the first time."""
    assert origin_id(Origin("purchases", TOPIC_ID, 3, 42, 1_764_000_000_000)) == OWN_ID
    for attempt in (0, 1, 5):
        origin = Origin("renamed", TOPIC_ID, 1, 7, 1_763_900_000_000, attempt)
        assert origin_id(origin) == REDRIVEN_ID


@thorough
@given(st.integers(), st.binary())
def test_a_derived_id_is_a_uuid_of_version_8(milliseconds: int, content: bytes) -> None:
    """Version and variant are right, and the text is the canonical one."""
    text = derived_id(milliseconds, content)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 8
    assert parsed.variant == uuid.RFC_4122


@thorough
@given(st.integers(0, LAST), st.integers(0, LAST), st.binary(), st.binary())
def test_derived_ids_sort_by_time(one: int, other: int, first: bytes, second: bytes) -> None:
    """As texts, the earlier is the smaller, whatever the contents."""
    if one != other:
        assert (derived_id(one, first) < derived_id(other, second)) == (one < other)


@thorough
@given(st.binary(min_size=16, max_size=16))
def test_a_topic_id_is_written_as_kafka_writes_it(topic_id: bytes) -> None:
    """22 characters, and back to the same 16 bytes."""
    text = topic_id_text(topic_id)
    assert len(text) == 22
    assert topic_id_bytes(text) == topic_id


def test_a_known_topic_id_has_the_known_text() -> None:
    """URL-safe base64 without padding."""
    assert topic_id_text(TOPIC_ID).encode() == TOPIC_ID_TEXT
    assert topic_id_text(b"\xff" * 16) == "_____________________w"


@pytest.mark.parametrize(
    ("user", "order_id", "key"),
    [
        ("u", None, b"u"),
        ("é", "7", b"\xc3\xa9"),
        (None, "7", b"7"),
        (None, "", None),
        (None, None, None),
    ],
)
def test_the_key_is_the_user_or_a_guests_order(
    user: str | None, order_id: str | None, key: bytes | None
) -> None:
    """User first; a guest's order; else none."""
    assert record_key(user, order_id) == key


def nearly_uuids(event_id: str) -> st.SearchStrategy[str]:
    """Return texts of 36 characters that are a UUID except for one of them."""
    changes = st.tuples(st.integers(0, 35), st.sampled_from("-0AfGz ١é"))
    return changes.map(lambda change: event_id[: change[0]] + change[1] + event_id[change[0] + 1 :])


UUIDS = st.uuids().map(str)
EVENT_IDS = UUIDS | UUIDS.map(str.upper) | UUIDS.flatmap(nearly_uuids) | st.text(min_size=36)


@thorough
@given(EVENT_IDS.filter(lambda text: "\0" not in text and text.isprintable()))
def test_every_event_id_is_read_as_it_was_stored(event_id: str) -> None:
    """A UUID takes 16 bytes, and any other text is itself: for the code, the views, `verify`."""
    packed = pack_event_id(event_id)
    assert event_id_text(packed) == event_id
    is_uuid = event_id == event_id.lower() and re.fullmatch(UUID_FORM, event_id) is not None
    assert (len(packed) == 16) == is_uuid
    statement = f"SELECT {readable.event_id('id')} FROM (SELECT ? AS id)"
    with closing(sqlite3.connect(":memory:")) as connection:
        assert connection.execute(statement, (packed,)).fetchone() == (event_id,)
    assert stored_id(event_id) == packed
    assert shown_id(packed) == event_id
