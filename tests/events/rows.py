"""What the tables of rules are made of: a row, what is expected of it, and the judge."""

from datetime import datetime
from typing import NamedTuple

from msgspec.structs import asdict

from streaming.events.purchase import PurchaseEvent, PurchaseFields
from streaming.events.record import Headers
from streaming.events.refusal import Refusal
from tests.events.given import read

Fields = dict[str, object]


class Row(NamedTuple):
    """One record, and the fields that its event must have, or the code of its refusal."""

    name: str
    value: bytes | None
    expected: Fields | str
    key: bytes | None = None
    headers: Headers = ()
    topic: str = "purchases"


def at(text: str) -> Fields:
    """Expect the event time `text`."""
    return {"timestamp": datetime.fromisoformat(text)}


def price(micros: int | None) -> Fields:
    """Expect a unit price in micros."""
    return {"unit_price_micros": micros}


def amount(micros: int | None) -> Fields:
    """Expect an amount in micros."""
    return {"amount_micros": micros}


def typed_fields(purchase: PurchaseFields) -> Fields:
    """Return the fields of a purchase with their types, as 1, 1.0 and True are equal."""
    return {name: (type(value), repr(value)) for name, value in asdict(purchase).items()}


def judge(row: Row) -> None:
    """Fail where the record of a row does not become what the row says."""
    _, verdict = read(row.value, row.key, row.headers, row.topic)
    if isinstance(row.expected, str):
        assert isinstance(verdict, Refusal), verdict
        assert verdict.reason == row.expected
        assert 0 < len(verdict.detail.encode()) <= 300
    else:
        assert isinstance(verdict, PurchaseEvent), verdict
        assert {name: getattr(verdict, name) for name in row.expected} == row.expected
