"""Avro by foreign schemas: what a purchase becomes, and schemas that would end a worker."""

import io
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.events.avro import (
    BYTES,
    MAX_NODES,
    RECORDS,
    TIMES,
    UnreadableSchemaError,
    avro_reader,
)
from streaming.events.purchase import Rules
from streaming.events.record import MAX_VALUE_BYTES
from streaming.processor.transform import transform
from tests.events.given import RULES, record

ID = 7
FRAME = b"\0\0\0\0\7"
PROCESSED = "2025-11-24T16:00:01.000000Z"
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 9}
GUID = {"type": "fixed", "name": "Guid", "size": 16, "logicalType": "uuid"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NOON = 1_763_985_600_000  # 2025-11-24T12:00:00Z
Json = Mapping[str, Any]


def schema_of(*fields: Json, **types: object) -> dict[str, Any]:
    """Write the schema of a purchase whose other fields have these types."""
    base = {"user": ["null", "string"], "item": "string", "timestamp": MILLIS, **types}
    members = [{"name": name, "type": kind} for name, kind in base.items()]
    return {"type": "record", "name": "Sale", "fields": [*members, *fields]}


def write_avro(schema: object, value: object) -> bytes:
    """Write a value by a schema, as a producer does."""
    file = io.BytesIO()
    schemaless_writer(file, parse_schema(json.loads(json.dumps(schema))), value)
    return file.getvalue()


def outcome_of(schema: object, value: bytes) -> dict[str, Any] | str:
    """Return the event that the processor makes of a framed value, or the reason of its refusal."""
    rules = Rules(
        RULES.currency,
        RULES.history_start,
        RULES.max_amount_micros,
        RULES.redrive,
        {ID: avro_reader([json.dumps(schema)])},
    )
    output = transform(record(FRAME + value), rules, PROCESSED, 16 * 1024 * 1024)
    if output.reason is not None:
        # The dead letter keeps what was sent.
        assert output.value == FRAME + value
        return str(output.reason)
    event: dict[str, Any] = json.loads(output.value or b"")
    return event


def sale(**fields: object) -> dict[str, object]:
    """Return a valid purchase of an Avro producer."""
    return {"user": "ada", "item": "tea", "timestamp": NOON, **fields}


def test_a_purchase_in_avro_is_an_event() -> None:
    """Times, decimals and ids of Avro are what the contract calls so, to the last micro."""
    schema = schema_of(
        event_id=["null", GUID],
        quantity=["null", "int"],
        unit_price=["null", DECIMAL],
        country={"type": "enum", "name": "Country", "symbols": ["GB", "FR"]},
    )
    guid = bytes.fromhex("019ab697e800730d9f670b4cd658947f")
    # fastavro writes decimals from its own type; 12.34 with nine decimals is this number.
    raw = schema_of(
        event_id=["null", {"type": "fixed", "name": "Guid", "size": 16}],
        quantity=["null", "int"],
        unit_price=["null", "bytes"],
        country={"type": "enum", "name": "Country", "symbols": ["GB", "FR"]},
    )
    value = write_avro(
        raw | {},
        sale(event_id=guid, quantity=-2, unit_price=(12_340_000_000).to_bytes(8), country="FR")
        | {"timestamp": NOON},
    )
    event = outcome_of(schema, value)
    assert isinstance(event, dict)
    assert event["event_id"] == "019ab697-e800-730d-9f67-0b4cd658947f"
    assert event["event_time"] == "2025-11-24T12:00:00.000000Z"
    assert (event["kind"], event["quantity"], event["country"]) == ("return", -2, "FR")
    assert (event["unit_price_micros"], event["amount_micros"]) == (12_340_000, -24_680_000)


@pytest.mark.parametrize(
    ("kind", "number", "time"),
    [
        ("timestamp-millis", NOON, "2025-11-24T12:00:00.000000Z"),
        ("timestamp-micros", NOON * 1000 + 7, "2025-11-24T12:00:00.000007Z"),
        ("timestamp-nanos", NOON * 10**6 + 7_999, "2025-11-24T12:00:00.000007Z"),
        (None, NOON, "2025-11-24T12:00:00.000000Z"),
        ("local-timestamp-millis", NOON, "invalid_timestamp"),
        ("date", 20_416, "invalid_timestamp"),
        ("timestamp-micros", 2**62, "invalid_timestamp"),
        ("timestamp-millis", -(2**62), "invalid_timestamp"),
    ],
)
def test_a_time_is_a_moment_or_refused(kind: str | None, number: int, time: str) -> None:
    """A local time names no moment, and no number is taken for one of another unit."""
    logical = {"logicalType": kind} if kind else {}
    of = "int" if kind == "date" else "long"
    value = write_avro(schema_of(timestamp=of), sale(timestamp=number))
    event = outcome_of(schema_of(timestamp={"type": of, **logical}), value)
    assert (event["event_time"] if isinstance(event, dict) else event) == time


@pytest.mark.parametrize(
    ("field", "kind", "value", "reason"),
    [
        ("unit_price", "double", float("nan"), "invalid_price"),
        ("unit_price", "double", float("inf"), "invalid_price"),
        ("unit_price", "float", 0.1, "invalid_price"),
        ("unit_price", DECIMAL, b"\x7f" * 33, "invalid_price"),
        ("item", "bytes", b"tea", "wrong_type"),
        ("item", {"type": "fixed", "name": "F", "size": 3}, b"tea", "wrong_type"),
        ("quantity", "boolean", True, "wrong_type"),
        ("quantity", {"type": "array", "items": "long"}, [1], "wrong_type"),
    ],
)
def test_what_no_field_takes_is_refused(
    field: str, kind: object, value: object, reason: str
) -> None:
    """JSON has no NaN and no bytes: neither becomes an unknown price, or somebody's name."""
    plain = (
        {k: v for k, v in kind.items() if k != "logicalType"} if isinstance(kind, dict) else kind
    )
    plain = "bytes" if kind is DECIMAL else plain
    sent = write_avro(schema_of(**{field: plain}), sale(**{field: value}))
    assert outcome_of(schema_of(**{field: kind}), sent) == reason


def test_unknown_fields_of_any_type_are_passed_over() -> None:
    """As those of JSON are; their names are counted."""
    nested = {
        "name": "basket",
        "type": {
            "type": "record",
            "name": "Basket",
            "fields": [
                {"name": "lines", "type": {"type": "array", "items": "string"}},
                {"name": "notes", "type": {"type": "map", "values": ["null", "double"]}},
            ],
        },
    }
    schema = schema_of(nested)
    value = write_avro(schema, sale(basket={"lines": ["a", "b"], "notes": {"x": 1.5, "y": None}}))
    assert isinstance(outcome_of(schema, value), dict)


def test_any_bytes_give_an_event_or_a_refusal() -> None:
    """A hostile value raises nothing, whatever its bytes."""
    schema = schema_of(
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        quantity=["null", "long"],
        unit_price=["null", DECIMAL, "double", "string"],
    )
    whole = write_avro(
        schema_of({"name": "tags", "type": {"type": "array", "items": "string"}}), sale(tags=[])
    )
    chance = random.Random(7)
    for _ in range(5_000):
        changed = bytearray(whole + chance.randbytes(chance.randrange(20)))
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        outcome_of(schema, bytes(changed))
    assert outcome_of(schema, b"") == outcome_of(schema, b"\xff" * 50) == "schema_mismatch"
    assert outcome_of(schema_of(), write_avro(schema_of(), sale()) + b"\0") == "schema_mismatch"


def record_schema(name: str, *types: object) -> dict[str, Any]:
    """Write a record with fields of these types."""
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def array_of(items: object) -> dict[str, Any]:
    """Write a record with an array."""
    return record_schema("S", {"type": "array", "items": items})


def long_named(length: int) -> dict[str, Any]:
    """Write a record of one field with so long a name."""
    return {"type": "record", "name": "Long", "fields": [{"name": "n" * length, "type": "int"}]}


def doubled_schema(depth: int) -> dict[str, Any]:
    """Write a schema of 2^depth types in a few bytes."""
    schema = record_schema("D0", "int")
    for number in range(1, depth):
        schema = record_schema(f"D{number}", schema, f"D{number - 1}")
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        # A value of 256 KiB would be nested 262,144 deep, and end the process by its stack.
        (record_schema("Node", ["null", "Node"]), "refers to itself in 'Node'"),
        (record_schema("Tree", {"type": "array", "items": "Tree"}), "refers to itself in 'Tree'"),
        (
            record_schema("A", ["null", record_schema("B", ["null", "A"])]),
            "refers to itself in 'A'",
        ),
        # Elements without bytes: a count of ten bytes is a loop without end.
        (array_of("null"), "elements that take too few bytes"),
        (array_of(record_schema("Nothing")), "elements that take too few bytes"),
        (array_of({"type": "fixed", "name": "F", "size": 0}), "elements that take too few bytes"),
        (
            record_schema("M", {"type": "map", "values": record_schema("N", *["null"] * 20)}),
            "elements that take too few bytes",
        ),
        # A name of each element: 100 KB of them would be 500 MB of JSON.
        (
            array_of({"type": "enum", "name": "E", "symbols": ["A" * 5_000]}),
            "elements that take too few bytes for their types and names",
        ),
        (array_of(long_named(5_000)), "elements that take too few bytes for their types and names"),
        (record_schema("L", long_named(100_000)), "too long names"),
        # An error is a record too.
        (
            {**record_schema("Node", ["null", "Node"]), "type": "error"},
            "refers to itself in 'Node'",
        ),
        (
            {
                **record_schema("Node", ["null", "Other"]),
                "__fastavro_parsed": True,
                "__named_schemas": {"Other": record_schema("O", ["null", "Other"])},
            },
            "refers to itself in 'Other'",
        ),
        (doubled_schema(14), f"has over {MAX_NODES:,} types"),
        (record_schema("Wide", *["null"] * (MAX_NODES + 1)), f"has over {MAX_NODES:,} types"),
        ("[" * 200_000, "nested too deep"),
        ("{", "is no JSON"),
        ("{}", "is no Avro schema"),
        ({"type": "record", "fields": []}, "is no Avro schema"),
        ("null", "is no Avro schema"),
        ([], "is a union of none, or of over 64 records"),
        (
            [record_schema(f"R{number}") for number in range(65)],
            "is a union of none, or of over 64 records",
        ),
        (["null", record_schema("S")], "is no record, and no union of records"),
        ({"type": "map", "values": "string"}, "is no record, and no union of records"),
        (record_schema("S", []), "has a union of no types"),
        (
            record_schema("S", {"type": "fixed", "name": "F", "size": "abc"}),
            "has a type of 'abc' bytes",
        ),
        (record_schema("S", {"type": "fixed", "name": "F", "size": -5}), "has a type of -5 bytes"),
        (schema_of(item={"type": "long", "logicalType": ["x"]}), "is no Avro schema"),
        (schema_of(unit_price=DECIMAL | {"scale": None}), "is no Avro schema"),
        (schema_of({"name": "item", "type": "int"}), "two fields of one name"),
        (
            schema_of(timestamp=["int", MILLIS]),
            "has a union in timestamp of two types that look alike",
        ),
    ],
)
def test_a_schema_that_would_end_a_worker_is_not_read(schema: object, why: str) -> None:
    """Whoever may register schemas must not stop the stream by one."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    with pytest.raises(UnreadableSchemaError, match=why):
        avro_reader([text])


def test_types_nested_over_many_references_are_not_read() -> None:
    """Each schema is shallow, and all together would take Python's stack."""
    texts, inner = [], "int"
    for number in range(20):
        schema: object = inner
        for depth in range(16):
            schema = record_schema(f"T{number}_{depth}", schema)
        texts.append(json.dumps(schema))
        inner = f"T{number}_15"
    with pytest.raises(UnreadableSchemaError, match="is nested too deep"):
        avro_reader(texts)


KINDS = ["enum", "fixed", "array", "map"]
WORDS = st.sampled_from(
    [*BYTES, *RECORDS, *KINDS, *TIMES, "decimal", "item", "timestamp", "S", "T"]
)
KEYS = st.sampled_from(["type", "name", "fields", "items", "__fastavro_parsed", "__named_schemas"])
ANY = st.none() | st.booleans() | st.integers(-9, 99) | st.floats() | st.text(max_size=3) | WORDS
TYPES = st.recursive(
    ANY,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.fixed_dictionaries({"type": inner, "name": inner, "logicalType": inner})
        | st.fixed_dictionaries(
            {
                "type": WORDS,
                "name": WORDS,
                "fields": st.lists(
                    st.fixed_dictionaries({"name": WORDS | inner, "type": inner}), max_size=3
                ),
                "symbols": st.lists(WORDS, max_size=2) | inner,
                "items": inner,
                "values": inner,
                "size": inner,
                "scale": inner,
                "logicalType": WORDS | inner,
            }
        )
    ),
    max_leaves=20,
)
SCHEMAS = TYPES | st.builds(record_schema, WORDS, TYPES, TYPES)


@settings(max_examples=200)
@given(st.lists(SCHEMAS, min_size=1, max_size=3), st.binary(max_size=20))
def test_any_json_is_a_schema_or_none(schemas: list[object], value: bytes) -> None:
    """A registered schema gives a reader or is refused, and a reader gives JSON or refuses."""
    try:
        read = avro_reader([json.dumps(schema) for schema in schemas])
    except UnreadableSchemaError:
        return
    with suppress(ValueError):
        assert isinstance(json.loads(read(value)), dict)


def test_the_largest_schema_and_value_are_read() -> None:
    """The bounds leave room: a thousand fields, and an array of 256 KiB."""
    wide = schema_of(*({"name": f"x{n}", "type": ["null", "string"]} for n in range(600)))
    value = write_avro(wide, sale(**{f"x{n}": None for n in range(600)}))
    assert isinstance(outcome_of(wide, value), dict)
    long = schema_of({"name": "tags", "type": {"type": "array", "items": "string"}})
    value = write_avro(long, sale(tags=[""] * (MAX_VALUE_BYTES - 100)))
    # As JSON it is larger than any value may be.
    assert outcome_of(long, value) == "too_large"
    lines = record_schema("Line", "string", ["null", "double"], ["null", "string"])
    lines["fields"] = [field | {"name": f"{field['name']:_<40}"} for field in lines["fields"]]
    assert outcome_of(array_of(lines), b"\0") == "missing_field"
    assert outcome_of(array_of(record_schema("One", ["null", "int"])), b"\0") == "missing_field"


def test_a_schema_reads_by_those_that_it_refers_to() -> None:
    """Types of a name may be registered by themselves."""
    line = record_schema("shop.Line", "string")
    schema = schema_of({"name": "line", "type": "shop.Line"})
    value = write_avro(schema_of({"name": "line", "type": line}), sale(line={"f0": "x"}))
    members = json.loads(avro_reader([json.dumps(line), json.dumps(schema)])(value))
    assert members["line"] == {"f0": "x"}
    with pytest.raises(UnreadableSchemaError, match="is no Avro schema"):
        avro_reader([json.dumps(schema)])


def test_a_topic_of_several_types_of_event_is_a_union() -> None:
    """Each type has its own times, prices and bytes, also one that is registered by itself."""
    raw = [schema_of(timestamp="long"), "Other", schema_of(item="bytes") | {"name": "Third"}]
    other = schema_of(timestamp="long", unit_price="bytes") | {"name": "Other"}
    logical = [
        schema_of(timestamp={"type": "long", "logicalType": "local-timestamp-millis"}),
        schema_of(unit_price=DECIMAL) | {"name": "Other"},
        schema_of(item="bytes") | {"name": "Third"},
    ]
    price = (12_340_000_000).to_bytes(8)
    values = [
        b"\0" + write_avro(raw[0], sale()),
        b"\2" + write_avro(other, sale(unit_price=price)),
        b"\4" + write_avro(raw[2], sale(item=b"tea")),
    ]
    assert outcome_of(logical, values[0]) == "invalid_timestamp"
    event = outcome_of(logical, values[1])
    assert isinstance(event, dict)
    assert event["unit_price_micros"] == 12_340_000
    assert outcome_of(logical, values[2]) == "wrong_type"
    for bad in (b"", b"\1", b"\6", b"\x80\1"):
        assert outcome_of(logical, bad + values[1][1:]) == "schema_mismatch"
    texts = [json.dumps(logical[1]), json.dumps([logical[0], "Other"])]
    assert json.loads(avro_reader(texts)(values[1]))["unit_price"] == "12.34"
    assert json.loads(avro_reader([texts[0], '"Other"'])(values[1][1:]))["unit_price"] == "12.34"


@pytest.mark.parametrize(
    ("number", "scale", "reason"),
    [
        ((12 * 10**30 + 1).to_bytes(20, signed=True), 30, "invalid_price"),
        (b"", 9, "invalid_price"),
        ((12 * 10**30).to_bytes(20, signed=True), 30, None),
    ],
)
def test_a_decimal_is_exact(number: bytes, scale: int, reason: str | None) -> None:
    """Of thirty digits none is rounded away, and none of them is no price of 0."""
    value = write_avro(schema_of(unit_price="bytes"), sale(unit_price=number))
    decimal = DECIMAL | {"precision": 60, "scale": scale}
    outcome = outcome_of(schema_of(unit_price=decimal), value)
    expected = reason or 12_000_000
    assert (outcome["unit_price_micros"] if isinstance(outcome, dict) else outcome) == expected
