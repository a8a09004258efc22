"""Repair: the change of a refused value before it is sent again.

Pure, except `read_edits`, which reads the file of corrections.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from streaming.errors import UsageError
from streaming.events.purchase import BYTE_ORDER_MARK, FIELDS

_object = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Repair:
    """How values are repaired: `fields` are set (to JSON), or `edits` by id replace the value.

    With neither, a value stays as it is.
    """

    fields: Mapping[str, bytes] = field(default_factory=dict)
    edits: Mapping[str, bytes] = field(default_factory=dict)


class RepairError(Exception):
    """The value cannot be repaired in this way; `code` is the reason in one word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class CorrectedValue(Struct, forbid_unknown_fields=True):
    """A line of the file of corrected values."""

    id: str
    value: Raw


def repaired_value(
    dead_letter_id: str, value: bytes | None, repair: Repair, *, cut: bool
) -> bytes | None:
    """Return the value to send; other fields of a JSON object keep their very bytes.

    Raises `RepairError`: `cut` if the topic holds only a beginning (`cut`), `no_object` if a field
    is to be set in what is no JSON object that can be read, `other_currency` if a price would keep
    its number in another currency.
    """
    if dead_letter_id in repair.edits:
        return repair.edits[dead_letter_id]
    if cut:
        raise RepairError("cut")
    if not repair.fields:
        return value
    try:
        # The processor reads a value that begins with this mark, so a repair reads it too.
        fields = _object((value or b"").removeprefix(BYTE_ORDER_MARK.encode()))
    # A `RecursionError` is of values that are nested too deeply.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RepairError("no_object") from None
    if "currency" in repair.fields and "unit_price" not in repair.fields and _has_price(fields):
        _require_same_currency(fields, repair.fields["currency"])
    return _encode({**fields, **{name: Raw(text) for name, text in repair.fields.items()}})


def _has_price(fields: Mapping[str, Raw]) -> bool:
    return bytes(fields.get("unit_price", Raw(b"null"))) != b"null"


def _require_same_currency(fields: Mapping[str, Raw], changed: bytes) -> None:
    """Raise `RepairError` unless there was no currency, or it changes its case alone.

    12.50 euros are not 12.50 pounds; who sets the price as well has converted it. A currency that
    cannot be read is another one.
    """
    try:
        before = msgspec.json.decode(fields.get("currency", Raw(b"null")))
        written = str(before).strip()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RepairError("other_currency") from None
    after = msgspec.json.decode(changed)
    if before is None or before == "":
        return
    if written.upper() != str(after).upper():
        raise RepairError("other_currency")


def read_rules(rules: list[str]) -> dict[str, bytes]:
    """Read `--set field=value` options; a value that is no JSON is a string.

    Raises `UsageError` for another form, a field that purchases do not have, or one event id for
    all, of which one would be stored. With null each gets the id that its origin derives.
    """
    fields = {}
    for rule in rules:
        name, separator, value = rule.partition("=")
        if not separator or name not in FIELDS:
            names = ", ".join(FIELDS)
            raise UsageError(f"--set {rule} must be FIELD=VALUE, with one of {names}.")
        # Read as JSON first, so that 3 is a number and null is null, and a text needs no quotes.
        try:
            fields[name] = _as_json(value)
        except RecursionError:
            raise UsageError(
                f"--set {name}=… is nested too deeply to be read as JSON; a text needs quotes."
            ) from None
        if name == "event_id" and fields[name] != b"null":
            raise UsageError(
                f"--set {rule} would give all of them one id; take event_id=null, which makes one"
                " for each, or --edit FILE."
            )
    return fields


def read_edits(path: Path) -> dict[str, bytes]:
    """Read a file of corrected values: JSON Lines of `id` and `value`.

    A value that is an object is sent as JSON, a string as its own text. Raises `UsageError` naming
    the first line that is wrong, or the file if it corrects nothing.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--edit {path} cannot be read: {error.strerror}.") from None
    edits: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            edit = msgspec.json.decode(line, type=CorrectedValue)
            value = _sent_value(edit.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                f'--edit {path}:{number} is not {{"id": …, "value": …}} on one line: {error}.'
            ) from None
        if edit.id in edits:
            raise UsageError(f"--edit {path}:{number} names {edit.id} a second time.")
        edits[edit.id] = value
    if not edits:
        raise UsageError(
            f'--edit {path} holds no corrected value; write lines such as {{"id": …, "value": …}}.'
        )
    return edits


def _sent_value(corrected: Raw) -> bytes:
    text = bytes(corrected)
    return msgspec.json.decode(text, type=str).encode() if text[:1] == b'"' else text


def _as_json(value: str) -> bytes:
    try:
        msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return _encode(value)
    return value.encode()
