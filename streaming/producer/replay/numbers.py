"""Numbers as spreadsheets and tills write them: signs of a currency, grouped thousands, decimals.

Pure, and of whole columns only. A number that cannot be read stays as it is, for the processor to
refuse.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation, localcontext
from typing import Final

import polars as pl

from streaming.errors import UsageError

SIGNS: Final[dict[str, frozenset[str]]] = {
    "£": frozenset({"GBP"}),
    "€": frozenset({"EUR"}),
    "$": frozenset({"USD", "AUD", "CAD", "HKD", "MXN", "NZD", "SGD", "TWD"}),
    "US$": frozenset({"USD"}),
    "¥": frozenset({"JPY", "CNY"}),
    "₹": frozenset({"INR"}),
    "₩": frozenset({"KRW"}),
    "R$": frozenset({"BRL"}),
    "kr": frozenset({"DKK", "NOK", "SEK"}),
    "zł": frozenset({"PLN"}),
    "Kč": frozenset({"CZK"}),
}
"""Signs beside amounts, and the currencies that write so; a code stands for itself."""
MAX_DECIMALS: Final = 6
"""Of a unit price: the stream counts money in millionths."""
DIGITS: Final = 40
"""More than any total has; the quotient of two is exact or far longer."""

_BLANK = r" \x{a0}\x{2009}\x{202f}"
_GROUPS = r"'\x{2019}" + _BLANK
_SIGN = rf"[^\d\s.,{_GROUPS}+-]{{0,3}}"
_AMOUNT = (
    rf"^(?P<minus>-?)[{_BLANK}]*(?P<before>{_SIGN})[{_BLANK}]*(?P<inner>-?)"
    rf"(?P<number>[\d.,{_GROUPS}]*\d)[{_BLANK}]*(?P<after>{_SIGN})$"
)
_BARE = rf"^[-\d.,{_GROUPS}]*$"


def _number_form(decimal: str, group: str) -> str:
    fraction = rf"(?:\{decimal}[0-9]+)?"
    grouped = rf"[0-9]{{1,3}}(?:[{group}{_GROUPS}][0-9]{{3}})+{fraction}"
    return rf"^-?(?:{grouped}|[0-9]+{fraction}|\{decimal}[0-9]+)$"


_FORMS: Final = {",": _number_form(",", "."), ".": _number_form(".", ",")}
"""Numbers by their decimal sign; the other sign, blanks and apostrophes may group thousands."""
_UNGROUPED: Final = _number_form(".", "")
"""Numbers that are the same whichever sign is the decimal one, or are plain decimals."""


def plain_numbers(
    columns: Sequence[pl.Series], decimal: str | None, currency: str
) -> list[pl.Series]:
    """Return columns with their numbers as plain decimals, such as `-1234.50`.

    Typed numbers stay. A sign or code of `currency` goes if all of a column have it. `decimal` is
    the sign before decimals; None: the one that the numbers show, if all show the same. Raises
    `UsageError` if a column is in another currency.
    """
    texts = [
        column
        if column.dtype.is_numeric()
        else _strip_currency(column.cast(pl.String).str.strip_chars(), currency)
        for column in columns
    ]
    sign = decimal or _decimal_sign([text for text in texts if text.dtype == pl.String])
    return [text if text.dtype != pl.String else _normalise_numbers(text, sign) for text in texts]


def _strip_currency(text: pl.Series, currency: str) -> pl.Series:
    """Take the sign of the currency off, if each filled cell has the same."""
    filled = text.drop_nulls()
    # Most files have none.
    if filled.is_empty() or filled.str.contains(_BARE).any():
        return text
    parts = text.str.extract_groups(_AMOUNT).struct.unnest()
    signs = parts.select(pl.concat_str("before", "after"))[:, 0].drop_nulls().unique()
    if signs.len() != 1 or parts["number"].null_count() > text.null_count():
        return text
    sign = str(signs[0])
    if sign.upper() != currency and currency not in SIGNS.get(sign, ()):
        if sign in SIGNS or (len(sign) == 3 and sign.isascii() and sign.isupper()):
            raise UsageError(
                f"The column {text.name!r} is in {sign} ({filled[0]!r} for example), and this"
                f" deployment's currency is {currency}; convert its amounts, or set"
                " PURCHASES_CURRENCY of a home of its own."
            )
        return text
    return parts.select(pl.concat_str("minus", "inner", "number").alias(text.name)).to_series()


def _decimal_sign(texts: Sequence[pl.Series]) -> str | None:
    """Return the decimal sign that numbers show: some can only be read with it, none without."""
    comma, point = (
        any(
            (text.str.contains(_FORMS[sign]) & ~text.str.contains(_FORMS[other])).any()
            for text in texts
        )
        for sign, other in ((",", "."), (".", ","))
    )
    if comma == point:
        return None
    return "," if comma else "."


def _normalise_numbers(text: pl.Series, decimal: str | None) -> pl.Series:
    """Return numbers without groups and with a point; what is none by `decimal` stays."""
    group = {",": ".", ".": ",", None: ""}[decimal]
    bare = text.str.replace_all(rf"[{group}{_GROUPS}]", "")
    if decimal == ",":
        bare = bare.str.replace(",", ".", literal=True)
    bare = bare.str.replace(r"^(-?)\.", "${1}0.")
    is_number = text.str.contains(_FORMS[decimal] if decimal else _UNGROUPED)
    return bare.zip_with(is_number.fill_null(value=False), text)


def unit_prices(totals: pl.Series, quantities: pl.Series | None) -> pl.Series:
    """Return prices of one item by line totals and quantities (None: 1 each).

    A total that does not divide exactly, within 6 decimals, becomes `10.00 / 3`, which is no price.
    """
    counts = quantities if quantities is not None else pl.Series([1]).new_from_index(0, len(totals))
    pairs = pl.DataFrame([totals.cast(pl.String).alias("total"), counts.cast(pl.String).alias("n")])
    # Each pair is divided once, because Python's decimals are slow and shops have few prices.
    distinct = pairs.unique()
    prices = [_unit_price(total, count) for total, count in distinct.iter_rows()]
    priced = distinct.with_columns(price=pl.Series(prices, dtype=pl.String))
    joined = pairs.join(
        priced, on=["total", "n"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["price"]


def _unit_price(total: str | None, count: str | None) -> str | None:
    if total is None:
        return None
    try:
        divisor = Decimal(count) if count is not None else Decimal(1)
        with localcontext(prec=DIGITS):
            price = Decimal(total) / divisor
            exact = price * divisor == Decimal(total) and price == round(price, MAX_DECIMALS)
    except (InvalidOperation, ZeroDivisionError):
        exact = False
    if not exact:
        return f"{total} / {count or 1}"
    return f"{price.normalize():f}"
