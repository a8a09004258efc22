"""Figures and foreign text as people read them; units for programs are in `units`."""

import csv
import io
import re
from collections.abc import Iterable
from itertools import chain
from typing import Final

_NOT_ASCII: Final = re.compile(r"[^ -~]")
"""What may not print. The rest needs no look, which makes long texts cheap."""


_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_FORMULA: Final = re.compile(r"(^|[;,|\s])([\s\"']*)([=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Where a cell of a spreadsheet could begin and be a formula, as in `assets.queries.file_formats`;
here after a blank too, because these texts are on one line each."""


def group_thousands(amount: str) -> str:
    """Write a decimal with commas between thousands, exactly."""
    whole, _, decimals = amount.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{decimals}"


def printable_text(text: str) -> str:
    """Escape all that does not print: an item comes from anyone and must not steer a terminal.

    These are control characters, line ends, marks that turn the direction of text, and spaces that
    look like others.
    """
    return _NOT_ASCII.sub(lambda match: _escape(match[0], ascii(match[0])[1:-1]), text)


def printable_lines(text: str) -> str:
    """Escape what does not print, but for the line ends."""
    return "\n".join(map(printable_text, text.split("\n")))


def harmless_cell(text: str) -> str:
    """Return a text as a cell that a spreadsheet shows and does not compute, on one line."""
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'\3", printable_text(text))


def spreadsheet(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return CSV whose texts a spreadsheet shows and does not compute."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in chain([columns], rows):
        writer.writerow([harmless_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def printable_json(text: str) -> str:
    """Escape what does not print in a JSON document on one line; it says the same as before."""
    return _NOT_ASCII.sub(lambda match: _escape(match[0], _json_escape(match[0])), text)


def _escape(character: str, escaped: str) -> str:
    return character if character.isprintable() else escaped


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
