"""The rules of a purchase's fields: times, prices, quantities, texts.

Each function is pure. It returns the normalised value, or raises `RefusalError` with the code of
the contract. Every decoder calls them, so that a rule stands once. Rules that need the whole record
are in `purchase`.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from streaming.events.identifiers import has_uuid_form
from streaming.events.refusal import Reason, RefusalError, excerpt
from streaming.units import EPOCH, MICROS, decimal_text

# Far beyond a line of any shop: what is larger is a mistake of the sender.
MAX_QUANTITY: Final = 1_000_000
MAX_PRICE_MICROS: Final = 10**9 * MICROS
# The most that a deployment may allow, and so the most that an event on `analytics` holds.
MAX_AMOUNT_MICROS: Final = 10**9 * MICROS
# The user is the record's key, and users and items are keys of tables.
MAX_NAME: Final = 128
# Of an order, a description and a country, which are stored with every event.
MAX_TEXT: Final = 1024

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
).fullmatch
_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d{1,6}))?", re.ASCII).fullmatch


def timestamp(value: str | int) -> datetime:
    """Read RFC 3339 with an offset, or epoch milliseconds; a finer fraction than µs is cut.

    Return a time in UTC. Refuses as `invalid_timestamp`, second 60 and hour 24 too.
    """
    try:
        if isinstance(value, int):
            return EPOCH + timedelta(milliseconds=value)
        # `fromisoformat` alone takes forms that are not RFC 3339, such as week dates.
        if _RFC_3339(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    # The shift to UTC may leave the years 1 to 9999.
    except (ValueError, OverflowError):
        pass
    raise RefusalError(
        Reason.INVALID_TIMESTAMP,
        f"timestamp {excerpt(value)} is neither RFC 3339 with an offset nor epoch milliseconds",
    )


# A shop has far fewer prices than sales: nearly every price of a backlog was read before.
@lru_cache(maxsize=16_384)
def unit_price_micros(value: str | float) -> int:
    """Read a price of 0 to 10⁹ into micros; refuses as `invalid_price`.

    A text is a plain decimal (20 characters and 6 decimals at most) and exact. A number is what a
    double holds, rounded to micros if that changes it by less than 10⁻⁹ relative.
    """
    if isinstance(value, str):
        micros = _decimal_micros(value)
    elif isinstance(value, int):
        micros = value * MICROS
    else:
        micros = _float_micros(value)
    if micros is None or not 0 <= micros <= MAX_PRICE_MICROS:
        raise RefusalError(
            Reason.INVALID_PRICE,
            f"unit_price {excerpt(value)} is not a decimal from 0 to 10^9 with at most 6 decimals",
        )
    return micros


def amount_micros(quantity: int, price_micros: int, max_micros: int) -> int:
    """Multiply quantity by price (micros); refuses a magnitude over `max_micros`.

    The refusal is `invalid_price`.
    """
    amount = quantity * price_micros
    if not -max_micros <= amount <= max_micros:
        raise RefusalError(
            Reason.INVALID_PRICE,
            f"quantity times unit_price is {decimal_text(amount)}, over this deployment's"
            f" PURCHASES_MAX_AMOUNT, {decimal_text(max_micros)}, in magnitude",
        )
    return amount


def quantity(value: int) -> int:
    """Accept an integer that is not 0, of magnitude 10⁶ at most; refuses as `invalid_quantity`."""
    if value == 0 or not -MAX_QUANTITY <= value <= MAX_QUANTITY:
        raise RefusalError(
            Reason.INVALID_QUANTITY,
            f"quantity {excerpt(value)} is 0 or over {MAX_QUANTITY} in magnitude",
        )
    return value


def event_id(value: str) -> str:
    """Read a UUID in its hyphenated form into lower case; refuses as `invalid_event_id`."""
    if value.isascii():
        if has_uuid_form(value.encode()):
            return value
        text = value.lower()
        if has_uuid_form(text.encode()):
            return text
    raise RefusalError(Reason.INVALID_EVENT_ID, f"event_id {excerpt(value)} is no UUID")


def name(field: str, value: str, reason: Reason) -> str:
    """Accept a user or item of 1 to 128 characters that UTF-8 can hold; refuses as `reason`."""
    if not 0 < len(value) <= MAX_NAME:
        raise RefusalError(reason, f"{field} has {len(value)} characters, not 1 to {MAX_NAME}")
    return require_encodable(field, value)


def text(field: str, value: str | None) -> str | None:
    """Accept an optional text of at most 1,024 characters; refuses as `invalid_text`."""
    if value is None:
        return None
    if len(value) > MAX_TEXT:
        raise RefusalError(
            Reason.INVALID_TEXT, f"{field} has {len(value)} characters, over {MAX_TEXT}"
        )
    return require_encodable(field, value)


def require_encodable(field: str, value: str) -> str:
    """Accept a text without U+0000 and without lone surrogates; refuses as `invalid_text`."""
    if value.isascii() and "\0" not in value:
        return value
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise RefusalError(
            Reason.INVALID_TEXT, f"{field} holds U+0000 or a lone surrogate: {excerpt(value)}"
        )
    return value


def _decimal_micros(value: str) -> int | None:
    # Reading an integer takes the square of its digits, and a text may have thousands.
    match = _DECIMAL(value) if len(value) <= 20 else None
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    micros = int(whole) * MICROS + int((fraction or "").ljust(6, "0"))
    return -micros if sign else micros


def _float_micros(value: float) -> int | None:
    # Neither infinity nor NaN, which fails every comparison, gets past this.
    if not -1e12 < value < 1e12:
        return None
    micros = round(value * MICROS)
    exact_enough = value == 0 or abs(micros / MICROS - value) < 1e-9 * abs(value)
    return micros if exact_enough else None
