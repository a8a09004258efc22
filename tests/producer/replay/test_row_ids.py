"""Tests of the event ids of rows: the same row is the same purchase, in whatever file it is."""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from streaming.errors import UsageError
from streaming.producer.replay.row_ids import column_id, content_id
from streaming.producer.replay.rows import SLICE_ROWS, rows
from tests.producer.recordings import HEADER, PURCHASE, read_csv, sent_values

OTHER = PURCHASE.replace("HEART", "LANTERN")
LATER = PURCHASE.replace("08:26", "08:27")


def ids(folder: Path, *lines: str, id_columns: Sequence[str] = ()) -> list[str]:
    """Return the ids of lines of CSV."""
    return [row["event_id"] for row in sent_values(read_csv(folder, *lines, id_columns=id_columns))]


def test_the_id_of_a_row_is_the_one_of_the_contract() -> None:
    """UUIDv8: ms of the event, then 74 bits of SHA-256 of what is sent, and of the count."""
    content, micros = b'{"user":"ada","item":"tea"}', 1_323_435_000_000

    def derive_id(milliseconds: int, content: bytes) -> str:
        bits = f"{int.from_bytes(hashlib.sha256(content).digest(), 'big'):0256b}"[:74]
        time = f"{milliseconds:048b}"
        return f"{int(time + '1000' + bits[:12] + '10' + bits[12:], 2):032x}"

    for repeat in (0, 2):
        expected = derive_id(micros, content + struct.pack(">q", repeat))
        assert content_id(content, repeat, micros).replace("-", "") == expected
    expected = derive_id(0, b'[-5,"#1001","CLK-1"]')
    assert column_id(["#1001", "CLK-1"], -5).replace("-", "") == expected


@pytest.mark.parametrize(
    "lines",
    [
        [PURCHASE, OTHER, LATER, ""],
        [PURCHASE, OTHER, LATER, PURCHASE.replace("HEART", "NEW")],
        [PURCHASE.replace("HEART", "NEW"), LATER, PURCHASE, OTHER],
        [OTHER, PURCHASE, LATER],
        [f"{line},more" for line in (PURCHASE, OTHER, LATER)],
    ],
)
def test_the_same_rows_in_another_file_are_the_same_purchases(
    tmp_path: Path, lines: list[str]
) -> None:
    """With more rows, in another order, with a line end or a column that gives nothing more."""
    before = ids(tmp_path, PURCHASE, OTHER, LATER)
    header = f"{HEADER},Colour" if lines[0].endswith("more") else HEADER
    after = [row["event_id"] for row in sent_values(read_csv(tmp_path, *lines, header=header))]
    assert set(before) <= set(after)
    assert len(set(after)) == len(after) == len([line for line in lines if line])


def test_equal_rows_are_purchases_of_their_own(tmp_path: Path) -> None:
    """Each counts: two of them are the first two of three, also if they are written otherwise."""
    two, three = ids(tmp_path, *[PURCHASE] * 2), ids(tmp_path, PURCHASE, OTHER, *[PURCHASE] * 2)
    assert len(set(two)) == 2
    assert set(two) < set(three)
    assert len(set(three)) == 4
    written = PURCHASE.replace(",6,", ",6.0,").replace("17850.0", "17850")
    assert ids(tmp_path, PURCHASE, written) == two


def test_rows_are_counted_from_the_first_also_when_one_goes_on_later(tmp_path: Path) -> None:
    """In every slice of a file, so that a resumed replay sends what is missing and nothing else."""
    lines = [PURCHASE] * (SLICE_ROWS + 3)
    lines[1:SLICE_ROWS] = [PURCHASE.replace("17850", str(n)) for n in range(SLICE_ROWS - 1)]
    recording = read_csv(tmp_path, *lines, PURCHASE.replace("HEART", "LAST"))
    every = [row.event_id for row in rows(recording, 0)]
    assert len(set(every)) == len(every)
    for first in (1, SLICE_ROWS, SLICE_ROWS + 2):
        assert [row.event_id for row in rows(recording, 0, first)] == every[first:]


def test_a_file_with_ids_gives_rows_their_names(tmp_path: Path) -> None:
    """What else changes in a row, it is the same purchase."""
    before = ids(tmp_path, PURCHASE, LATER.replace("536365", "536366"), id_columns=["InvoiceNo"])
    changed = PURCHASE.replace("08:26", "09:00").replace("HEART", "TORN HEART")
    assert ids(tmp_path, changed, id_columns=["InvoiceNo"]) == before[:1]
    assert ids(tmp_path, changed, id_columns=["InvoiceNo", "StockCode"]) != before[:1]


@pytest.mark.parametrize(
    ("lines", "columns", "named"),
    [
        ([PURCHASE, OTHER], ["InvoiceNo"], "2 different rows share an id .*'536365'; name another"),
        ([PURCHASE, PURCHASE.replace("85123A", "")], ["StockCode"], "row 2 has none"),
        ([PURCHASE], ["Id"], "no column 'Id'; it has InvoiceNo"),
    ],
)
def test_an_id_that_names_no_row_is_refused(
    tmp_path: Path, lines: list[str], columns: list[str], named: str
) -> None:
    """Before anything is sent: of two rows with one id only one would be stored."""
    with pytest.raises(UsageError, match=f"--id {','.join(columns)}: .*{named}"):
        ids(tmp_path, *lines, id_columns=columns)
