"""Tests of `--map`: which column gives which field, and what is refused."""

from collections.abc import Mapping, Sequence

import pytest

from streaming.errors import UsageError
from streaming.producer.replay.columns import (
    ONLINE_RETAIL,
    Constant,
    read_id_columns,
    read_mapping,
    sources_by_field,
)

COLUMNS = list(ONLINE_RETAIL.values())


def columns_by_field(
    mapping: Mapping[str, str | Constant], columns: Sequence[str], name: str
) -> dict[str, str]:
    """Return what gives each field, as it is shown."""
    return {field: str(one) for field, one in sources_by_field(mapping, columns, name).items()}


def test_online_retail_is_the_default() -> None:
    """Without `--map` each field comes from the column of Online Retail; others are left alone."""
    assert columns_by_field({}, [*COLUMNS, "Colour"], "f") == ONLINE_RETAIL


def test_a_mapped_field_replaces_its_default_and_no_other() -> None:
    """As for Online Retail II, whose names differ in three columns."""
    mapping = read_mapping(["order_id=Invoice", "unit_price=Price", "user=Customer ID"])
    renamed = {"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}
    columns = [renamed.get(column, column) for column in COLUMNS]
    assert columns_by_field(mapping, columns, "f") == {**ONLINE_RETAIL, **mapping}


def test_a_column_name_may_hold_an_equals_sign() -> None:
    """Only the first one separates."""
    assert read_mapping(["user=a=b"]) == {"user": "a=b"}


def test_a_file_of_ones_own_needs_only_user_item_and_timestamp() -> None:
    """Where these three are mapped, Online Retail's other columns may be missing."""
    mapping = {"user": "who", "item": "what", "timestamp": "when"}
    assert columns_by_field(mapping, ["when", "who", "what"], "f") == mapping
    with_quantity = columns_by_field(mapping, ["when", "who", "what", "Quantity"], "f")
    assert with_quantity == {**mapping, "quantity": "Quantity"}


def test_an_optional_field_can_be_left_out() -> None:
    """By mapping it to nothing, whether its column is there or not."""
    left_out = columns_by_field(read_mapping(["country="]), COLUMNS, "f")
    assert left_out == {f: c for f, c in ONLINE_RETAIL.items() if f != "country"}


@pytest.mark.parametrize(
    "columns",
    [
        ["user", "item", "timestamp", "unit_price", "note"],
        ["User", "ITEM", "TimeStamp", "Unit_Price", "note"],
        [" user", "item ", "timestamp", "unit_price", "note"],
    ],
)
def test_columns_with_the_names_of_the_contract_need_no_mapping(columns: list[str]) -> None:
    """In any case; what is not there is left out, and what is no field stays unused."""
    assert columns_by_field({}, columns, "f") == dict(
        zip(("user", "item", "timestamp", "unit_price"), columns, strict=False)
    )


def test_the_exact_name_comes_first_and_two_others_are_none() -> None:
    """What could be either of two columns is neither."""
    there = ["User", "user", "item", "timestamp"]
    assert columns_by_field({}, there, "f")["user"] == "user"
    with pytest.raises(UsageError, match="f has no column 'user' for user; name another"):
        columns_by_field({}, ["User", "USER", "item", "timestamp"], "f")


def test_a_mapping_goes_before_the_names() -> None:
    """And completes them: one column of another name is all that must be mapped."""
    there = ["customer", "item", "timestamp", "country", "land"]
    columns = columns_by_field({"user": "customer", "country": "land"}, there, "f")
    assert columns == {n: n for n in ("item", "timestamp")} | {
        "user": "customer",
        "country": "land",
    }


def test_sales_without_customers_are_of_guests() -> None:
    """Of the required fields the user alone can be left out."""
    assert read_mapping(["user="]) == {"user": ""}
    assert "user" not in columns_by_field({"user": ""}, ["item", "timestamp"], "f")


@pytest.mark.parametrize(
    ("option", "columns"),
    [
        (None, []),
        ("Id", ["Id"]),
        ("Name,Lineitem sku", ["Name", "Lineitem sku"]),
        ('"a,b",c', ["a,b", "c"]),
    ],
)
def test_the_columns_that_name_a_row_are_read(option: str | None, columns: list[str]) -> None:
    """With a comma between; a name with a comma is quoted."""
    assert read_id_columns(option) == columns


@pytest.mark.parametrize("option", ["", ",", "Id,"])
def test_an_id_without_a_name_is_refused(option: str) -> None:
    """As it was typed."""
    with pytest.raises(UsageError, match=f"--id {option}: name a column"):
        read_id_columns(option)


@pytest.mark.parametrize("missing", COLUMNS)
def test_a_missing_column_is_named_with_its_field_and_what_is_there(missing: str) -> None:
    """So that one sees at once what to map."""
    there = [column for column in COLUMNS if column != missing]
    with pytest.raises(UsageError) as refused:
        columns_by_field({}, there, "shop.csv")
    message = str(refused.value)
    field = next(field for field, column in ONLINE_RETAIL.items() if column == missing)
    assert f"shop.csv has no column {missing!r} for {field}" in message
    assert f"--map {field}=COLUMN" in message
    assert ", ".join(there) in message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["user"], "field=column"),
        (["colour=Colour"], "'colour' is not a field"),
        (["event_id=Id"], "--id names the columns"),
        (["=Colour"], "'' is not a field"),
        (["user=a", "user=b"], "mapped twice"),
        (["item="], "item cannot be left out"),
        (["timestamp:="], "timestamp cannot be left out"),
        (["currency=c", "currency:=GBP"], "mapped twice"),
    ],
)
def test_a_mapping_that_is_none_is_refused(options: list[str], named: str) -> None:
    """With the option as it was typed."""
    with pytest.raises(UsageError, match=f"--map {options[-1]}.*{named}"):
        read_mapping(options)


def test_columns_are_joined_and_a_value_is_given_to_all_rows() -> None:
    """`+` joins, unless a column is called so; `:=` needs no column."""
    there = ["Date", "Time", "a+b", "item"]
    mapping = read_mapping(["timestamp=Date+Time", "user=a+b", "currency:=GBP"])
    assert columns_by_field(mapping, there, "f") == {
        "timestamp": "Date+Time",
        "user": "a+b",
        "item": "item",
        "currency": "'GBP' in every row",
    }
    with pytest.raises(UsageError, match=r"--map timestamp=Date\+Hour: f has no column 'Hour'"):
        columns_by_field({"user": "", "timestamp": "Date+Hour"}, there, "f")


def test_a_line_total_takes_the_place_of_a_price() -> None:
    """Of a column of prices too; both at once are refused."""
    there = ["user", "item", "timestamp", "unit_price", "total"]
    columns = columns_by_field(read_mapping(["line_total=total"]), there, "f")
    assert columns["line_total"] == "total"
    assert "unit_price" not in columns
    with pytest.raises(UsageError, match="line_total: it gives unit_price, which is mapped too"):
        read_mapping(["line_total=total", "unit_price=unit_price"])


@pytest.mark.parametrize("own", [{}, {"item": "StockCode", "timestamp": "InvoiceDate"}])
def test_an_unknown_column_is_refused(own: dict[str, str]) -> None:
    """Also where the file is one's own, for a field that could be missing."""
    with pytest.raises(UsageError, match="--map user=Buyer: f has no column 'Buyer'; it has"):
        columns_by_field({**own, "user": "Buyer"}, COLUMNS, "f")
