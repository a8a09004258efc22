"""Tests of reading recordings: Parquet, CSV in its varieties, and files that are none."""

import gzip
import hashlib
import zipfile
from datetime import date
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from pathlib import Path

import polars as pl
import pytest

from streaming.errors import UsageError
from streaming.events.refusal import Refusal
from streaming.producer.replay.file_format import FileFormat, read_format
from streaming.producer.replay.recording import read_recording
from streaming.producer.replay.rows import rows
from tests.producer.recordings import (
    EXAMPLE,
    HEADER,
    PURCHASE,
    judge_row,
    read_csv,
    sent_values,
    write_csv,
)

LONG_CELL = PURCHASE.replace("HEART", "H" * 140_000)
GOOD = {
    "user": "17850",
    "item": "85123A",
    "timestamp": "2010-12-01T08:26:00.000000Z",
    "quantity": 6,
    "unit_price": "2.55",
    "order_id": "536365",
    "description": "HEART",
    "country": "United Kingdom",
}


def content(recorded: dict[str, object]) -> dict[str, object]:
    """Return a purchase without its event id."""
    return {name: value for name, value in recorded.items() if name != "event_id"}


def test_csv_and_parquet_give_the_same_purchases(tmp_path: Path) -> None:
    """Row by row, with the same ids, because a purchase is what the row says."""
    frame = pl.read_parquet(EXAMPLE).slice(1_400, 3_000)
    frame.write_csv(tmp_path / "some.csv")
    frame.write_parquet(tmp_path / "some.parquet")
    texts, typed = (
        read_recording(tmp_path / name, {}, "Europe/London")
        for name in ("some.csv", "some.parquet")
    )
    assert sent_values(texts) == sent_values(typed)
    assert len({row["event_id"] for row in sent_values(texts)}) == frame.height
    assert texts.digest == hashlib.sha256((tmp_path / "some.csv").read_bytes()).digest()


def test_a_purchase_is_sent_with_every_field(tmp_path: Path) -> None:
    """Currency is not sent: it is the deployment's."""
    assert [content(row) for row in sent_values(read_csv(tmp_path, PURCHASE))] == [GOOD]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_found(tmp_path: Path, separator: str) -> None:
    """By the line of column names."""
    header, line = (text.replace(",", separator) for text in (HEADER, PURCHASE))
    assert [content(row) for row in sent_values(read_csv(tmp_path, line, header=header))] == [GOOD]


def test_quotes_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """As spreadsheets write them; a quoted cell may hold commas, quotes and line ends."""
    path = tmp_path / "quoted.csv"
    line = PURCHASE.replace("HEART", '"A ""BIG"" HEART,\nRED"')
    path.write_bytes(f"\ufeff{HEADER}\r\n{line}\r\n{PURCHASE}".encode())
    first, second = sent_values(read_recording(path, {}, "UTC"))
    assert first["description"] == 'A "BIG" HEART,\nRED'
    assert content(second) == GOOD


def test_cells_are_not_guessed_to_be_numbers(tmp_path: Path) -> None:
    """Leading zeros stay, and one column may hold `00123` and `C123`."""
    line = "00123,0007,1e5,6,2010-12-01 08:26,2.50,0042,007"
    (row,) = sent_values(read_csv(tmp_path, line))
    assert [row[name] for name in ("order_id", "item", "user", "description", "country")] == [
        "00123",
        "0007",
        "0042",
        "1e5",
        "007",
    ]
    assert row["unit_price"] == "2.50"


@pytest.mark.parametrize("empty", ["", '""'])
def test_an_empty_cell_is_null_and_its_customer_a_guest(tmp_path: Path, empty: str) -> None:
    """Quoted or not; the guest is explicit, what is optional is left out."""
    line = f"536365,85123A,{empty},6,2010-12-01 08:26:00,{empty},{empty},{empty}"
    (row,) = rows(read_csv(tmp_path, line), 0)
    assert row.key == b"536365"
    (values,) = sent_values(read_csv(tmp_path, line))
    assert set(values) == {"user", "item", "timestamp", "event_id", "quantity", "order_id"}
    assert values["user"] is None


def test_blank_lines_are_no_rows_and_short_lines_are(tmp_path: Path) -> None:
    """A line that ends early lacks its last fields and is sent as it stands."""
    first, second = sent_values(read_csv(tmp_path, "", "536365,85123A", "", PURCHASE, ""))
    assert first["item"] == "85123A"
    assert first["timestamp"] is None
    assert content(second) == GOOD


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("cells", [1, 4, 5, 7])
def test_a_file_that_is_cut_in_its_last_line_is_refused(
    tmp_path: Path, separator: str, cells: int
) -> None:
    """What is left would be another purchase: a guest's, without a price."""
    cut = ",".join(PURCHASE.split(",")[:cells])
    path = tmp_path / "cut.csv"
    path.write_text(f"{HEADER}\n{PURCHASE}\n{cut}".replace(",", separator))
    with pytest.raises(UsageError, match=rf"cut\.csv ends within a line, after {cells} of 8 cells"):
        read_recording(path, {}, "UTC")
    path.write_text(f"{path.read_text()}\n")
    assert read_recording(path, {}, "UTC").frame.height == 2


def test_a_file_that_is_cut_in_a_quoted_cell_is_refused(tmp_path: Path) -> None:
    """A line end within the cell does not hide it; a whole one there is no cut."""
    head = f'{HEADER}\n{PURCHASE}\n536366,85123A,"A ""BIG"" HEART,\nRED\u2028'
    path = tmp_path / "cut.csv"
    path.write_text(head)
    with pytest.raises(UsageError, match=r"cut\.csv ends within a line"):
        read_recording(path, {}, "UTC")
    path.write_text(f'{head}",6,2010-12-01 08:26:00,2.55,17850,France')
    assert read_recording(path, {}, "UTC").frame.height == 2


def test_columns_of_numbers_are_sent_as_text_where_text_is_due(tmp_path: Path) -> None:
    """Customers kept as floats, because others are missing, have no decimals."""
    path = tmp_path / "typed.parquet"
    pl.read_parquet(EXAMPLE).head(3).with_columns(
        CustomerID=pl.Series([17850.0, None, 12.5]),
        InvoiceNo=pl.Series([536365, 536366, 536367]),
        StockCode=pl.Series(["a", "b", "c"], dtype=pl.Categorical),
        Quantity=pl.Series([6.0, 7.5, float("nan")]),
        UnitPrice=pl.Series(["2.5500000000", "3", "1.00"]).cast(pl.Decimal(20, 10)),
    ).write_parquet(path)
    typed = sent_values(read_recording(path, {}, "UTC"))
    assert [row["user"] for row in typed] == ["17850", None, "12.5"]
    assert [row["order_id"] for row in typed] == ["536365", "536366", "536367"]
    assert [row["item"] for row in typed] == ["a", "b", "c"]
    assert [row["quantity"] for row in typed] == [6, 7.5, "nan"]
    assert [row["unit_price"] for row in typed] == ["2.55", "3", "1"]


def test_one_column_may_give_two_fields(tmp_path: Path) -> None:
    """As where a file has one name for code and description."""
    recording = read_csv(tmp_path, PURCHASE, mapping={"description": "StockCode"})
    assert sent_values(recording)[0]["description"] == "85123A"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "neither a Parquet file nor CSV"),
        (b"\n\n", "neither a Parquet file nor CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither a Parquet file nor CSV"),
        (HEADER.encode("utf-16-le"), "neither a Parquet file nor CSV"),
        (f"{HEADER}\n1,2,caf\xe9\n".encode("latin-1"), "neither a Parquet file nor CSV"),
        (b"just some text\nof two lines\n", "neither a Parquet file nor CSV"),
        (b"PAR1 and no more PAR1", "cannot be read"),
        (b"PAR1", "cannot be read"),
        (b"PK\x03\x04 a sheet", "cannot be unpacked"),
        (b'{"user": "ada", ', "cannot be read"),
        (b"InvoiceNo,StockCode\n1,2\n", "no column 'CustomerID' for user"),
        (HEADER.encode(), "has no rows"),
        (f"{HEADER}\n,,,,,,,\n".encode(), "has no rows"),
        (f"{HEADER}\n{PURCHASE}\n\n{PURCHASE},one,more\n".encode(), "line 4 has 10 cells, and"),
        (
            f"{HEADER}\n{PURCHASE}\n{LONG_CELL}\n{PURCHASE},one,more\n".encode(),
            r"a line from 3 on has more cells than the first line names \(8\)",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, data: bytes, named: str) -> None:
    """With its name and what is wrong, before anything is sent."""
    path = tmp_path / "none.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"none.csv.*{named}"):
        read_recording(path, {}, "UTC")


def test_bytes_that_are_no_text_far_into_a_file_are_refused(tmp_path: Path) -> None:
    """Beyond what is looked at first, by the reader itself."""
    path = tmp_path / "late.csv"
    path.write_bytes(f"{HEADER}\n{PURCHASE}\n".encode() * 2_000 + b"\xff\xfe\n")
    with pytest.raises(UsageError, match=r"late\.csv cannot be read"):
        read_recording(path, {}, "UTC")


def test_a_packed_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    """Found by its first bytes, whatever it is called; one that is cut is refused."""
    path = tmp_path / "packed.csv"
    path.write_bytes(gzip.compress(f"{HEADER}\n{PURCHASE}\n".encode()))
    assert [content(row) for row in sent_values(read_recording(path, {}, "UTC"))] == [GOOD]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match=r"packed\.csv cannot be unpacked"):
        read_recording(path, {}, "UTC")


def zip_files(**files: bytes) -> bytes:
    """Return a zip file."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content_ in files.items():
            archive.writestr(name, content_)
    return data.getvalue()


def test_one_file_in_a_zip_file_is_read_and_two_are_refused(tmp_path: Path) -> None:
    """What macOS adds is none of them."""
    path = tmp_path / "sales.zip"
    text = f"{HEADER}\n{PURCHASE}\n".encode()
    path.write_bytes(
        zip_files(**{"march/": b"", "march/sales.csv": text, "__MACOSX/._sales": b"x"})
    )
    assert [content(row) for row in sent_values(read_recording(path, {}, "UTC"))] == [GOOD]
    path.write_bytes(zip_files(march=text, april=text))
    with pytest.raises(UsageError, match=r"sales\.zip holds 2 files; unpack it"):
        read_recording(path, {}, "UTC")


def test_utf_16_is_known_by_its_mark(tmp_path: Path) -> None:
    """As Excel saves "Unicode text", with tabs."""
    path = tmp_path / "sales.txt"
    path.write_bytes(f"{HEADER}\n{PURCHASE}\n".replace(",", "\t").encode("utf-16"))
    assert [content(row) for row in sent_values(read_recording(path, {}, "UTC"))] == [GOOD]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `-`, so that another program may write the file."""
    data = BytesIO(f"{HEADER}\n{PURCHASE}\n".encode())
    monkeypatch.setattr("sys.stdin", TextIOWrapper(data))
    assert [content(row) for row in sent_values(read_recording(Path("-"), {}, "UTC"))] == [GOOD]


SHEET = """<?xml version="1.0"?><worksheet
 xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>"""
WORKBOOK = {
    "[Content_Types].xml": """<?xml version="1.0"?><Types
 xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels"
 ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml"
 ContentType="application/xml"/></Types>""",
    "_rels/.rels": """<?xml version="1.0"?><Relationships
 xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
 Target="xl/workbook.xml"/></Relationships>""",
    "xl/workbook.xml": """<?xml version="1.0"?><workbook
 xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"
 xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet
 name="Sales" sheetId="1" r:id="r1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<?xml version="1.0"?><Relationships
 xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
 Target="worksheets/sheet1.xml"/><Relationship Id="r2"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"
 Target="styles.xml"/></Relationships>""",
    "xl/styles.xml": """<?xml version="1.0"?><styleSheet
 xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf
 numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>""",
}


def cell(value: object) -> str:
    """Return the XML of a cell: a text, a number, or a time of a day number."""
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    style = ' s="1"' if isinstance(value, Decimal) else ""
    return f"<c{style}><v>{value}</v></c>"


def test_a_sheet_of_excel_is_read(tmp_path: Path) -> None:
    """The first one; days are times, and ids that are numbers have no decimals."""
    lines = [
        ("user", "item", "timestamp", "quantity", "unit_price", "order_id"),
        (17850, "0042", Decimal("40513.3513888889"), 6, 2.55, 536365),
    ]
    cells = "".join(f"<row>{''.join(map(cell, line))}</row>" for line in lines)
    parts = {name: text.encode() for name, text in WORKBOOK.items()}
    path = tmp_path / "sales.xlsx"
    path.write_bytes(
        zip_files(**parts, **{"xl/worksheets/sheet1.xml": SHEET.format(cells).encode()})
    )
    assert [content(row) for row in sent_values(read_recording(path, {}, "UTC"))] == [
        {
            "user": "17850",
            "item": "0042",
            "timestamp": "2010-12-01T08:26:00.000000Z",
            "quantity": 6,
            "unit_price": "2.55",
            "order_id": "536365",
        }
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["{}\n{}\n", "\n{}\r\n{}", "[{},{}]"])
def test_lines_of_json_are_read(tmp_path: Path, form: str, packed: bool) -> None:  # noqa: FBT001
    """With the names of the contract; an array of them too. A field may be missing in some."""
    first = '{"user":"ada","item":"tea","timestamp":"2024-03-01T09:12:00Z","unit_price":2.5}'
    second = '{"user":12,"item":"cake","timestamp":"2024-03-01 09:13","quantity":-1,"tags":["a"]}'
    text = form.replace("{}", "%s") % (first, second)
    path = tmp_path / "sales.json"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert [content(row) for row in sent_values(read_recording(path, {}, "UTC"))] == [
        {
            "user": "ada",
            "item": "tea",
            "timestamp": "2024-03-01T09:12:00.000000Z",
            "unit_price": "2.5",
        },
        {
            "user": "12",
            "item": "cake",
            "timestamp": "2024-03-01T09:13:00.000000Z",
            "quantity": -1,
        },
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_a_european_file_is_read_as_its_options_say(tmp_path: Path, encoding: str) -> None:
    """In its encoding, with its decimals, thousands and dates."""
    path = tmp_path / "european.csv"
    path.write_bytes(
        "user;item;timestamp;quantity;unit_price;country\n"
        "Müller;Teekanne grün;31.10.2014 13:04;2;1.234,50;Österreich\n"
        "Müller;A-2;01.11.2014 09:00;1.000;,5;Österreich\n".encode(encoding)
    )
    form = read_format(FileFormat(";", encoding, ",", "%d.%m.%Y %H:%M"))
    first, second = sent_values(read_recording(path, {}, "Europe/Vienna", form=form))
    assert content(first) == {
        "user": "Müller",
        "item": "Teekanne grün",
        "timestamp": "2014-10-31T12:04:00.000000Z",
        "quantity": 2,
        "unit_price": "1234.50",
        "country": "Österreich",
    }
    assert (second["quantity"], second["unit_price"]) == (1000, "0.5")


@pytest.mark.parametrize(
    ("decimal", "written", "read"),
    [
        (None, "1,234.50", "1234.50"),
        (None, "1.234,50", "1234.50"),
        (None, "12,50", "12.50"),
        (None, "1,234", "1,234"),
        (None, "1'234.50", "1234.50"),
        (None, "1\u202f234,50", "1234.50"),
        (None, "£3.50", "3.50"),
        (None, "-£\u00a01,234.50", "-1234.50"),
        (None, "3.50 GBP", "3.50"),
        (None, "3.50 kg", "3.50 kg"),
        (None, ".5", "0.5"),
        (".", "1,234.50", "1234.50"),
        (".", "12,50", "12,50"),
        (",", "12,50", "12.50"),
        (",", "-3,00", "-3.00"),
        (",", "1.234", "1234"),
        (",", "12.50", "12.50"),
        (",", "1.23,4", "1.23,4"),
        (None, " 4.50 ", "4.50"),
    ],
)
def test_a_number_is_read_by_its_decimal_sign(
    tmp_path: Path, decimal: str | None, written: str, read: str
) -> None:
    """Or by the one that it shows; what is none in that form is sent as it stands."""
    header, line = HEADER.replace(",", ";"), PURCHASE.replace(",", ";").replace("2.55", written)
    recording = read_csv(tmp_path, line, header=header, form=FileFormat(decimal=decimal))
    (row,) = sent_values(recording)
    value = row["unit_price"]
    assert (value if isinstance(value, str) else f"{value:.2f}") == read


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (FileFormat(delimiter=";;"), "--delimiter ;; must be one character"),
        (FileFormat(encoding="martian"), "--encoding martian is not known"),
        (FileFormat(encoding="hex"), "--encoding hex is not known; take utf-8"),
        (FileFormat(encoding="rot13"), "--encoding rot13 is not known"),
        (FileFormat(encoding="undefined"), "--encoding undefined is not known"),
        (FileFormat(decimal="x"), "--decimal x must be"),
        (FileFormat(date_format="day"), "--date-format day names no part"),
        (FileFormat(timezone="Mars"), "--timezone Mars must be an IANA time zone"),
        (FileFormat(preset="ebay"), "--preset ebay is not known; take shopify, woocommerce"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(form: FileFormat, named: str) -> None:
    """Naming the option and its value."""
    with pytest.raises(UsageError, match=named):
        read_format(form)


@pytest.mark.parametrize("price", ["$3.50", "3.50 USD"])
def test_an_amount_in_another_currency_is_refused(tmp_path: Path, price: str) -> None:
    """Dollars never become pounds; where dollars are due, their sign is taken off."""
    line = PURCHASE.replace("2.55", price)
    with pytest.raises(UsageError, match=r"The column 'UnitPrice' is in (\$|USD) \('.*GBP; conv"):
        read_csv(tmp_path, line)
    path = write_csv(tmp_path, line)
    (row,) = sent_values(read_recording(path, {}, "UTC", currency="USD"))
    assert row["unit_price"] == "3.50"


def test_a_column_with_two_signs_is_sent_as_it_stands(tmp_path: Path) -> None:
    """For the processor to refuse: nothing is guessed of single cells."""
    lines = [PURCHASE.replace("2.55", price) for price in ("£3.50", "€4", "5")]
    assert [row["unit_price"] for row in sent_values(read_csv(tmp_path, *lines))] == [
        "£3.50",
        "€4",
        "5",
    ]
    lines = [PURCHASE.replace("2.55", price) for price in ('"12,50"', "12.50", '"1,234"')]
    prices = [row["unit_price"] for row in sent_values(read_csv(tmp_path, *lines))]
    assert prices == ["12,50", "12.50", "1,234"]


def test_the_price_of_one_is_computed_from_the_total_of_a_line(tmp_path: Path) -> None:
    """If it divides exactly; what does not is no price, and stays for the processor to refuse."""
    lines = ["2,19.98", "3,10.00", "-1,-3.50", ",4.20", "3,", "0,1.00"]
    recording = read_csv(
        tmp_path,
        *(f"ada,tea,2024-03-01,{line}" for line in lines),
        header="user,item,timestamp,quantity,total",
        mapping={"line_total": "total"},
    )
    assert [row.get("unit_price") for row in sent_values(recording)] == [
        "9.99",
        "10.00 / 3",
        "3.5",
        "4.2",
        None,
        "1.00 / 0",
    ]
    verdicts = [judge_row(row) for row in rows(recording, 0)]
    assert [isinstance(verdict, Refusal) for verdict in verdicts] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_cell_with_a_whole_line_of_an_order_is_no_item(tmp_path: Path) -> None:
    """As WooCommerce exports a row for each order: it would be sold once, without a price."""
    line = "ada,name:Clock|sku:CLK-1|quantity:2|total:19.98,2024-03-01"
    with pytest.raises(UsageError, match=r"'line_item_1' holds whole lines .*a row for each item"):
        read_csv(
            tmp_path, line, header="user,line_item_1,timestamp", mapping={"item": "line_item_1"}
        )


def test_times_may_be_of_another_time_zone_than_the_deployment(tmp_path: Path) -> None:
    """Those without an offset; days are still the deployment's."""
    recording = read_csv(
        tmp_path,
        "ada,tea,2024-07-01,00:30",
        header="user,item,Date,Time",
        mapping={"timestamp": "Date+Time"},
        zone="Europe/London",
        form=FileFormat(timezone="Asia/Tokyo"),
    )
    assert sent_values(recording)[0]["timestamp"] == "2024-06-30T15:30:00.000000Z"
    assert recording.days(0) == (date(2024, 6, 30), date(2024, 6, 30))


def test_sales_without_customers_are_sent_as_guests(tmp_path: Path) -> None:
    """Where the user is mapped to nothing; the currency is sent as it is always written."""
    lines = ["tea,2024-03-01 09:12,gbp"]
    recording = read_csv(tmp_path, *lines, header="item,timestamp,currency", mapping={"user": ""})
    assert [content(row) for row in sent_values(recording)] == [
        {
            "user": None,
            "item": "tea",
            "timestamp": "2024-03-01T09:12:00.000000Z",
            "currency": "GBP",
        }
    ]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Where there is nothing, or a directory."""
    with pytest.raises(UsageError, match=r"nowhere.csv cannot be read: No such file"):
        read_recording(tmp_path / "nowhere.csv", {}, "UTC")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_recording(tmp_path, {}, "UTC")


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    """It is neither text nor a number."""
    path = tmp_path / "lists.parquet"
    lists = pl.Series([[1], [2]])
    pl.read_parquet(EXAMPLE).head(2).with_columns(Country=lists).write_parquet(path)
    with pytest.raises(UsageError, match=r"lists\.parquet cannot be read"):
        read_recording(path, {}, "UTC")


def test_a_name_with_wildcards_is_one_file(tmp_path: Path) -> None:
    """`[1].csv` is read itself, not searched for."""
    path = write_csv(tmp_path, PURCHASE).rename(tmp_path / "some[1]*.csv")
    assert read_recording(path, {}, "UTC").frame.height == 1
    frame = pl.read_parquet(EXAMPLE).head(1)
    frame.write_parquet(tmp_path / "plain.parquet")
    parquet = (tmp_path / "plain.parquet").rename(tmp_path / "some[1]*.parquet")
    assert read_recording(parquet, {}, "UTC").frame.height == 1


def test_excels_line_of_the_separator_is_no_line_of_names(tmp_path: Path) -> None:
    """Also behind a mark; the names and the separator are those of the next line."""
    path = tmp_path / "sales.csv"
    for mark in ("", "\ufeff"):
        path.write_text(f"{mark}sep=;\nuser;item;timestamp\nada;tea;2024-03-01 10:00\n")
        assert [row["item"] for row in sent_values(read_recording(path, {}, "UTC"))] == ["tea"]


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        ("user,item,item,timestamp\nada,tea,cake,2024-03-01\n", {}, "two columns 'item'"),
        ("user,sku,sku,timestamp\nada,a,b,2024-03-01\n", {"item": "sku"}, "two columns 'sku'"),
        ("Sales of March\nuser,item,timestamp\n", {}, "its first line is 'Sales of March'"),
    ],
)
def test_what_stands_above_or_twice_in_a_file_is_named(
    tmp_path: Path, text: str, mapping: dict[str, str], message: str
) -> None:
    """Neither is taken for something else without a word."""
    path = tmp_path / "sales.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recording(path, mapping, "UTC")


def test_an_address_and_a_zone_of_this_host_alone_are_refused() -> None:
    """Both with what to do."""
    with pytest.raises(UsageError, match="download it"):
        read_recording(Path("https://shop.example/sales.csv"), {}, "UTC")
    with pytest.raises(UsageError, match="IANA time zone"):
        read_format(FileFormat(timezone="posix/Europe/London"))
