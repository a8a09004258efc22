"""The rules of a purchase's other fields at their limits, one payload a line.

A row is a name, a value, and the fields that the event must have or the code of its refusal. Times,
prices, and what concerns the record as a whole have tables of their own.
"""

import pytest

from tests.events.given import OWN_ID, purchase
from tests.events.rows import Fields, Row, judge


def text(name: str, content: str) -> bytes:
    """Write a purchase with a text in the field `name`."""
    return purchase(**{name: f'"{content}"'})


def nested_arrays(depth: int) -> str:
    """Return arrays nested so deep."""
    return "[" * depth + "]" * depth


NIL = "00000000-0000-0000-0000-000000000000"
ID = "0193bd4e-8f0e-8abc-9def-0123456789ab"
EMOJI = "\U0001f600"
LONG = EMOJI * 1024
NULLS = purchase(
    user="null",
    event_id="null",
    quantity="null",
    unit_price="null",
    currency="null",
    order_id="null",
    description="null",
    country="null",
)
ABSENT: Fields = {"user": None, "quantity": 1, "unit_price_micros": None, "currency": "GBP"}

ROWS = [
    # Names: missing, duplicate, escaped, unknown.
    Row("user missing", purchase(user=None), "missing_field"),
    Row("item missing", purchase(item=None), "missing_field"),
    Row("timestamp missing", purchase(timestamp=None), "missing_field"),
    Row("name in capitals is another", purchase(user=None, User='"u"'), "missing_field"),
    Row("name with a space is another", b'{"user ":"u"}', "missing_field"),
    Row("name with escapes", purchase(item=None, **{"ite\\u006d": '"e"'}), {"item": "e"}),
    Row("duplicate: the last counts", purchase()[:-1] + b',"item":"last"}', {"item": "last"}),
    Row("duplicate: last is null", purchase(quantity='2,"quantity":null'), {"quantity": 1}),
    Row("duplicate: first is of a wrong type", purchase(item='0,"item":"i"'), {"item": "i"}),
    Row("duplicate: last is of a wrong type", purchase(item='"i","item":0'), "wrong_type"),
    Row("duplicate: one escaped", purchase(item='"i","\\u0069tem":"e"'), {"item": "e"}),
    Row("duplicate: first is a bad value", purchase(quantity='0,"quantity":2'), {"quantity": 2}),
    Row("unknown field", purchase(x='{"a":[1,"2",null,true]}'), {"item": "i"}),
    Row("unknown field of no name", purchase(**{"": "1"}), {"item": "i"}),
    Row("unknown field: 1e400", purchase(x="1e400"), {"item": "i"}),
    Row("unknown field: -0", purchase(x="-0"), {"item": "i"}),
    Row("unknown field: 5,000 digits", purchase(x="9" * 5_000), {"item": "i"}),
    Row("unknown field: lone surrogate", purchase(x='"\\ud800"'), {"item": "i"}),
    Row("unknown field: lone low surrogate", purchase(x='"\\udfff"'), {"item": "i"}),
    Row("unknown name: lone surrogate", purchase(**{"\\udbff": "1"}), {"item": "i"}),
    Row("unknown field: U+0000", purchase(x='"\\u0000"'), {"item": "i"}),
    Row("unknown field: NaN", purchase(x="NaN"), "malformed_json"),
    Row("unknown field: Infinity", purchase(x="Infinity"), "malformed_json"),
    Row("unknown field: -Infinity", purchase(x="-Infinity"), "malformed_json"),
    Row("unknown field: leading zero", purchase(x="01"), "malformed_json"),
    Row("unknown field: no digit after the point", purchase(x="1."), "malformed_json"),
    Row("unknown field: hexadecimal", purchase(x="0x1"), "malformed_json"),
    Row("unknown field: bad escape", purchase(x='"\\x41"'), "malformed_json"),
    Row("unknown field: short escape", purchase(x='"\\u12"'), "malformed_json"),
    Row("unknown field: raw control character", purchase(x='"\x01"'), "malformed_json"),
    Row("unknown field: raw DEL", purchase(x='"\x7f"'), {"item": "i"}),
    Row("nested 64 deep, the object counted", purchase(x=nested_arrays(63)), {"item": "i"}),
    Row("nested 65 deep", purchase(x=nested_arrays(64)), "malformed_json"),
    Row("nested 100,000 deep", purchase(x=nested_arrays(100_000)), "malformed_json"),
    Row("opened 200,000 times", b"[" * 200_000, "malformed_json"),
    Row("wide, not deep", purchase(x=f"[{'[],' * 80}{{}}]"), {"item": "i"}),
    Row("brackets in a string", purchase(x=f'"{"[" * 80}\\"{"{" * 80}"'), {"item": "i"}),
    # user
    Row("user null is a guest", purchase(user="null"), {"user": None}),
    Row("user of 0 characters", purchase(user='""'), "invalid_user"),
    Row("user of 1 character", purchase(user='"x"'), {"user": "x"}),
    Row("user of 128 characters", text("user", "x" * 128), {"user": "x" * 128}),
    Row("user of 129 characters", text("user", "x" * 129), "invalid_user"),
    Row("user of 128 emoji", text("user", EMOJI * 128), {"user": EMOJI * 128}),
    Row("user of 129 emoji", text("user", EMOJI * 129), "invalid_user"),
    Row("user keeps case and spaces", purchase(user='" ÉaB "'), {"user": " ÉaB "}),
    Row("user with U+0000", purchase(user='"a\\u0000"'), "invalid_text"),
    Row("user with a lone surrogate", purchase(user='"a\\ud800"'), "invalid_text"),
    Row("user with a surrogate pair", purchase(user='"\\ud83d\\ude00"'), {"user": EMOJI}),
    Row("user with a reversed pair", purchase(user='"\\ude00\\ud83d"'), "invalid_text"),
    Row("user that is a number", purchase(user="17850"), "wrong_type"),
    Row("user that is true", purchase(user="true"), "wrong_type"),
    Row("user that is an object", purchase(user='{"id":1}'), "wrong_type"),
    # item
    Row("item null", purchase(item="null"), "wrong_type"),
    Row("item of 0 characters", purchase(item='""'), "invalid_item"),
    Row("item of 128 characters", text("item", "é" * 128), {"item": "é" * 128}),
    Row("item of 129 characters", text("item", "é" * 129), "invalid_item"),
    Row("item with U+0000", purchase(item='"\\u0000"'), "invalid_text"),
    Row("item with a lone surrogate", purchase(item='"\\udc00"'), "invalid_text"),
    Row("item with escapes", purchase(item='"\\"\\\\\\/\\t"'), {"item": '"\\/\t'}),
    Row("item keeps case and spelling", purchase(item='"85123a "'), {"item": "85123a "}),
    Row("item that is a number", purchase(item="22197"), "wrong_type"),
    Row("item that is 40,000 numbers", purchase(item=f"[{'1,' * 40_000}1]"), "wrong_type"),
    # event_id
    Row("id", text("event_id", ID), {"event_id": ID}),
    Row("id in capitals is the same", text("event_id", ID.upper()), {"event_id": ID}),
    Row("id null is derived", purchase(event_id="null"), {"event_id": OWN_ID}),
    Row("id absent is derived", purchase(), {"event_id": OWN_ID}),
    Row("id of no characters", purchase(event_id='""'), "invalid_event_id"),
    Row("id of zeros", text("event_id", NIL), {"event_id": NIL}),
    Row("id without hyphens", purchase(event_id=f'"{ID.replace("-", "")}"'), "invalid_event_id"),
    Row("id in braces", purchase(event_id=f'"{{{ID}}}"'), "invalid_event_id"),
    Row("id one short", text("event_id", ID[:-1]), "invalid_event_id"),
    Row("id one long", purchase(event_id=f'"{ID}0"'), "invalid_event_id"),
    Row("id with a line feed after", purchase(event_id=f'"{ID}\\n"'), "invalid_event_id"),
    Row("id not hexadecimal", purchase(event_id=f'"g{ID[1:]}"'), "invalid_event_id"),
    Row("id in other digits", purchase(event_id=f'"\u0660{ID[1:]}"'), "invalid_event_id"),
    Row("id with a lone surrogate", purchase(event_id=f'"\\ud800{ID[1:]}"'), "invalid_event_id"),
    Row("id that is a number", purchase(event_id="1"), "wrong_type"),
    # quantity
    Row("quantity null", purchase(quantity="null"), {"quantity": 1}),
    Row("quantity 0", purchase(quantity="0"), "invalid_quantity"),
    Row("quantity -0", purchase(quantity="-0"), "invalid_quantity"),
    Row("quantity 1", purchase(quantity="1"), {"quantity": 1}),
    Row("quantity -1 is a return", purchase(quantity="-1"), {"quantity": -1}),
    Row("quantity 1,000,000", purchase(quantity="1000000"), {"quantity": 1_000_000}),
    Row("quantity 1,000,001", purchase(quantity="1000001"), "invalid_quantity"),
    Row("quantity -1,000,000", purchase(quantity="-1000000"), {"quantity": -1_000_000}),
    Row("quantity -1,000,001", purchase(quantity="-1000001"), "invalid_quantity"),
    Row("quantity 2^63", purchase(quantity="9223372036854775808"), "invalid_quantity"),
    Row("quantity -2^63 - 1", purchase(quantity="-9223372036854775809"), "invalid_quantity"),
    Row("quantity 2^64", purchase(quantity="18446744073709551616"), "invalid_quantity"),
    Row("quantity of 5,000 digits", purchase(quantity="-" + "9" * 5_000), "invalid_quantity"),
    Row("quantity 1.0", purchase(quantity="1.0"), "wrong_type"),
    Row("quantity 1e2", purchase(quantity="1e2"), "wrong_type"),
    Row("quantity 1e400", purchase(quantity="1e400"), "wrong_type"),
    Row("quantity as text", purchase(quantity='"1"'), "wrong_type"),
    Row("quantity true", purchase(quantity="true"), "wrong_type"),
    Row("quantity 01", purchase(quantity="01"), "malformed_json"),
    Row("quantity +1", purchase(quantity="+1"), "malformed_json"),
    Row("quantity NaN", purchase(quantity="NaN"), "malformed_json"),
    # currency
    Row("currency", purchase(currency='"GBP"'), {"currency": "GBP"}),
    Row("currency null", purchase(currency="null"), {"currency": "GBP"}),
    Row("currency of another", purchase(currency='"EUR"'), "unsupported_currency"),
    Row("currency in small letters", purchase(currency='"gbp"'), {"currency": "GBP"}),
    Row("another in small letters", purchase(currency='"eur"'), "unsupported_currency"),
    Row("currency with other letters", purchase(currency='"GBP\u0131"'), "unsupported_currency"),
    Row("currency of no characters", purchase(currency='""'), "unsupported_currency"),
    Row("currency with a lone surrogate", purchase(currency='"\\ud800"'), "unsupported_currency"),
    Row("currency that is a number", purchase(currency="826"), "wrong_type"),
    # Optional texts.
    Row("order null", purchase(order_id="null"), {"order_id": None}),
    Row("order of 0 characters", purchase(order_id='""'), {"order_id": ""}),
    Row("order of 1 character", purchase(order_id='"1"'), {"order_id": "1"}),
    Row("order of 1,024 characters", text("order_id", "x" * 1024), {"order_id": "x" * 1024}),
    Row("order of 1,025 characters", text("order_id", "x" * 1025), "invalid_text"),
    Row("order with U+0000", purchase(order_id='"\\u0000"'), "invalid_text"),
    Row("order that is a number", purchase(order_id="536365"), "wrong_type"),
    Row("description null", purchase(description="null"), {"description": None}),
    Row("description of 1,024 emoji", text("description", LONG), {"description": LONG}),
    Row("description of 1,025 emoji", text("description", EMOJI * 1025), "invalid_text"),
    Row("description with a lone surrogate", purchase(description='"\\udc00"'), "invalid_text"),
    Row("description with a line feed", purchase(description='"a\\nb"'), {"description": "a\nb"}),
    Row("description with U+FFFF", purchase(description='"\\uffff"'), {"description": "\uffff"}),
    Row("description that is true", purchase(description="true"), "wrong_type"),
    Row("country null", purchase(country="null"), {"country": None}),
    Row("country of 1,025 characters", text("country", "x" * 1025), "invalid_text"),
    Row("country with U+0000", purchase(country='"\\u0000"'), "invalid_text"),
    Row("country that is an array", purchase(country="[]"), "wrong_type"),
    Row("null wherever it may be", NULLS, ABSENT | {"order_id": None, "country": None}),
    # Which of several faults is named.
    Row("missing before wrong type", b'{"user":1,"item":"i"}', "missing_field"),
    Row("wrong type before a bad value", purchase(item='""', country="1"), "wrong_type"),
    Row("user before item", purchase(user='""', item='""'), "invalid_user"),
    Row("too old before a text", purchase(timestamp="0", country='"\\u0000"'), "timestamp_too_old"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_field_becomes_what_the_rules_say(row: Row) -> None:
    """The purchase has the fields of its row, or is refused with that code."""
    judge(row)
