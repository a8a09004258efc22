"""Pseudonyms: the same for one name, nobody's without the key, and applied to what is stored."""

import stat
from pathlib import Path

import pytest

from streaming.errors import Mismatch
from streaming.events.record import Origin
from streaming.store.pseudonyms import (
    NO_PSEUDONYMS,
    Erasure,
    ListedErasure,
    Pseudonyms,
    new_erasure_list,
    read_pseudonyms,
    write_erasure_list,
)
from streaming.store.rows import OPEN, ORDER_ID, STORED, USER, DeadLetterUpdate
from tests.store.rows import event

KEY = b"k" * 32


def erased_pseudonyms(*names: str, key: bytes = KEY) -> Pseudonyms:
    """Return the pseudonyms after users `u…` and orders `o…` were erased."""
    none = Pseudonyms(key, frozenset(), 1)
    kinds = {"u": "user", "o": "order"}
    return Pseudonyms(key, frozenset(none.of(kinds[name[0]], name) for name in names), 1)


def test_a_pseudonym_is_one_of_its_name_its_kind_and_its_key() -> None:
    """So figures stay the same, and no list of names tells whose a pseudonym is without the key."""
    one = erased_pseudonyms()
    assert one.of("user", "u1") == one.of("user", "u1")
    others = [
        one.of("user", "u2"),
        one.of("order", "u1"),
        erased_pseudonyms(key=b"x" * 32).of("user", "u1"),
    ]
    assert len({one.of("user", "u1"), *others}) == 4
    assert "u1" not in one.of("user", "u1")


@pytest.mark.parametrize(
    ("user", "order", "changed"),
    [
        ("u1", "o1", (True, True)),
        ("u1", "o-later", (True, True)),
        ("u1", None, (True, False)),
        ("u2", "o1", (False, True)),
        (None, "o1", (False, True)),
        ("u2", "o2", (False, False)),
        (None, None, (False, False)),
    ],
)
def test_orders_of_the_erased_are_replaced_and_erased_orders_of_others(
    user: str | None, order: str | None, changed: tuple[bool, bool]
) -> None:
    """Other names stay, and rows with none of them stay the very same rows."""
    pseudonyms = erased_pseudonyms("u1", "o1")
    row = event(0, 0, user=user, order_id=order).row()
    (stored,) = pseudonyms.replace_rows([row])
    assert (stored[USER] != user, stored[ORDER_ID] != order) == changed
    assert stored[:USER] + stored[USER + 1 : ORDER_ID] == row[:USER] + row[USER + 1 : ORDER_ID]
    assert pseudonyms.replace_rows([stored]) == [stored]
    assert (stored is row) == (changed == (False, False))


@pytest.mark.parametrize(
    ("key", "detail", "is_changed"),
    [
        ("u1", "quantity 0 is 0", True),
        ("o1", None, True),
        (None, "user is of type object: {'name': 'u1'}", True),
        ("u2", "user is of type object: {'name': 'u11'}", False),
        (None, None, False),
    ],
)
def test_a_dead_letter_is_the_persons_by_its_key_or_a_word_of_its_detail(
    key: str | None, detail: str | None, *, is_changed: bool
) -> None:
    """It is dropped, because it must not be sent again; one that is stored stays stored."""
    origin = Origin("purchases", b"\0" * 16, 0, 7, 0, 1)
    for state in (OPEN, STORED):
        dead_letter = DeadLetterUpdate(origin, state, "invalid_item", detail, key)
        changed = erased_pseudonyms("u1", "o1").replace_dead_letter(dead_letter)
        if not is_changed:
            assert changed is dead_letter
            continue
        assert "u1" not in str(changed)
        assert changed.key is None or key is None or changed.key.startswith("erased-")
        assert changed.detail == "erased"
        assert changed.state == ("dropped" if state == OPEN else STORED)


def test_the_list_is_its_owners_alone_and_must_have_every_erasure(tmp_path: Path) -> None:
    """A database with an erasure that the home does not know would store the customer again."""
    path = tmp_path / "erasures.json"
    assert read_pseudonyms(path, set()) is NO_PSEUDONYMS
    with pytest.raises(Mismatch, match="lacks 1 of the erasures"):
        read_pseudonyms(path, {"a"})
    erasure = Erasure("a", 0, 1, 0, 0, 0, 0, 0)
    new = new_erasure_list()
    new.erasures.append(ListedErasure(erasure, ["erased-1"]))
    write_erasure_list(path, new)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_pseudonyms(path, {"a"}).erased == {"erased-1"}
    with pytest.raises(Mismatch, match="lacks 1 of the erasures"):
        read_pseudonyms(path, {"a", "b"})
    path.write_text("{")
    with pytest.raises(Mismatch, match="is damaged"):
        read_pseudonyms(path, {"a"})
