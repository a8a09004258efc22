"""What the property tests draw from: JSON that is almost right, headers, records, valid events."""

import json

from hypothesis import strategies as st

from streaming import units
from streaming.events import fields
from streaming.events.purchase import PurchaseEvent
from streaming.events.record import Header, Origin, Record
from streaming.events.refusal import Reason, Refusal
from tests.events.given import APPENDED, REDRIVE, RULES, origin_fields

DAY = 24 * 3600 * 1000
INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(0, 2**31 - 1)
KEYS = st.none() | st.binary(max_size=20) | st.text(max_size=130).map(str.encode)

FIELDS = """
    user item timestamp event_id quantity unit_price currency order_id description country
    x ite\\u006d \\u0075ser \\ud800 é \\/
"""
GOOD_VALUES = """
    null true false 0 -0 1 -1 6 1.0 -0.0 1e0 1E+2 1e-7 1e400 -1e400 1e-400 4.9e-324 0.1 2.55
    2.4703282292062327e-324 2.4703282292062328e-324 1.7976931348623157e308 1.7976931348623159e308
    0.30000000000000004 123456789.123456789123456789 1000000000 1000000000.1 1000000 1000001
    1764000000000 1262303999999 9223372036854775807 9223372036854775808 -9223372036854775808
    -9223372036854775809 18446744073709551615 18446744073709551616 "" "a" "é" "GBP" "2.55" "-0"
    "1e2" "1764000000000" "2025-11-24T12:00:00Z" "2025-11-24T12:00:00+23:59" "24:00"
    "0001-01-01T00:00:00+00:01" "9999-12-31T23:59:59-00:01" "2016-12-31T23:59:60Z"
    "0193bd4e-8f0e-8abc-9def-0123456789ab" "\\ud800" "\\udc00" "\\ud83d\\ude00" "\\ude00\\ud83d"
    "\\ud800\\n" "\\ud800\\u0041" "\\u0000" "\\uFFFF" "\\/\\b\\t" "\\\\" [] {} [1,2] [[]] {"a":1}
    {"user":1,"user":2}
"""
BAD_VALUES = """
    nul True 01 -01 +1 - . 1. .1 -.1 1e 1e+ 1e5.5 0x10 1_000 ٣ \uff11 NaN Infinity -Infinity nan inf
    'a' " "\\" "\\uD8" "\\u+123" "\\u12_3" "\\u\uff11\uff12" "\\x41" "\x01" [ [1 [1,] [,]
    {"a"} {"a":} {"a":1,} 1,, //
"""
NAMES = st.sampled_from(["", *FIELDS.split()])
LITERALS = st.sampled_from(GOOD_VALUES.split())
BROKEN = st.sampled_from(BAD_VALUES.split())
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(1, 5_000).map(lambda digits: "9" * digits),
)
NESTED = st.integers(0, 70).map(lambda depth: "[" * depth + "1" + "]" * depth)
STRINGS = st.builds(json.dumps, st.text(max_size=5), ensure_ascii=st.booleans())
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t", "\r"])
NO_SPACE = st.sampled_from(
    ["\x0b", "\xa0", "\ufeff", "\0", "\x85", "\u2028", ",", "{", "}", '"', "\\"]
)
VALID = st.fixed_dictionaries(
    {
        "user": st.sampled_from(['"u"', "null"]),
        "item": st.just('"i"'),
        "timestamp": st.sampled_from(['"2025-11-24T12:00:00Z"', "1764000000000"]),
    }
)


@st.composite
def well_formed(draw: st.DrawFn) -> str:
    """Return the JSON of a purchase, with members of odd values, some of them twice."""
    odd = st.tuples(NAMES, LITERALS | NUMBERS | NESTED | STRINGS)
    members = draw(st.permutations([*draw(VALID).items(), *draw(st.lists(odd, max_size=3))]))
    space = [draw(SPACE) for _ in range(4)]
    text = ",".join(f'{space[0]}"{name}"{space[1]}:{value}{space[2]}' for name, value in members)
    return f"{space[3]}{{{text}}}{space[2]}"


@st.composite
def broken_json(draw: st.DrawFn) -> str:
    """Return such JSON with one part that is not JSON, or may not be."""
    text = draw(well_formed())
    at = draw(st.integers(0, len(text)))
    end = draw(st.sampled_from([at, at + 1, len(text)]))
    return text[:at] + draw(BROKEN | NO_SPACE | st.text(max_size=2)) + text[end:]


def json_like() -> st.SearchStrategy[str]:
    """Return JSON that is a purchase, or nearly one."""
    return well_formed() | well_formed() | broken_json()


@st.composite
def damaged_json(draw: st.DrawFn) -> bytes:
    """Return such JSON as bytes, some of them changed to any others."""
    value = bytearray(draw(well_formed()).encode())
    for at in draw(st.lists(st.integers(0, len(value)), max_size=2)):
        value[at : at + 1] = draw(st.binary(max_size=2))
    return bytes(value)


PAYLOADS = st.one_of(
    st.none() | st.binary() | st.text().map(str.encode),
    well_formed().map(str.encode),
    broken_json().map(str.encode),
    damaged_json(),
)
TOPICS = st.from_regex(r"[A-Za-z0-9._-]{1,249}", fullmatch=True)
ORIGINS = st.builds(
    Origin,
    TOPICS,
    st.binary(min_size=16, max_size=16),
    SMALL,
    st.integers(0, 2**63 - 1),
    INT64,
    SMALL,
)
_FOREIGN = st.tuples(st.text(max_size=10), st.none() | st.binary(max_size=10))
_RESERVED = st.tuples(
    st.sampled_from([name for prefix in ("origin.", "dlq.") for name, _ in origin_fields(prefix)]),
    st.none() | st.binary(max_size=10) | st.integers().map(lambda number: b"%d" % number),
)


@st.composite
def headers(draw: st.DrawFn) -> list[Header]:
    """Return headers: foreign ones, and at times an origin that is whole, damaged or incomplete."""
    whole = draw(st.sampled_from(["", "", "origin.", "dlq."]))
    some = list(origin_fields(whole)) if whole else []
    return draw(st.permutations(some + draw(st.lists(_FOREIGN | _FOREIGN | _RESERVED, max_size=2))))


RECORDS = st.builds(
    Record,
    topic=TOPICS | st.just(REDRIVE),
    topic_id=st.binary(min_size=16, max_size=16),
    partition=SMALL,
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.just(APPENDED) | st.just(APPENDED) | INT64,
    key=KEYS,
    value=PAYLOADS,
    headers=headers(),
)
REFUSALS = st.builds(Refusal, st.sampled_from(Reason), st.text(max_size=300))

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_NAMES = st.text(_CHARACTERS, min_size=1, max_size=128)
_TEXTS = st.none() | st.text(_CHARACTERS, max_size=60) | st.just("x" * 1024)
_HISTORY_MICROS = st.integers(units.micros_of(RULES.history_start), (APPENDED + DAY) * 1000)
_TIMES = _HISTORY_MICROS.map(lambda micros: units.EPOCH + micros * units.MICROSECOND)


@st.composite
def events(draw: st.DrawFn) -> PurchaseEvent:
    """Return any event that the rules allow for a record of 2025-11-24T16:00:00Z."""
    magnitude = draw(st.integers(1, fields.MAX_QUANTITY))
    highest = min(fields.MAX_PRICE_MICROS, fields.MAX_AMOUNT_MICROS // magnitude)
    price = draw(st.none() | st.integers(0, highest))
    quantity = draw(st.sampled_from([magnitude, -magnitude]))
    return PurchaseEvent(
        event_id=str(draw(st.uuids())),
        timestamp=draw(_TIMES),
        user=draw(st.none() | _NAMES),
        item=draw(_NAMES),
        quantity=quantity,
        unit_price_micros=price,
        amount_micros=None if price is None else quantity * price,
        currency=RULES.currency,
        order_id=draw(_TEXTS),
        description=draw(_TEXTS),
        country=draw(_TEXTS),
    )
