"""The audit of a partition before it is visible: its rows against what the stream counted.

Reads only, inside the transaction that wrote the rows. What follows from a failure is the
caller's matter.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection

from assets.builds.event_reader import Counted
from assets.tables.models import WHOLE
from assets.tables.transforms import Transform

ADDED_UP: Final = ("events", "items_sold", "net_revenue_micros")
NEVER_NEGATIVE: Final = ("events", "gross_revenue_micros", "orders", "customers")


@dataclass(frozen=True)
class Audit:
    """What an audit found: what it measured, by name, and a sentence for each problem."""

    measured: Mapping[str, int]
    problems: tuple[str, ...] = ()


def audit(
    connection: Connection, transform: Transform, partition: str, expected: Counted, rows: int
) -> Audit:
    """Audit a partition of which `rows` were written, against what is `expected` of its sums.

    Events, items sold and net revenue are as expected, all rows are there, ranks are 1 to their
    number, the grain has no null, and nothing is negative that cannot be.
    """
    found = _measure(connection, transform, partition)
    expectations = asdict(expected)
    problems = [
        f"{name} is {found[name]}, but the stream counted {expectations[name]}"
        for name in ADDED_UP
        if found[name] != expectations[name]
    ]
    if found["rows"] != rows:
        problems.append(f"{rows} rows were computed, but {found['rows']} are there")
    if found["without_grain"]:
        problems.append(f"{found['without_grain']} rows have no {' or no '.join(transform.key)}")
    if found["negative"]:
        problems.append(f"{found['negative']} rows have a negative {' or '.join(NEVER_NEGATIVE)}")
    if "ranks" in found and (found["ranks"], found["last_rank"]) != (rows, rows):
        problems.append(f"{rows} rows have {found['ranks']} ranks up to {found['last_rank']}")
    return Audit(found, tuple(problems))


def _measure(connection: Connection, transform: Transform, partition: str) -> dict[str, int]:
    nulls = " OR ".join(f'"{name}" IS NULL' for name in transform.key)
    negative = " OR ".join(f"{name} < 0" for name in NEVER_NEGATIVE if name in transform.columns)
    measures = {
        "rows": "count(*)",
        **{name: f"coalesce(sum({name}), 0)" for name in ADDED_UP},
        "without_grain": f"coalesce(sum({nulls}), 0)",
        "negative": f"coalesce(sum({negative}), 0)",
    }
    if "rank" in transform.columns:
        measures |= {
            "ranks": "count(DISTINCT rank) FILTER (WHERE rank > 0)",
            "last_rank": "coalesce(max(rank), 0)",
        }
    where, parameters = ("", ()) if partition == WHOLE else (" WHERE day = ?", (partition,))
    statement = f"SELECT {', '.join(measures.values())} FROM {transform.table}{where}"  # noqa: S608
    row = connection.exec_driver_sql(statement, parameters).one()
    return dict(zip(measures, row, strict=True))
