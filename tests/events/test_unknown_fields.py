"""The names of fields that the contract does not know, and what their sender meant."""

import json

import msgspec
import pytest
from hypothesis import given

from streaming.events.purchase import FIELDS
from streaming.events.record import Record
from streaming.events.unknown_fields import (
    NAME_CHARACTERS,
    NAMES_OF_A_PURCHASE,
    field_meant,
    list_unknown_fields,
)
from streaming.processor.transform import transform
from tests.events.given import RULES, purchase, record, thorough
from tests.events.rows import Row
from tests.events.strategies import RECORDS
from tests.events.test_tables import JSON_ROWS

AT = "2024-05-01T12:00:00.000000Z"
LIMIT = 1_000_000


def require_names(given_record: Record) -> None:
    """Assert that an accepted purchase has the unknown fields that Python's reader finds."""
    output = transform(given_record, RULES, AT, LIMIT)
    if output.reason is not None:
        assert not output.unknown_fields
        return
    try:
        members = json.loads((given_record.value or b"").decode("utf-8-sig"), parse_int=str)
    except ValueError:
        members = None
    names = members if isinstance(members, dict) else ()
    plain = [name for name in names if name.isprintable() and len(name) <= NAME_CHARACTERS]
    expected = [name for name in plain if name not in FIELDS]
    odd = len(names) - len(plain)
    assert len(output.unknown_fields) == min(len(expected) + odd, NAMES_OF_A_PURCHASE)
    assert odd or list(output.unknown_fields) == expected[:NAMES_OF_A_PURCHASE]
    assert all(n.isprintable() and len(n) <= NAME_CHARACTERS for n in output.unknown_fields)


@pytest.mark.parametrize("row", JSON_ROWS, ids=lambda row: row.name)
def test_the_names_of_each_example_are_found(row: Row) -> None:
    """Whichever way a record of the contract's examples is read."""
    require_names(record(row.value, row.key, row.headers, row.topic))


@thorough
@given(RECORDS)
def test_the_names_of_any_record_are_found(given_record: Record) -> None:
    """And a refused record has none, because its refusal says what is wrong."""
    require_names(given_record)


@pytest.mark.parametrize("headers", [(), [("trace", b"1")]], ids=["fast path", "full decoder"])
def test_both_ways_count_a_purchase_once_for_each_name(headers: list[tuple[str, bytes]]) -> None:
    """However often a key comes in it, and whether or not it has a price."""
    given_record = record(purchase(price="1", till='"7"', country='"x"'), headers=headers)
    twice = msgspec.structs.replace(
        given_record, value=(given_record.value or b"").replace(b"{", b'{"price":2,')
    )
    output = transform(twice, RULES, AT, LIMIT)
    assert (list(output.unknown_fields), output.without_price) == (["price", "till"], True)
    priced = record(purchase(unit_price="1"), headers=headers)
    output = transform(priced, RULES, AT, LIMIT)
    assert (list(output.unknown_fields), output.without_price) == ([], False)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('"\\ud800"', "\\ud800"),
        ('"\\u001b[2J"', "\\x1b[2J"),
        ('"\\u202ecirp"', "\\u202ecirp"),
        ('"' + "n" * 200 + '"', "n" * NAME_CHARACTERS),
        ('"' + "\\u0000" * 60 + '"', "\\x00" * 16),
        ('""', ""),
    ],
)
def test_a_name_is_shown_without_harm(name: str, shown: str) -> None:
    """It comes from anyone: it steers no terminal, is short, and can be written as UTF-8."""
    names = list_unknown_fields(purchase().replace(b"{", b"{" + name.encode() + b":1,"))
    assert names == [shown]
    assert msgspec.json.encode(names)


def test_of_a_record_of_many_names_some_are_counted() -> None:
    """What it costs to count them is bounded."""
    many = purchase(**{f"field {number}": "1" for number in range(10_000)})
    assert list_unknown_fields(many) == [f"field {number}" for number in range(NAMES_OF_A_PURCHASE)]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("price", "unit_price"),
        ("unitPrice", "unit_price"),
        ("Unit-Price", "unit_price"),
        ("item_price", "unit_price"),
        ("qty", "quantity"),
        ("quantitiy", "quantity"),
        ("orderId", "order_id"),
        ("eventID", "event_id"),
        ("discount", None),
        ("total_price", None),
        ("amount", None),
        ("customer", None),
        ("users", None),
        ("till", None),
        ("other", None),
        ("", None),
    ],
)
def test_a_name_like_that_of_an_optional_field_gets_a_hint(name: str, meant: str | None) -> None:
    """No wrong one: a required field is there under its own name."""
    assert field_meant(name) == meant
