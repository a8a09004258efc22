"""The audit of a partition before it is visible: its rows against what the stream counted.

It only reads, inside the transaction that wrote the rows. The caller decides what a problem means.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection

from assets.builds.event_reader import StreamFigures
from assets.tables.models import WHOLE
from assets.tables.sql_transform import AnyTransform
from assets.tables.transforms import Transform
from streaming.units import MICROS

ADDITIVE: Final = ("events", "items_sold", "net_revenue_micros")
REVENUE: Final = "net_revenue_micros"
TRILLIONS: Final = "net_revenue_trillions"
UNITS: Final = f"{TRILLIONS} * 1000000000000 + {REVENUE} / 1000000"
REST: Final = f"{REVENUE} % 1000000"
# In a table of a file it is of the type that the statement gives: on PostgreSQL a sum is numeric,
# of which a quotient has a fraction.
_WHOLE: Final = f"CAST({REVENUE} AS BIGINT)"
UNITS_OF_FILE: Final = f"{_WHOLE} / 1000000"
REST_OF_FILE: Final = f"{_WHOLE} % 1000000"
NEVER_NEGATIVE: Final = ("events", "gross_revenue_micros", "orders", "customers")


@dataclass(frozen=True)
class Audit:
    """The measures of a partition's rows by name, and a sentence for each problem."""

    measures: Mapping[str, int]
    problems: tuple[str, ...] = ()


def audit(
    connection: Connection,
    transform: AnyTransform,
    partition: str,
    expected: StreamFigures,
    rows: int,
) -> Audit:
    """Audit a partition of which `rows` were written, against the sums that are `expected`."""
    measures = _measure(connection, transform, partition)
    return Audit(measures, tuple(find_problems(measures, transform, expected, rows)))


def find_problems(
    measures: Mapping[str, int], transform: AnyTransform, expected: StreamFigures, rows: int
) -> list[str]:
    """Return a sentence for each rule that the measures break.

    Events, items sold and net revenue are as expected, and all rows are there. Ranks are 1 to their
    number, the grain has no null, and nothing is negative that cannot be. What a table of a file
    lacks is not compared.
    """
    expectations = asdict(expected)
    problems = [
        f"{name} is {measures[name]}, but the stream counted {expectations[name]}"
        for name in ADDITIVE
        if name in measures and measures[name] != expectations[name]
    ]
    if measures["rows"] != rows:
        problems.append(f"{rows} rows were computed, but {measures['rows']} are there")
    if measures["without_grain"]:
        problems.append(f"{measures['without_grain']} rows have no {' or no '.join(transform.key)}")
    if measures["negative"]:
        problems.append(
            f"{measures['negative']} rows have a negative {' or '.join(NEVER_NEGATIVE)}"
        )
    # Ranks that are distinct, above 0, as many as rows and end at their number are 1 to it.
    if "ranks" in measures and (measures["ranks"], measures["last_rank"]) != (rows, rows):
        problems.append(f"{rows} rows have {measures['ranks']} ranks up to {measures['last_rank']}")
    return problems


def _measure(connection: Connection, transform: AnyTransform, partition: str) -> dict[str, int]:
    nulls = " OR ".join(f'"{name}" IS NULL' for name in transform.key)
    negative = " OR ".join(f"{name} < 0" for name in NEVER_NEGATIVE if name in transform.columns)
    # Units and the rest are added up apart: SQLite ends a sum beyond 64 bits with an error.
    is_ours = TRILLIONS in transform.columns
    units, rest = (UNITS, REST) if is_ours else (UNITS_OF_FILE, REST_OF_FILE)
    measures: dict[str, str] = {
        "rows": "count(*)",
        "without_grain": f"count(*) FILTER (WHERE {nulls})",
        "negative": f"count(*) FILTER (WHERE {negative or 'false'})",
        **{
            name: f"coalesce(sum({rest if name == REVENUE else name}), 0)"
            for name in ADDITIVE
            if name in transform.columns
        },
    }
    if REVENUE in measures:
        measures["units"] = f"coalesce(sum({units}), 0)"
    # In a table of a file, a rank may be of anything.
    if "rank" in transform.columns and isinstance(transform, Transform):
        measures |= {
            "ranks": "count(DISTINCT rank) FILTER (WHERE rank > 0)",
            "last_rank": "coalesce(max(rank), 0)",
        }
    # One statement for all of it: the partition is read once, however many rules there are.
    where, parameters = ("", ()) if partition == WHOLE else (" WHERE day = ?", (partition,))
    statement = f"SELECT {', '.join(measures.values())} FROM {transform.table}{where}"  # noqa: S608
    row = connection.exec_driver_sql(statement, parameters).one()
    measured = dict(zip(measures, row, strict=True))
    if REVENUE in measured:
        measured[REVENUE] += measured.pop("units") * MICROS
    return measured
