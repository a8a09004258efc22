"""Units: times as µs since 1970 in UTC, and money as micros, each as integer and as text.

Pure functions. What a field of an event may hold is judged in `events`; commas and escapes for
people are in `formatting`.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

MICROSECOND: Final = timedelta(microseconds=1)

MICROS: Final = 1_000_000

TRILLION: Final = 10**18
"""Micros of a trillion of the currency: sums count trillions apart, so that 64 bits hold them."""

SECOND_LENGTH: Final = len("2010-12-01T08:26:00")

TIME_LENGTH: Final = len("2010-12-01T08:26:00.000000Z")

_SECOND = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII).fullmatch


def micros_of(time: datetime) -> int:
    """Return a time as integer µs since 1970 in UTC."""
    return (time - EPOCH) // MICROSECOND


@lru_cache(maxsize=16_384)
def second_micros(text: str) -> int:
    """Read `YYYY-MM-DDTHH:MM:SS`, in UTC, as µs since 1970. Raises `ValueError` for any other text.

    Results are cached, because most events of a batch are of few seconds.
    """
    if not _SECOND(text):
        raise ValueError(text)
    return micros_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def utc_micros(text: str) -> int:
    """Read RFC 3339 in UTC with six decimals and `Z`, as `rfc_3339` writes it, as µs since 1970.

    Raises `ValueError` for any other text.
    """
    fraction = text[20:26]
    if (
        len(text) == TIME_LENGTH
        and text[19] == "."
        and text[26] == "Z"
        and fraction.isdigit()
        and text.isascii()
    ):
        return second_micros(text[:19]) + int(fraction)
    raise ValueError(text)


def rfc_3339(time: datetime) -> str:
    """Write a time of UTC with six decimals and `Z`."""
    return f"{time.isoformat(timespec='microseconds')[:26]}Z"


def record_time(milliseconds: int) -> str | None:
    """Write the time of a Kafka record as `rfc_3339` does; None if no calendar has it.

    On a topic with CreateTime its sender may choose any number of 64 bits.
    """
    try:
        return rfc_3339(EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def split_sum(micros: int) -> tuple[int, int]:
    """Split a sum as it is stored: whole trillions of the currency, and the rest in micros.

    Both have the sign of the sum, so a sum below a trillion is in the rest alone, and sums have the
    order of their pairs.
    """
    trillions, rest = divmod(abs(micros), TRILLION)
    return (-trillions, -rest) if micros < 0 else (trillions, rest)


def whole_sum(trillions: int, micros: int) -> int:
    """Return the sum in micros of which `split_sum` makes these two."""
    return trillions * TRILLION + micros


def decimal_text(micros: int) -> str:
    """Write micros as a plain decimal, without trailing zeros beyond the second decimal."""
    sign, magnitude = ("-", -micros) if micros < 0 else ("", micros)
    whole, fraction = divmod(magnitude, MICROS)
    decimals = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
