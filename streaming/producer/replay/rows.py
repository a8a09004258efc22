"""The rows of a recording as the records that are sent; pure.

The derived event ids of a replay are made here. Which rows are sent, and when, is decided in `run`.
"""

import math
import re
import struct
from collections.abc import Callable, Container, Iterator
from decimal import Decimal
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

import polars as pl

from streaming.events.identifiers import derived_id, record_key
from streaming.events.purchase import FIELDS
from streaming.producer.record import RawPurchase, encode_purchase
from streaming.producer.replay.recording import Recording
from streaming.producer.replay.timestamps import utc_text

Value = str | int | float | Decimal | None
Result = TypeVar("Result")

# Enough that whole columns are quicker than rows, few enough that the first is sent at once.
SLICE_ROWS: Final = 5_000
MAX_PRICE: Final = 1e9
MAX_DECIMALS: Final = 6
# Beyond it a float does not hold every integer.
MAX_WHOLE: Final = 2**53
MAX_DECIMAL_LENGTH: Final = 20

_PLAIN_DECIMAL = re.compile(r"-?\d+(?:\.\d{1,6})?", re.ASCII).fullmatch
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII).fullmatch
_WHOLE = re.compile(r"([+-]?\d{1,18})(?:\.0+)?", re.ASCII).fullmatch


class Row(NamedTuple):
    """One row of a recording: its number from 0, its time as recorded (µs UTC), what is sent.

    A `value` of None: the row is in the log already.
    """

    number: int
    micros: int | None
    key: bytes | None
    value: bytes | None


def rows(
    recording: Recording,
    shift_micros: int,
    first: int = 0,
    present: Container[str] = frozenset(),
) -> Iterator[Row]:
    """Yield the rows from number `first` on, each event moved by `shift_micros`.

    Those whose event ids are `present` come without a value. A row that breaks the rules keeps its
    broken values, and one without a readable time its text.
    """
    for start in range(first, recording.frame.height, SLICE_ROWS):
        part = recording.frame.slice(start, SLICE_ROWS)
        ids = [
            replay_id(recording.digest, number, shift_micros, micros)
            for number, micros in enumerate(part["time"].to_list(), start)
        ]
        yield from _slice_rows(part, ids, start, shift_micros, present)


def replay_id(digest: bytes, number: int, shift_micros: int, micros: int | None) -> str:
    """Derive the id of row `number`, recorded at `micros` (None: unreadable, counts as 1970).

    The id sorts by the time of the event as it is sent, so after the shift.
    """
    milliseconds = 0 if micros is None else (micros + shift_micros) // 1000
    return derived_id(milliseconds, digest + struct.pack(">qq", number, shift_micros))


def price(value: Value) -> str | float | None:
    """Return a price as plain decimal text if it is one, so that no digit changes.

    A number with more decimals than the contract's text goes as a number, which the processor
    rounds or refuses; anything else stays as it is.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value
        number = float(value) if _NUMBER(value) else math.nan
    else:
        number = float(value)
        text = _decimal_text(value) if math.isfinite(number) else str(number)
    plain = len(text) <= MAX_DECIMAL_LENGTH and _PLAIN_DECIMAL(text)
    return text if plain or not 0 <= number <= MAX_PRICE else number


def _decimal_text(value: float | Decimal) -> str:
    """Return a number without an exponent; the zeros of a fixed scale go if they are too many."""
    text = f"{Decimal(str(value)):f}"
    if isinstance(value, Decimal) and len(text.partition(".")[2]) > MAX_DECIMALS:
        return text.rstrip("0").rstrip(".")
    return text


def quantity(value: Value) -> str | int | float | None:
    """Return a quantity as an integer if it is a whole number; anything else stays as it is."""
    if isinstance(value, str):
        match = _WHOLE(value)
        return int(match[1]) if match else value
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            return str(value)
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < MAX_WHOLE else number
    return value


def _slice_rows(
    part: pl.DataFrame, ids: list[str], start: int, shift_micros: int, present: Container[str]
) -> Iterator[Row]:
    """Make the rows of a part; its columns are read whole, which is quicker than row by row."""
    micros = part["time"].to_list()
    texts = utc_text(part["time"] + shift_micros).to_list()
    columns = {field: _values(part, field) for field in FIELDS}
    columns["event_id"] = ids
    columns["timestamp"] = [
        raw if text is None else text
        for text, raw in zip(texts, part["raw"].to_list(), strict=True)
    ]
    columns["quantity"] = _converted(part, "quantity", quantity)
    columns["unit_price"] = _converted(part, "unit_price", price)
    # By position: the fields of `RawPurchase` are in the order of `FIELDS`.
    purchases = map(RawPurchase, *columns.values())
    for number, time, purchase in zip(count(start), micros, purchases, strict=False):
        if purchase.event_id in present:
            yield Row(number, time, None, None)
        else:
            key = record_key(purchase.user, purchase.order_id)
            yield Row(number, time, key, encode_purchase(purchase))


def _values(part: pl.DataFrame, name: str) -> list[Any]:
    return part[name].to_list() if name in part.columns else [None] * part.height


def _converted(part: pl.DataFrame, name: str, convert: Callable[[Value], Result]) -> list[Result]:
    """Convert a column's values, each distinct one once."""
    values = _values(part, name)
    known = {value: convert(value) for value in set(values)}
    return [known[value] for value in values]
