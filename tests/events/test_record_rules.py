"""Rules of a record as a whole at their limits: size, encoding, plain form, headers, origin.

A row is a name, a value, and the fields that the event must have or the code of its refusal; then,
where they matter, the record's key and headers.
"""

import pytest

from streaming.events.fast_path import read_event_fast
from streaming.events.purchase import PurchaseEvent, read_purchase
from streaming.events.record import MAX_VALUE_BYTES, Headers, Origin, Record
from streaming.events.refusal import Reason, Refusal
from tests.events.given import (
    APPENDED,
    OWN_ID,
    REDRIVE,
    REDRIVEN_ID,
    RULES,
    TOPIC_ID,
    origin_fields,
    purchase,
    purchase_at,
    read,
)
from tests.events.rows import Fields, Row, at, judge

ID = "0193bd4e-8f0e-8abc-9def-0123456789ab"
PLAIN: Fields = {"user": "u", "item": "a", **at("2025-11-24T16:00:00Z")}
GOOD = purchase()
TOMORROW = purchase_at("2025-11-25T16:00:00Z")
REDRIVEN: Fields = {"event_id": REDRIVEN_ID}
BAD = "invalid_origin"
MARK = b"\xef\xbb\xbf"
AVRO = b"0ada.lovelace@example.org4a blue tea cup with saucer"
BY_HEADER = [("__value_schema_id", b"\0\0\0\0\7")]
BY_KEY = [("__key_schema_id", b"\0\0\0\0\7")]


def padded_purchase(size: int) -> bytes:
    """Return a valid purchase of `size` bytes, padded by an unknown field."""
    room = size - len(purchase(pad='""'))
    return purchase(pad=f'"{"x" * room}"')


def noted_purchase(character: bytes) -> bytes:
    """Return a purchase with these bytes in an unknown field."""
    return purchase(x='"#"').replace(b"#", character)


FORGED = origin_fields()


def redriven_record(
    name: str,
    value: bytes | None,
    expected: Fields | str,
    key: bytes | None = None,
    headers: Headers = (),
) -> Row:
    """Return the row of a record on the topic on which origins count."""
    return Row(name, value, expected, key, headers, REDRIVE)


ROWS = [
    # The record's value as a whole.
    Row("value none", None, "empty"),
    Row("value none, with a key", None, "empty", b"u"),
    Row("value of no bytes", b"", "empty"),
    Row("value of no bytes, with a key", b"", "empty", b"u"),
    Row("value of white space", b" \n", "malformed_json"),
    Row("value that is a byte order mark", MARK, "malformed_json", b"u"),
    Row("value at 256 KiB", padded_purchase(MAX_VALUE_BYTES), {"item": "i"}),
    Row("value over 256 KiB", padded_purchase(MAX_VALUE_BYTES + 1), "too_large"),
    Row("value over 256 KiB is judged before parsing", b"{" * (MAX_VALUE_BYTES + 1), "too_large"),
    Row("the least that is valid", GOOD, {"user": "u", "item": "i", "quantity": 1}),
    Row("white space around", b" \t\r\n" + GOOD + b"\n\n", {"item": "i"}),
    Row("byte order mark before", MARK + GOOD, {"item": "i"}),
    Row("byte order mark and white space before", MARK + b" \n" + GOOD, {"item": "i"}),
    Row("white space, then byte order mark", b" " + MARK + GOOD, "malformed_json"),
    Row("two byte order marks", MARK * 2 + GOOD, "malformed_json"),
    Row("vertical tab before", b"\x0b" + GOOD, "malformed_json"),
    Row("no-break space before", b"\xc2\xa0" + GOOD, "malformed_json"),
    Row("UTF-16", GOOD.decode().encode("utf-16"), "malformed_json"),
    Row("unfinished object", GOOD[:-1], "malformed_json"),
    Row("open brace only", b"{", "malformed_json", b"u"),
    Row("two objects", GOOD * 2, "malformed_json"),
    Row("trailing NUL", GOOD + b"\0", "malformed_json"),
    Row("trailing comma", GOOD[:-1] + b",}", "malformed_json"),
    Row("single quotes", GOOD.replace(b'"', b"'"), "malformed_json"),
    Row("comment", GOOD + b"//", "malformed_json"),
    Row("empty object", b"{}", "missing_field"),
    Row("array", b"[1]", "wrong_type", b"u"),
    Row("array of a purchase", b"[" + GOOD + b"]", "wrong_type"),
    Row("string", b'"i"', "wrong_type", b"u"),
    Row("string unfinished", b'"i', "malformed_json", b"u"),
    Row("number without key", b"22197", "wrong_type"),
    Row("null without key", b"null", "wrong_type"),
    Row("NaN without key", b"NaN", "malformed_json"),
    Row("quotes without an end, 128 Ki of them", b'{"' + b'\\"' * 131_000, "malformed_json"),
    # Invalid UTF-8, wherever it stands.
    Row("not UTF-8 in item", purchase(item='"#"').replace(b"#", b"\xff"), "malformed_json"),
    Row("not UTF-8 in an unknown field", noted_purchase(b"\xff"), "malformed_json"),
    Row("not UTF-8 in a name", purchase(x="1").replace(b'"x"', b'"\xc3"'), "malformed_json"),
    Row("overlong NUL", noted_purchase(b"\xc0\x80"), "malformed_json"),
    Row("surrogate in UTF-8", noted_purchase(b"\xed\xa0\x80"), "malformed_json"),
    Row("over U+10FFFF", noted_purchase(b"\xf4\x90\x80\x80"), "malformed_json"),
    # The plain form: key = user, value = item.
    Row("plain", b"a", PLAIN | {"quantity": 1, "unit_price_micros": None}, b"u"),
    Row("plain that looks like a number", b"22197", {"item": "22197"}, b"u"),
    Row("plain that looks like null", b"null", {"item": "null"}, b"u"),
    Row("plain that looks like true", b"true", {"item": "true"}, b"u"),
    Row("plain of 128 characters", "é".encode() * 128, {"item": "é" * 128}, b"u"),
    Row("plain of 129 characters", "é".encode() * 129, "malformed_json", b"u"),
    Row("plain keeps its spaces", b" a b ", {"item": " a b "}, b"u"),
    Row("plain without key", b"batteries", "malformed_json"),
    Row("plain with a key of no bytes", b"batteries", "malformed_json", b""),
    Row("plain with a key of 128 characters", b"a", {"user": "é" * 128}, "é".encode() * 128),
    Row("plain with a key of 129 characters", b"a", "malformed_json", "é".encode() * 129),
    Row("plain with a key that is not UTF-8", b"a", "malformed_json", b"\xff"),
    Row("plain with a key with U+0000", b"a", "malformed_json", b"a\0"),
    Row("plain with a tab", b"a\tb", "malformed_json", b"u"),
    Row("plain with U+0000", b"a\0", "malformed_json", b"u"),
    Row("plain with DEL", b"a\x7f", "malformed_json", b"u"),
    Row("plain with U+0085", b"a\xc2\x85", "malformed_json", b"u"),
    Row("plain that is not UTF-8", b"a\xff", "malformed_json", b"u"),
    Row("plain of spaces only", b"   ", "malformed_json", b"u"),
    Row("plain after a brace", b"{a}", "malformed_json", b"u"),
    Row("plain after a bracket", b"[a]", "malformed_json", b"u"),
    Row("plain after a quote", b'"a', "malformed_json", b"u"),
    Row("plain after space and brace", b" {a}", "malformed_json", b"u"),
    Row("plain after mark, space and brace", MARK + b" {a}", "malformed_json", b"u"),
    Row("plain with a brace later", b"a{", {"item": "a{"}, b"u"),
    Row("key and JSON: is JSON", purchase(user='"other"'), {"user": "other"}, b"u"),
    Row("key and a guest: stays a guest", purchase(user="null"), {"user": None}, b"7"),
    Row("key that is none, and JSON", GOOD, {"user": "u"}, b"\xff" * 200),
    # Framed for a schema registry.
    Row("Avro by header", AVRO, "malformed_json", b"u", BY_HEADER),
    Row("Avro of a key by header", b"tea", "malformed_json", b"0ada", BY_KEY),
    Row("JSON by header is JSON", GOOD, {"user": "u", "item": "i"}, None, BY_HEADER),
    Row("Avro by magic byte", b"\0\0\0\0\7" + AVRO, "malformed_json", b"u"),
    Row("JSON by magic byte", b"\0\0\0\0\7" + GOOD, "malformed_json"),
    Row("Protobuf by magic byte", b"\0\0\0\0\7\0\x0a\3tea", "malformed_json", b"u"),
    # Headers.
    Row("foreign headers", GOOD, {"item": "i"}, None, [("traceparent", b"00-1"), ("x", None)]),
    Row("incoming dlq headers", GOOD, {"event_id": OWN_ID}, None, origin_fields("dlq.")),
    redriven_record("origin and no id", GOOD, {"event_id": REDRIVEN_ID}, None, origin_fields()),
    redriven_record(
        "origin and an id", purchase(event_id=f'"{ID}"'), {"event_id": ID}, None, origin_fields()
    ),
    redriven_record(
        "origin and plain form", b"a", at("2025-11-23T12:13:20Z"), b"u", origin_fields()
    ),
    redriven_record("origin unreadable and no value", None, BAD, None, origin_fields(offset=b"x")),
    redriven_record(
        "origin, but limits are the record's", TOMORROW, {"item": "i"}, None, origin_fields()
    ),
    redriven_record("origin of something else", GOOD, BAD, None, [("origin.country", b"UK")]),
    redriven_record(
        "origin with a null", GOOD, BAD, None, [*origin_fields(), ("origin.topic", None)]
    ),
    redriven_record(
        "origin twice", GOOD, {"item": "i"}, None, [("origin.offset", b"x"), *origin_fields()]
    ),
    # Anybody may write these to `purchases`: there they say nothing of the origin.
    Row("forged origin and an id", purchase(event_id=f'"{ID}"'), {"event_id": ID}, None, FORGED),
    Row("half a forged origin", GOOD, {"event_id": OWN_ID}, None, origin_fields(offset=None)),
    Row("unreadable forged origin", GOOD, {"event_id": OWN_ID}, None, origin_fields(offset=b"x")),
    Row("forged origin of something else", GOOD, {"event_id": OWN_ID}, None, [("origin.x", b"")]),
    # What an earlier release sent again may be stored already, under the id of its first record.
    Row("forged origin and no id", GOOD, BAD, None, FORGED),
    Row("forged origin and plain form", b"a", BAD, b"u", FORGED),
    Row(
        "forged origin, and refused for itself",
        purchase(quantity="0"),
        "invalid_quantity",
        None,
        FORGED,
    ),
]

ORIGINS: list[tuple[str, dict[str, bytes | None], Fields | str]] = [
    ("topic missing", {"topic": None}, BAD),
    ("topic id missing", {"topic_id": None}, BAD),
    ("partition missing", {"partition": None}, BAD),
    ("offset missing", {"offset": None}, BAD),
    ("timestamp missing", {"timestamp": None}, BAD),
    ("attempt missing", {"attempt": None}, BAD),
    ("topic of 0 characters", {"topic": b""}, BAD),
    ("topic of 249 characters", {"topic": b"a" * 249}, REDRIVEN),
    ("topic of 250 characters", {"topic": b"a" * 250}, BAD),
    ("topic with a space", {"topic": b"a b"}, BAD),
    ("topic not UTF-8", {"topic": b"\xff"}, BAD),
    ("topic id short", {"topic_id": b"AAAA"}, BAD),
    ("topic id padded", {"topic_id": b"A" * 22 + b"=="}, BAD),
    ("topic id with spare bits", {"topic_id": b"A" * 21 + b"B"}, BAD),
    ("topic id in plain base64", {"topic_id": b"+" * 21 + b"w"}, BAD),
    ("topic id not ASCII", {"topic_id": "é".encode() * 11}, BAD),
    ("topic id not UTF-8", {"topic_id": b"\xff" * 22}, BAD),
    ("partition 0", {"partition": b"0"}, {"item": "i"}),
    ("partition -1", {"partition": b"-1"}, BAD),
    ("partition 2^31 - 1", {"partition": b"2147483647"}, {"item": "i"}),
    ("partition 2^31", {"partition": b"2147483648"}, BAD),
    ("partition of 0 digits", {"partition": b""}, BAD),
    ("partition with a space", {"partition": b" 1"}, BAD),
    ("partition with a line feed", {"partition": b"1\n"}, BAD),
    ("partition in other digits", {"partition": "٣".encode()}, BAD),
    ("partition with a point", {"partition": b"1.0"}, BAD),
    ("offset 2^63 - 1", {"offset": b"9223372036854775807"}, {"item": "i"}),
    ("offset 2^63", {"offset": b"9223372036854775808"}, BAD),
    ("offset -1", {"offset": b"-1"}, BAD),
    ("offset of 5,000 digits", {"offset": b"1" * 5_000}, BAD),
    ("timestamp -1, which is none", {"timestamp": b"-1"}, {"item": "i"}),
    ("timestamp 2^63 - 1", {"timestamp": b"9223372036854775807"}, {"item": "i"}),
    ("timestamp -2^63 - 1", {"timestamp": b"-9223372036854775809"}, BAD),
    ("attempt 0", {"attempt": b"0"}, REDRIVEN),
    ("attempt 4", {"attempt": b"4"}, REDRIVEN),
    ("attempt 2^31 - 1", {"attempt": b"2147483647"}, REDRIVEN),
    ("attempt 2^31", {"attempt": b"2147483648"}, BAD),
]
ROWS += [
    redriven_record(f"origin: {name}", GOOD, expected, None, origin_fields(**changed))
    for name, changed, expected in ORIGINS
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_record_becomes_the_event_or_the_refusal_that_the_rules_say(row: Row) -> None:
    """The record has the fields of its row, or is refused with that code."""
    judge(row)


def test_an_origin_is_the_headers_or_else_the_record_itself() -> None:
    """A refusal stands under the origin; under the record itself if that is unreadable."""
    own = Origin("purchases", TOPIC_ID, 3, 42, APPENDED)
    first = Origin("purchases", TOPIC_ID, 1, 7, 1_763_900_000_000, 2)
    assert read(b"{")[0] == read(GOOD)[0] == own
    for value in (b"{", GOOD):
        assert read(value, None, FORGED)[0] == own
        assert read(value, None, FORGED, REDRIVE)[0] == first
    unreadable = read(b"{", None, origin_fields(offset=b"x"), REDRIVE)[0]
    assert unreadable == Origin(REDRIVE, TOPIC_ID, 3, 42, APPENDED)


@pytest.mark.parametrize(
    ("value", "headers", "named"),
    [
        (AVRO, BY_HEADER, "header __value_schema_id, schema id 7"),
        (AVRO, [("__value_schema_id", b"\1" + bytes(range(16)))], "00010203-0405-0607-0809-"),
        (AVRO, [("__value_schema_id", None)], "header __value_schema_id, schema id None"),
        (b"tea", BY_KEY, "header __key_schema_id, schema id 7"),
        (b"\0\0\1\0\7" + AVRO, [], "magic byte 0, schema id 65543"),
    ],
)
def test_a_framed_record_is_refused_with_its_schema(
    value: bytes, headers: Headers, named: str
) -> None:
    """Whoever repairs it sees why its bytes were not read, and by which schema they can be."""
    _, verdict = read(value, b"0ada", headers)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.MALFORMED_JSON
    assert "framed for a schema registry" in verdict.detail
    assert named in verdict.detail


@pytest.mark.parametrize(
    "value",
    [
        "[]," * 87_000,
        "[" * 262_000,
        "]" * 262_000,
        '"[",' * 65_000,
        '""' * 65_000 + "[" * 65,
        '"\\"[",' * 40_000,
        '"' + "\\" * 200_000 + "[" * 65,
    ],
)
def test_brackets_in_any_number_are_refused_and_raise_nothing(value: str) -> None:
    """That a batch of such values of 256 KiB ends in time is shown in `tests/faults`."""
    content = f'{{"a":[{value}0]}}'.encode()[:MAX_VALUE_BYTES]
    _, verdict = read(content)
    assert isinstance(verdict, Refusal)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("2199-12-31T23:59:59.999999Z", None), ("2200-01-01T00:00:00Z", "timestamp_in_future")],
)
def test_no_event_is_after_the_end_of_time_whatever_time_its_record_has(
    text: str, outcome: str | None
) -> None:
    """A topic may leave the records' times to its producers: 9999 is no day in every zone."""
    appended = 253_402_300_799_000
    placed = Record("purchases", TOPIC_ID, 3, 42, appended, b"u", purchase_at(text))
    _, verdict = read_purchase(placed, RULES)
    assert (verdict.reason if isinstance(verdict, Refusal) else None) == outcome
    fast = read_event_fast(placed, RULES, "2025-11-24T16:00:00.000000Z")
    assert (fast is None) == (outcome is not None)
    plain = Record("purchases", TOPIC_ID, 3, 42, appended, b"u", b"tea")
    _, verdict = read_purchase(plain, RULES)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.TIMESTAMP_IN_FUTURE


@pytest.mark.parametrize("appended", [-(2**63), -1, 0, 2**63 - 1])
def test_any_record_time_gives_a_verdict(appended: int) -> None:
    """A record may carry any int64 as its time, and the verdict on the future follows it."""
    placed = Record("purchases", TOPIC_ID, 3, 42, appended, b"u", GOOD)
    _, verdict = read_purchase(placed, RULES)
    if appended > APPENDED:
        assert isinstance(verdict, PurchaseEvent)
    else:
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Reason.TIMESTAMP_IN_FUTURE
