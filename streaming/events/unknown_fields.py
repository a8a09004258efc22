"""The fields of a purchase that the contract does not know: their names, and what was meant.

Pure. Such a field is ignored, so a sender does not learn that its name is wrong. How often each
name came is counted in `runtime.counters`.
"""

from difflib import get_close_matches
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from streaming.events.purchase import FIELDS, REQUIRED, PurchaseFields, json_object
from streaming.events.refusal import RefusalError
from streaming.formatting import printable_text

NAMES_OF_A_PURCHASE: Final = 50
"""A value of 256 KiB has room for 40,000: of those nobody reads more."""
NAME_CHARACTERS: Final = 64
"""Of a longer name so many are counted and shown: names are kept in the status file."""
LIKENESS: Final = 0.75
"""Between `item_price`, which is meant for `unit_price`, and `discount`, which is not `country`."""

# The short forms are too unlike the fields to be matched by likeness.
_MEANT: Final = {"price": "unit_price", "qty": "quantity"} | {
    field: field for field in FIELDS if field not in REQUIRED
}


class _ClosedFields(PurchaseFields, frozen=True, forbid_unknown_fields=True):
    """`PurchaseFields` and no other."""


_FIELDS: Final = frozenset(FIELDS)
_decode_closed = msgspec.json.Decoder(_ClosedFields).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


def list_unknown_fields(value: bytes) -> list[str]:
    """Return the names of the unknown fields of an accepted purchase; a key-value form has none.

    At most 50 names, each printable and of at most 64 characters.
    """
    try:
        # Most purchases have none, and this takes a quarter of the time.
        _decode_closed(value)
    except (ValueError, RecursionError):
        return unknown_names(value)
    return []


def unknown_names(value: bytes) -> list[str]:
    """Return what `list_unknown_fields` does, quicker for a purchase that has unknown fields."""
    members: object
    try:
        members = _decode_members(value)
    except (ValueError, RecursionError):
        # What Python's reader alone accepts, such as a byte order mark.
        try:
            members = json_object(value.decode())
        except RefusalError:
            return []
    names = [name for name in members if name not in _FIELDS]
    # One look at all together: hardly any name is odd.
    if len(names) > NAMES_OF_A_PURCHASE or not _is_plain("".join(names)):
        return [_escape_name(name) for name in names[:NAMES_OF_A_PURCHASE]]
    return names


# The status asks for the same names every second.
@lru_cache(maxsize=1_024)
def field_meant(name: str) -> str | None:
    """Return the field whose name is like `name`; None if there is none.

    It is an optional one. A required field is there under its own name, or the purchase would have
    been refused.
    """
    close = get_close_matches(name.lower(), _MEANT, 1, LIKENESS)
    return _MEANT[close[0]] if close else None


def _is_plain(name: str) -> bool:
    return len(name) <= NAME_CHARACTERS and name.isprintable()


def _escape_name(name: str) -> str:
    return name if _is_plain(name) else printable_text(name[:NAME_CHARACTERS])[:NAME_CHARACTERS]
