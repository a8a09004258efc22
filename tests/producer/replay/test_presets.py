"""Tests of `--preset`: the small exports in `examples/exports`, with their documented columns."""

from pathlib import Path

import pytest

from streaming.errors import UsageError
from streaming.events.purchase import PurchaseEvent
from streaming.producer.replay.columns import Constant
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.presets import PRESETS
from streaming.producer.replay.recording import Recording, read_recording
from streaming.producer.replay.rows import rows
from streaming.units import decimal_text
from tests.producer.recordings import judge_row

EXPORTS = Path(__file__).parents[3] / "examples" / "exports"


def read(preset: str, **mapping: str | Constant) -> Recording:
    """Read the example of a system by its preset."""
    form = FileFormat(preset=preset)
    return read_recording(EXPORTS / f"{preset}.csv", mapping, "Europe/London", (), form)


def purchases(recording: Recording) -> list[tuple[object, ...]]:
    """Return each row that is sent, as it would be stored; why, if it would be refused."""
    verdicts = [judge_row(row) for row in rows(recording, 0) if row.value is not None]
    return [
        (
            f"{one.timestamp:%m-%dT%H:%M:%S}",
            one.user,
            one.item,
            one.quantity,
            decimal_text(one.unit_price_micros or 0),
            one.order_id,
            one.country,
        )
        if isinstance(one, PurchaseEvent)
        else (one.reason, one.detail)
        for one in verdicts
    ]


def test_shopify_names_country_and_status_on_the_first_line_of_an_order() -> None:
    """They are carried down; orders that are refunded or not yet paid are left out."""
    recording = read("shopify")
    ada = ("03-14T17:04:09", "ada@example.com")
    assert purchases(recording) == [
        (*ada, "CLK-1", 2, "9.99", "#1001", "GB"),
        (*ada, "BAT-4", 1, "8.00", "#1001", "GB"),
    ]
    assert recording.unpaid() == {
        "Financial Status is refunded": 1,
        "Financial Status is pending": 1,
    }
    assert recording.days(0) is not None


def test_woocommerce_gives_the_total_of_a_line() -> None:
    """The price of one is computed; what does not divide exactly will be refused."""
    recording = read("woocommerce")
    first, second, inexact = purchases(recording)
    assert first == ("03-14T13:04:09", "ada@example.com", "CLK-1", 2, "9.99", "101", "GB")
    assert second == ("03-15T06:29:00", "bob@example.com", "BAT-4", 3, "8.00", "102", "DE")
    assert inexact[0] == "invalid_price"
    assert "'10.00 / 3'" in str(inexact[1])
    assert recording.unpaid() == {"status is cancelled": 1}


def test_square_gives_date_and_time_apart_and_amounts_with_a_sign() -> None:
    """A line with a negative quantity is a return."""
    assert purchases(read("square")) == [
        ("03-14T13:04:09", None, "Flat white", 2, "3.50", "T1a2b3", None),
        ("03-14T14:10:00", "C77", "Flat white", -1, "3.50", "T1a2b4", None),
    ]


def test_stripe_gives_payments_in_utc() -> None:
    """By its own ids, in any deployment's time zone; failed and refunded ones are left out."""
    recording = read("stripe")
    assert purchases(recording) == [
        ("03-14T13:04:00", "ada@example.com", "payment", 1, "19.98", "ch_1", None)
    ]
    assert recording.id_columns == ("id",)
    assert sum(recording.unpaid().values()) == 2


def test_amazon_names_no_customer() -> None:
    """Thousands are grouped; what was cancelled is left out."""
    recording = read("amazon")
    assert purchases(recording) == [
        ("03-14T13:04:09", None, "B000WON1Z0", 1, "1234.50", "203-1", None)
    ]
    assert recording.unpaid() == {"Order Status is Cancelled": 1}


def test_a_mapping_goes_before_a_preset() -> None:
    """Field by field; a price takes the place of a total, and the other way round."""
    square = read("square", user="", item=Constant("coffee"), line_total="Net Sales")
    assert [row[1:5] for row in purchases(square)] == [
        (None, "coffee", 2, "3.25"),
        (None, "coffee", -1, "3.50"),
    ]
    shopify = read("shopify", line_total="Lineitem price")
    assert "unit_price" not in shopify.columns


def test_a_column_that_an_export_lacks_is_named(tmp_path: Path) -> None:
    """So that it can be mapped to another; only what changes no figure may be missing."""
    with pytest.raises(UsageError, match=r"--map user=Email: square\.csv has no column 'Email'"):
        read_recording(EXPORTS / "square.csv", {}, "UTC", (), FileFormat(preset="shopify"))
    path = tmp_path / "woo.csv"
    path.write_text("order_date,customer_email,item_sku,item_quantity,item_total\n")
    with path.open("a") as file:
        file.write("3/14/2024 13:04:09,ada@example.com,CLK-1,2,19.98\n")
    form = FileFormat(preset="woocommerce")
    assert purchases(read_recording(path, {}, "UTC", (), form)) == [
        ("03-14T13:04:09", "ada@example.com", "CLK-1", 2, "9.99", None, None)
    ]


def test_each_preset_has_an_example() -> None:
    """So that none is without a test."""
    assert {path.stem for path in EXPORTS.glob("*.csv")} == {*PRESETS, "european"}
