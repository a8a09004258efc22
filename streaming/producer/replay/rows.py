"""The rows of a recording as the records that are sent; pure.

Their event ids are derived in `row_ids`. Which rows are sent, and when, is decided in `run`.
"""

import math
import re
from collections.abc import Callable, Container, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

import polars as pl

from streaming.events.identifiers import record_key
from streaming.events.purchase import FIELDS
from streaming.producer.record import RawPurchase, encode_purchase
from streaming.producer.replay.recording import UNPAID, Recording
from streaming.producer.replay.row_ids import RowIds
from streaming.producer.replay.timestamps import utc_text

Value = str | int | float | Decimal | None
Result = TypeVar("Result")

# Enough that whole columns are quicker than rows, few enough that the first is sent at once.
SLICE_ROWS: Final = 5_000
# The processor's own limits: what is beyond them is left for it to refuse or to round.
MAX_PRICE: Final = 1e9
MAX_DECIMALS: Final = 6
# Beyond it a float does not hold every integer.
MAX_WHOLE: Final = 2**53
MAX_DECIMAL_LENGTH: Final = 20

_PLAIN_DECIMAL = re.compile(r"-?\d+(?:\.\d{1,6})?", re.ASCII).fullmatch
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII).fullmatch
_WHOLE = re.compile(r"([+-]?\d{1,18})(?:\.0+)?", re.ASCII).fullmatch


PresentIds = Callable[[Sequence[str], Sequence[bytes]], Container[str]]
"""Returns which of some event ids need not be sent; the contents of their rows are given too."""


class Row(NamedTuple):
    """One row of a recording: its number from 0, its time as recorded (µs UTC), what is sent.

    A `value` of None: the row is in the log or in the store already, or nothing was paid.
    """

    number: int
    micros: int | None
    event_id: str
    key: bytes | None
    value: bytes | None


def find_none(_ids: Sequence[str], _contents: Sequence[bytes]) -> Container[str]:
    """Return nothing: every row is sent."""
    return frozenset()


def rows(
    recording: Recording,
    shift_micros: int,
    first: int = 0,
    present_ids: PresentIds = find_none,
    *,
    by_row_number: bool = False,
) -> Iterator[Row]:
    """Yield the rows from number `first` on, each event moved by `shift_micros`.

    Those whose event ids are present, and those of which nothing was paid, come without a value. A
    row that breaks the rules keeps its broken values, and one without a readable time its text.
    `by_row_number` gives the ids of a replay that an earlier release began.
    """
    ids = RowIds(recording, shift_micros, by_row_number=by_row_number)
    for start in range(0, recording.frame.height, SLICE_ROWS):
        # A slice that is done is left out, unless equal rows in it give later ones their ids.
        if start + SLICE_ROWS <= first and not ids.may_repeat(start, SLICE_ROWS):
            continue
        part = recording.frame.slice(start, SLICE_ROWS)
        purchases = _purchases(part, shift_micros)
        contents = [encode_purchase(purchase) for purchase in purchases]
        made = ids.of_slice(start, contents)
        present = present_ids(made, contents)
        for number, micros, purchase, event_id, content, unpaid in zip(
            count(start), part["time"], purchases, made, contents, part[UNPAID], strict=False
        ):
            if number < first:
                continue
            if unpaid is not None or event_id in present:
                yield Row(number, micros, event_id, None, None)
            else:
                key = record_key(purchase.user, purchase.order_id)
                yield Row(number, micros, event_id, key, _with_id(content, event_id))


def _with_id(content: bytes, event_id: str) -> bytes:
    # Put into the bytes, because the id is made of them, and a second encoding doubles the work.
    return b'%s,"event_id":"%s"}' % (content[:-1], event_id.encode())


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


def _purchases(part: pl.DataFrame, shift_micros: int) -> list[RawPurchase]:
    """Make the purchases of a part, without ids; columns are read whole, which is quicker."""
    texts = utc_text(part["time"] + shift_micros).to_list()
    columns = {field: _values(part, field) for field in FIELDS}
    columns["timestamp"] = [
        raw if text is None else text
        for text, raw in zip(texts, part["raw"].to_list(), strict=True)
    ]
    columns["quantity"] = _convert_column(part, "quantity", quantity)
    columns["unit_price"] = _convert_column(part, "unit_price", price)
    # By position: the fields of `RawPurchase` are in the order of `FIELDS`.
    return list(map(RawPurchase, *columns.values()))


def _values(part: pl.DataFrame, name: str) -> list[Any]:
    return part[name].to_list() if name in part.columns else [None] * part.height


def _convert_column(
    part: pl.DataFrame, name: str, convert: Callable[[Value], Result]
) -> list[Result]:
    """Convert a column's values, each distinct one once."""
    values = _values(part, name)
    converted = {value: convert(value) for value in set(values)}
    return [converted[value] for value in values]
