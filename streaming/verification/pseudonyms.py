"""The erased names, as the verification knows them: what was read is compared by their pseudonyms.

The consumer's own code is not used on purpose: an error of its would go unnoticed. The form of the
file is in `store.pseudonyms`.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from streaming.errors import PurchasesError
from streaming.store.connection import StoreConnection
from streaming.verification.check import Check
from streaming.verification.records import shown_id

REMEMBERED: Final = 100_000
"""Names whose pseudonym is hashed once, because most purchases are of customers seen before."""
COLUMNS: Final = {"user": b"user", "order_id": b"order"}


class _Id(Struct):
    id: str


class _Erasure(Struct):
    erasure: _Id
    pseudonyms: list[str]


class _File(Struct):
    key: str
    erasures: list[_Erasure]


PseudonymOf = Callable[[bytes, str], str | None]
"""From `user` or `order` and a name to what is stored instead; None if it was not erased."""


def read_pseudonyms(connection: StoreConnection, path: Path) -> PseudonymOf | None:
    """Read what the database says was erased; None if nothing was.

    Raises `PurchasesError` if the file lacks an erasure.
    """
    ids = {row[0] for row in connection.execute("SELECT id FROM erasure")}
    if not ids:
        return None
    try:
        file = Decoder(_File).decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PurchasesError(
            f"{path} cannot be read ({error}), so that erased customers cannot be compared. Copy it"
            " from the home that erased them."
        ) from None
    chosen = {each.erasure.id: each.pseudonyms for each in file.erasures if each.erasure.id in ids}
    if chosen.keys() != ids:
        raise PurchasesError(
            f"{path} lacks {len(ids - chosen.keys()):,} of the erasures of the database. Copy it"
            " from the home that erased them."
        )
    erased = {pseudonym for pseudonyms in chosen.values() for pseudonym in pseudonyms}
    key = bytes.fromhex(file.key)

    @lru_cache(REMEMBERED)
    def pseudonym_of(kind: bytes, name: str) -> str | None:
        content = kind + b"\0" + name.encode("utf-8", "surrogatepass")
        pseudonym = f"erased-{blake2b(content, digest_size=16, key=key).hexdigest()}"
        return pseudonym if pseudonym in erased else None

    return pseudonym_of


def check_erased(
    connection: StoreConnection, pseudonym_of: PseudonymOf | None, after: int = 0
) -> Check:
    """Look for names that were erased in the events after a row."""
    check = Check("erased names")
    if pseudonym_of is None:
        return check
    for column, kind in COLUMNS.items():
        rows = connection.execute(
            f'SELECT "{column}", min(rowid) FROM analytics_event WHERE "{column}" IS NOT NULL'  # noqa: S608
            " AND rowid > ? GROUP BY 1",
            (after,),
        ).fetchall()
        for name, row in rows:
            check.compared += 1
            if pseudonym_of(kind, name) is not None:
                check.differ(
                    f"The event {_shown_event(connection, row)} has a {column} that was erased;"
                    " erase it again with `purchases erase`."
                )
    return check


def _shown_event(connection: StoreConnection, row: int) -> str:
    (event_id,) = connection.execute(
        "SELECT event_id FROM analytics_event WHERE rowid = ?", (row,)
    ).fetchone()
    return shown_id(event_id)
