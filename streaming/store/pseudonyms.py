"""Pseudonyms: which users and orders were erased, and what stands in their place.

A pseudonym is a keyed hash of a name. The key and the list are one file of the home, which no
backup of the database holds: without the key the list and the pseudonyms tell of nobody. Replacing
what is stored already is in `erasure`; `verification` has its own reading of the file on purpose.
"""

import os
import re
import secrets
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import Struct, structs

from streaming.errors import Mismatch
from streaming.store.rows import ORDER_ID, STORED, USER, DeadLetterUpdate, EventRow
from streaming.system.files import replace_file

KEY_BYTES: Final = 32
"""So long that nobody tries keys out, to find whose pseudonym one is."""
DIGEST_BYTES: Final = 16
"""Of so many random bits no two names of a deployment share a pseudonym."""
KINDS: Final = {"user": "user", "order_id": "order"}
"""The kind of each column: an order that is called like a user has another pseudonym."""
ERASED: Final = "erased"
"""What stands in a dead letter instead of its detail, and why it was dropped."""
DROPPED: Final = "dropped"
_separators: Final = re.compile(r"[\s'\"{}\[\]():,;]+")


class Pseudonyms(Struct, frozen=True):
    """The pseudonyms of all names that were erased, by `erasures` erasures; pure."""

    key: bytes
    erased: frozenset[str]
    erasures: int

    def of(self, kind: str, name: str) -> str:
        """Return the pseudonym of a `user` or an `order`; it need not be erased."""
        # A NUL is in no kind, so no two pairs have the same content.
        content = f"{kind}\0{name}".encode(errors="surrogatepass")
        return f"erased-{blake2b(content, key=self.key, digest_size=DIGEST_BYTES).hexdigest()}"

    def of_erased(self, kind: str, name: str | None) -> str | None:
        """Return the pseudonym of a name that was erased, None for any other."""
        if name is None:
            return None
        pseudonym = self.of(kind, name)
        return pseudonym if pseudonym in self.erased else None

    def replace_names(self, user: str | None, order: str | None) -> tuple[str | None, str | None]:
        """Return the user and the order of an event as they are stored.

        Every order of an erased user is replaced, also one that came after the erasure. An erased
        order is replaced in every event, so that the number of orders stays.
        """
        erased_user = self.of_erased("user", user)
        erased_order = self.of_erased("order", order)
        # Its order was not there to be listed; one that is a pseudonym already is not hashed again.
        if erased_user is not None and order is not None and order not in self.erased:
            erased_order = self.of("order", order)
        return erased_user or user, erased_order or order

    def replace_rows(self, rows: list[EventRow]) -> list[EventRow]:
        """Return the events without the names that were erased."""
        # Each name of a batch is hashed once, because a hash costs as much as storing a row.
        users = {row[USER] for row in rows}
        orders = {row[ORDER_ID] for row in rows}
        erased_users = {name for name in users if self.of_erased("user", name)}
        erased_orders = {name for name in orders if self.of_erased("order", name)}
        if not erased_users and not erased_orders:
            return rows
        return [
            self._replace_row(row)
            if row[USER] in erased_users or row[ORDER_ID] in erased_orders
            else row
            for row in rows
        ]

    def _replace_row(self, row: EventRow) -> EventRow:
        user, order = self.replace_names(row[USER], row[ORDER_ID])
        before, between, after = row[:USER], row[USER + 1 : ORDER_ID], row[ORDER_ID + 1 :]
        return cast("EventRow", (*before, user, *between, order, *after))

    def replace_dead_letter(self, dead_letter: DeadLetterUpdate) -> DeadLetterUpdate:
        """Return a dead letter without the names that were erased; it is then dropped."""
        key = self.of_erased_key(dead_letter.key)
        if key is None and not self.is_named(dead_letter.detail):
            return dead_letter
        is_stored = dead_letter.state == STORED
        return structs.replace(
            dead_letter,
            key=key or dead_letter.key,
            detail=ERASED,
            state=dead_letter.state if is_stored else DROPPED,
            dropped_because=None if is_stored else ERASED,
        )

    def of_erased_key(self, key: str | None) -> str | None:
        """Return the pseudonym of a record's key that is an erased user or order, else None."""
        return self.of_erased("user", key) or self.of_erased("order", key)

    def is_named(self, text: str | None) -> bool:
        """Return whether a word of the text is an erased name."""
        return any(self.of_erased_key(word) for word in words(text))


class Erasure(Struct, frozen=True):
    """How much an erasure replaced, without any name; times in µs, a row of `erasure`."""

    id: str
    erased_at: int
    users: int
    orders: int
    events: int
    days: int
    dead_letters: int
    table_rows: int


class ListedErasure(Struct, frozen=True):
    """An erasure in the file: its row, and the pseudonyms that it made."""

    erasure: Erasure
    pseudonyms: list[str]


class ErasureList(Struct, frozen=True):
    """The file: the key in hex, and each erasure of the home in order."""

    key: str
    erasures: list[ListedErasure]

    def pseudonyms(self, ids: Collection[str]) -> Pseudonyms:
        """Return the pseudonyms of the erasures with these ids; others are not in the database."""
        chosen = [each for each in self.erasures if each.erasure.id in ids]
        erased = frozenset(name for each in chosen for name in each.pseudonyms)
        return Pseudonyms(bytes.fromhex(self.key), erased, len(chosen))

    def all_pseudonyms(self) -> Pseudonyms:
        """Return the pseudonyms of all erasures of the home."""
        return self.pseudonyms({each.erasure.id for each in self.erasures})


NO_PSEUDONYMS: Final = Pseudonyms(b"", frozenset(), 0)


def words(text: str | None) -> set[str]:
    """Return the words of a text, as the detail of a refusal names a wrong value."""
    return set(_separators.split(text or "")) - {""}


def new_erasure_list() -> ErasureList:
    """Return an empty list with a new random key."""
    return ErasureList(secrets.token_hex(KEY_BYTES), [])


def read_erasure_list(path: Path) -> ErasureList | None:
    """Read the file; None if there is none. Raises `Mismatch` if it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ErasureList)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Mismatch(
            f"{path} is damaged ({error}); copy it back from a backup of the home."
        ) from None


def write_erasure_list(path: Path, erasures: ErasureList) -> None:
    """Replace the file, so that it survives a power failure and nobody else may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path, durable=True) as file:
        # Before a byte is in it: a reader between the two would have the key.
        os.fchmod(file.fileno(), 0o600)
        file.write(msgspec.json.encode(erasures))


def read_pseudonyms(path: Path, ids: Collection[str]) -> Pseudonyms:
    """Return the pseudonyms of the erasures that a database has, by their ids.

    Raises `Mismatch` if the file does not know one of them.
    """
    if not ids:
        return NO_PSEUDONYMS
    erasures = read_erasure_list(path)
    pseudonyms = NO_PSEUDONYMS if erasures is None else erasures.pseudonyms(ids)
    if pseudonyms.erasures < len(ids):
        raise Mismatch(
            f"{path} lacks {len(ids) - pseudonyms.erasures:,} of the erasures of the database, so"
            " that erased customers would be stored again. Copy the file from the home that erased"
            " them."
        )
    return pseudonyms
