"""What several tests of recordings need: the example, small files, and the processor's verdict."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streaming.events.purchase import PurchaseEvent, Rules, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.producer.replay.columns import Constant
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.recording import Recording, read_recording
from streaming.producer.replay.rows import Row, rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail.parquet"
APPENDED = 4_000_000_000_000
RULES = Rules("GBP", datetime(2010, 1, 1, tzinfo=UTC), 10**12, "purchases.redrive")
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
PURCHASE = "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def judge_row(row: Row) -> PurchaseEvent | Refusal:
    """Judge a row as the processor does."""
    record = Record("purchases", b"\1" * 16, 0, row.number, APPENDED, row.key, row.value)
    return read_purchase(record, RULES)[1]


def write_csv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    """Write a CSV file of the lines given."""
    path = folder / "recorded.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read_csv(  # noqa: PLR0913 - what a recording is read by
    folder: Path,
    *lines: str,
    header: str = HEADER,
    mapping: Mapping[str, str | Constant] | None = None,
    zone: str = "UTC",
    id_columns: Sequence[str] = (),
    form: FileFormat | None = None,
) -> Recording:
    """Write a CSV file and read it as a recording."""
    path = write_csv(folder, *lines, header=header)
    return read_recording(path, mapping or {}, zone, id_columns, form)


def sent_values(recording: Recording, shift: int = 0) -> list[dict[str, Any]]:
    """Return the JSON of every row."""
    return [json.loads(row.value or b"") for row in rows(recording, shift)]
