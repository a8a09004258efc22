"""A recording of purchases: the rows of a file as a frame with one column per field.

Files are opened in `files`, times read in `timestamps`; what is sent of a row is in `rows`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from streaming.errors import UsageError
from streaming.producer.replay.columns import (
    LINE_TOTAL,
    Columns,
    Constant,
    Source,
    require_columns,
    sources_by_field,
)
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.files import FileColumns, find_long_line, open_columns
from streaming.producer.replay.numbers import plain_numbers, unit_prices
from streaming.producer.replay.presets import PRESETS, Preset
from streaming.producer.replay.timestamps import read_times

NUMBERS: Final = ("quantity", "unit_price", LINE_TOTAL)
WHOLE_FLOAT: Final = r"^([0-9]+)\.0$"
"""What spreadsheets make of a customer's number in a column with gaps."""
WHOLE_LINE: Final = r"^(?:id|name):.*\|quantity:"
"""What WooCommerce writes into a cell, if it exports a row for each order."""
ID: Final = "id "
"""Begins the columns that name a row; no field is called so."""
UNPAID: Final = "unpaid"
MAY_BE_MISSING: Final = frozenset({"currency", "order_id", "description", "country"})
"""Not every export of a system has them, and no figure is wrong without."""


@dataclass(frozen=True)
class Recording:
    """The rows of a file, in its order.

    `digest` is the SHA-256 of the file's bytes, `columns` are by field, `unused` those that give
    none, `zone` is the deployment's IANA time zone. `frame` has `time` and `raw` (see
    `read_times`), and the fields that the file has: texts as text, `quantity` and `unit_price` as
    they came; `id` is the texts of `id_columns`, and `unpaid` the status of a row by which nothing
    was paid, null for others.
    """

    path: Path
    digest: bytes
    columns: Mapping[str, str]
    unused: Sequence[str]
    zone: str
    frame: pl.DataFrame
    id_columns: Sequence[str] = ()
    form: FileFormat = field(default_factory=FileFormat)

    @property
    def last_micros(self) -> int | None:
        """The time of the last event, in µs since 1970 UTC; None if no row has one."""
        last = self.frame["time"].max()
        return last if isinstance(last, int) else None

    def unpaid(self) -> dict[str, int]:
        """Return how many rows are left out, by the status that says that nothing was paid."""
        counts = self.frame[UNPAID].drop_nulls().value_counts(sort=True)
        return dict(counts.iter_rows())

    def days(self, shift_micros: int) -> tuple[date, date] | None:
        """Return the days of the first and the last event, each moved by `shift_micros`."""
        times = self.frame.filter(pl.col(UNPAID).is_null())["time"].drop_nulls()
        if times.is_empty():
            return None
        ends = pl.Series([times.min(), times.max()], dtype=pl.Int64) + shift_micros
        local = ends.cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(self.zone)
        first, last = local.dt.date()
        return first, last


def read_recording(  # noqa: PLR0913, PLR0917 - what a recording is read by
    path: Path,
    mapping: Mapping[str, str | Constant],
    zone: str,
    id_columns: Sequence[str] = (),
    form: FileFormat | None = None,
    currency: str = "GBP",
) -> Recording:
    """Read a file whole; `zone` (IANA) and `currency` are the deployment's.

    Raises `UsageError` if there is no such file, it is of no form that is read, a column is
    missing, it has no rows, or `id_columns` name two different rows alike.
    """
    form = form or FileFormat()
    preset = PRESETS[form.preset] if form.preset else Preset({})
    id_columns = id_columns or preset.id_columns
    file: FileColumns | None = None
    try:
        file = open_columns(path, form)
        sources = sources_by_field(
            _merge_mappings(preset.mapping, mapping, file.names), file.names, path.name
        )
        require_columns(id_columns, file.names, path.name)
        frame = _select(file, sources, preset, id_columns)
        if frame.is_empty():
            raise UsageError(f"{path} has no rows.")
        naive_zone = form.timezone or preset.timezone or zone
        times = read_times(
            # Under the name that its user knows, because messages have it.
            frame["timestamp"].alias(str(sources["timestamp"])),
            naive_zone,
            form.date_format,
            day_first=form.day_first,
        )
        fields = pl.DataFrame([*_fields(frame, sources, form.decimal, currency), *times])
    except PolarsError as error:
        raise UsageError(f"{path} cannot be read: {_reason(error, file)}.") from None
    read = {*id_columns, *preset.unpaid}.union(
        *(source.names for source in sources.values() if isinstance(source, Columns))
    )
    return Recording(
        path,
        file.digest,
        {field: str(source) for field, source in sources.items()},
        [name for name in file.names if name not in read],
        zone,
        _with_ids(fields, id_columns),
        id_columns,
        form,
    )


def _reason(error: PolarsError, file: FileColumns | None) -> str:
    reason = str(error).partition("\n")[0]
    if file is not None and "more fields" in reason:
        return find_long_line(file) or reason
    return reason


def _refuse_whole_lines(items: pl.Series, name: str) -> None:
    """Raise `UsageError` for cells such as `name:Clock|sku:CLK-1|quantity:2|total:19.98`."""
    if items.dtype == pl.String and items.str.contains(WHOLE_LINE).any():
        raise UsageError(
            f"The column {name!r} holds whole lines of orders ({items.drop_nulls()[0]!r} for"
            " example); export a row for each item."
        )


def _merge_mappings(
    preset: Mapping[str, str | Constant],
    mapping: Mapping[str, str | Constant],
    names: Sequence[str],
) -> dict[str, str | Constant]:
    """Return a preset's mapping, without what the user maps instead, and what may be missing."""
    price = {"unit_price", LINE_TOTAL}
    own_price = any(mapping.get(field) for field in price)
    kept = {
        field: mapped
        for field, mapped in preset.items()
        if not (field in price and own_price) and (field not in MAY_BE_MISSING or mapped in names)
    }
    return {**kept, **mapping}


def _select(
    file: FileColumns, sources: Mapping[str, Source], preset: Preset, id_columns: Sequence[str]
) -> pl.DataFrame:
    """Read the columns of fields and of ids, and the status `unpaid`."""
    # Some exports fill an order's columns in its first line only.
    carried = [name for name in preset.carried if name in file.names and preset.order in file.names]
    cells = (
        file.scan.with_columns(pl.col(carried).forward_fill().over(preset.order))
        if carried
        else file.scan
    )
    unpaid = [
        pl.when(pl.col(name).cast(pl.String).str.to_lowercase().is_in(statuses)).then(
            pl.format("{} is {}", pl.lit(name), pl.col(name))
        )
        for name, statuses in preset.unpaid.items()
        if name in file.names
    ]
    # `--map user=` says that the file has no customers.
    guest = [] if "user" in sources else [pl.lit(None, dtype=pl.String).alias("user")]
    return cells.select(
        *guest,
        *(_source(source).alias(field) for field, source in sources.items()),
        *(pl.col(column).alias(f"{ID}{column}") for column in id_columns),
        pl.coalesce(*unpaid, pl.lit(None, dtype=pl.String)).alias(UNPAID),
    ).collect()


def _source(source: Source) -> pl.Expr:
    if isinstance(source, Constant):
        return pl.lit(source.value)
    if len(source.names) == 1:
        return pl.col(source.names[0])
    text = pl.concat_str(pl.col(source.names).cast(pl.String), separator=" ", ignore_nulls=True)
    return pl.when(text != "").then(text)


def _fields(
    frame: pl.DataFrame, sources: Mapping[str, Source], decimal: str | None, currency: str
) -> list[pl.Series]:
    """Return the columns as they are sent, but for the times."""
    _refuse_whole_lines(frame["item"], str(sources["item"]))
    names = [name for name in NUMBERS if name in frame.columns]
    plain = plain_numbers(
        [frame[name].alias(str(sources[name])) for name in names], decimal, currency
    )
    numbers = dict(zip(names, plain, strict=True))
    if (totals := numbers.pop(LINE_TOTAL, None)) is not None:
        numbers["unit_price"] = unit_prices(totals, numbers.get("quantity"))
    texts = frame.drop("timestamp", *names)
    return [
        *(_as_sent(column) for column in texts),
        *(column.alias(name) for name, column in numbers.items()),
    ]


def _with_ids(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Join the columns that name a row to `id`.

    Raises `UsageError` if one is empty, or two rows that differ have one id.
    """
    if not columns:
        return frame
    parts = [f"{ID}{column}" for column in columns]
    option = f"--id {','.join(columns)}"
    empty = frame.select(pl.any_horizontal(pl.col(parts).is_null()))[:, 0].arg_true()
    if len(empty):
        raise UsageError(f"{option}: row {empty[0] + 1:,} has none; name columns that are filled.")
    # Rows that are alike in all are one purchase, and have one id rightly.
    shared = frame.unique().filter(pl.struct(parts).is_duplicated())
    if not shared.is_empty():
        example = ", ".join(shared.select(parts).row(0))
        raise UsageError(
            f"{option}: {shared.height:,} different rows share an id with another, such as"
            f" {example!r}; name another column as well."
        )
    return frame.with_columns(id=pl.concat_list(parts)).drop(parts)


def _as_sent(column: pl.Series) -> pl.Series:
    text = _as_text(column)
    return text.str.to_uppercase() if column.name == "currency" else text


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; a whole number that was kept as a float is written as one.

    So the customer `17850.0`, a float because others are missing, is `17850`.
    """
    text = column.cast(pl.String)
    if column.dtype.is_float() or column.name == "user":
        return text.str.replace(WHOLE_FLOAT, "$1")
    return text
