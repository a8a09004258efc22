"""Repairs of refused values: by rules, and by a file of corrections."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.dead_letters.repair import (
    Repair,
    RepairError,
    read_edits,
    read_rules,
    repaired_value,
)
from streaming.errors import UsageError

VALUE = b'{"user": "ada",  "unit_price": -5, "big": 12345678901234567890, "price": 1.10}'
NESTED = b"[" * 5_000 + b"]" * 5_000


def test_as_it_is_keeps_every_byte() -> None:
    """Also what is no JSON at all, and what has no value."""
    for value in (VALUE, b"\xff{", b"", None):
        assert repaired_value("a", value, Repair(), cut=False) == value


def test_a_rule_sets_its_field_and_keeps_the_others_byte_for_byte() -> None:
    """Numbers of other fields are not rewritten: 1.10 stays 1.10."""
    value = repaired_value("a", VALUE, Repair({"unit_price": b"5", "country": b'"UK"'}), cut=False)
    assert value == (
        b'{"user":"ada","unit_price":5,"big":12345678901234567890,"price":1.10,"country":"UK"}'
    )


def test_a_rule_repairs_a_value_with_a_byte_order_mark() -> None:
    """The processor reads such a value, so that it can be refused for what the rule repairs."""
    rule = Repair({"unit_price": b"5"})
    marked = repaired_value("a", b"\xef\xbb\xbf" + VALUE, rule, cut=False)
    assert marked == repaired_value("a", VALUE, rule, cut=False)


@pytest.mark.parametrize("value", [b"tea", b"[1]", b"", None, b"\xff", b'"text"', b"{"])
def test_a_field_can_only_be_set_in_an_object(value: bytes | None) -> None:
    """Anything else is left, and counted."""
    with pytest.raises(RepairError, match="no_object"):
        repaired_value("a", value, Repair({"item": b'"tea"'}), cut=False)


def test_a_value_that_is_nested_too_deeply_is_left() -> None:
    """It is no error that would hold up all dead letters behind it."""
    with pytest.raises(RepairError, match="no_object"):
        repaired_value("a", b'{"a":%s}' % NESTED, Repair({"item": b'"tea"'}), cut=False)


@pytest.mark.parametrize("currency", [b'"\xff"', b"1e999", b"1" * 5_000])
def test_a_currency_that_cannot_be_read_is_another_one(currency: bytes) -> None:
    """The price would keep its number; such a value is left, and holds up no other."""
    value = b'{"user":"ada","unit_price":"12.50","currency":%s}' % currency
    with pytest.raises(RepairError, match="other_currency"):
        repaired_value("a", value, Repair({"currency": b'"GBP"'}), cut=False)


@pytest.mark.parametrize("changed", [b'"GBP"', b"null"])
def test_a_price_in_euros_is_not_turned_into_pounds(changed: bytes) -> None:
    """Unless the price is set too, or there is none, or the code was only written otherwise."""
    euros = b'{"user":"ada","item":"tea","currency":"EUR","unit_price":"12.50"}'
    with pytest.raises(RepairError, match="other_currency"):
        repaired_value("a", euros, Repair({"currency": changed}), cut=False)
    with pytest.raises(RepairError, match="other_currency"):
        repaired_value(
            "a", euros.replace(b'"EUR"', b"978"), Repair({"currency": changed}), cut=False
        )
    both = Repair({"currency": changed, "unit_price": b'"10.80"'})
    assert b'"10.80"' in (repaired_value("a", euros, both, cut=False) or b"")
    for value in (
        euros.replace(b'"12.50"', b"null"),
        euros.replace(b"EUR", b""),
        euros.replace(b',"unit_price":"12.50"', b""),
    ):
        assert repaired_value("a", value, Repair({"currency": changed}), cut=False) != value
    pounds = euros.replace(b"EUR", b" gbp ")
    assert repaired_value("a", pounds, Repair({"currency": b'"GBP"'}), cut=False) is not None


def test_what_was_cut_needs_a_whole_value() -> None:
    """The beginning of a value is never sent as if it were all of it."""
    with pytest.raises(RepairError, match="cut"):
        repaired_value("a", VALUE, Repair(), cut=True)
    assert repaired_value("a", VALUE, Repair({}, {"a": b"{}"}), cut=True) == b"{}"


@given(st.binary())
def test_any_value_is_repaired_or_left(value: bytes) -> None:
    """No bytes raise anything else."""
    try:
        repaired = repaired_value("a", value, Repair({"item": b'"tea"'}), cut=False)
    except RepairError:
        return
    assert repaired is not None
    assert b'"item":"tea"' in repaired


def test_rules_are_json_or_text() -> None:
    """A number stays a number, a word becomes a string, quotes say it is one."""
    rules = read_rules(["unit_price=5", "item=tea", 'order_id="5"', "user=null", "country=a=b"])
    assert rules == {
        "unit_price": b"5",
        "item": b'"tea"',
        "order_id": b'"5"',
        "user": b"null",
        "country": b'"a=b"',
    }


@pytest.mark.parametrize("rule", ["unit_price", "price=5", "=5"])
def test_a_wrong_rule_is_named(rule: str) -> None:
    """The sentence says which fields there are."""
    with pytest.raises(UsageError, match="unit_price"):
        read_rules([rule])


def test_a_rule_that_is_nested_too_deeply_is_named() -> None:
    """By its field: the value has thousands of brackets."""
    with pytest.raises(UsageError, match="--set item=… is nested too deeply"):
        read_rules([f"item={'[' * 5_000}"])


def test_one_event_id_for_all_is_refused_and_none_is_taken() -> None:
    """Of many records with one id one would be stored; without one each gets its own."""
    with pytest.raises(UsageError, match="event_id=null"):
        read_rules(["event_id=7f1b9a3e-0000-4000-8000-000000000000"])
    assert read_rules(["event_id=null"]) == {"event_id": b"null"}


def test_a_file_of_corrections_has_objects_and_texts(tmp_path: Path) -> None:
    """An object is sent as it stands, a string as its own text."""
    path = tmp_path / "edits.jsonl"
    path.write_text('{"id": "0:1", "value": {"a": 1.10}}\n\n{"id": "0:2", "value": "t\\u0065a"}\n')
    assert read_edits(path) == {"0:1": b'{"a": 1.10}', "0:2": b"tea"}


@pytest.mark.parametrize(
    "line",
    ["tea", '{"id": "0:1"}', '{"id": 1, "value": {}}', '{"id": "a", "value": 1, "x": 2}', "\xff"],
)
def test_a_wrong_line_is_named(line: str, tmp_path: Path) -> None:
    """By file and number, before anything is sent."""
    path = tmp_path / "edits.jsonl"
    path.write_bytes(b'{"id": "0:1", "value": {}}\n' + line.encode("latin-1"))
    with pytest.raises(UsageError, match=r"edits\.jsonl:2"):
        read_edits(path)


@pytest.mark.parametrize("value", [NESTED, b'{"a":%s}' % NESTED, b'"\xff"'])
def test_a_line_whose_value_cannot_be_read_is_named(value: bytes, tmp_path: Path) -> None:
    """Also one that is nested too deeply, or a string that is no UTF-8."""
    path = tmp_path / "edits.jsonl"
    path.write_bytes(b'{"id": "0:1", "value": {}}\n{"id": "0:2", "value": %s}\n' % value)
    with pytest.raises(UsageError, match=r"edits\.jsonl:2"):
        read_edits(path)


def test_one_id_has_one_correction(tmp_path: Path) -> None:
    """Which of two is meant is not guessed; a missing file is said too."""
    path = tmp_path / "edits.jsonl"
    path.write_text('{"id": "0:1", "value": {}}\n' * 2)
    with pytest.raises(UsageError, match="second time"):
        read_edits(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_edits(tmp_path / "none")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_that_corrects_nothing_is_refused(text: str, tmp_path: Path) -> None:
    """Else all that is open would be sent again as it is."""
    path = tmp_path / "edits.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match="no corrected value"):
        read_edits(path)
