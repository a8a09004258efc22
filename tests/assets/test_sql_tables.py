"""Tables of `.sql` files: built, audited, stale after an edit, dropped; wrong ones alone fail."""

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from dagster import AssetKey, DagsterInstance, SensorResult, build_sensor_context

from assets.builds.builder import Outcome, open_builder
from assets.builds.staleness import read_stale_partitions
from assets.checks import reconciliation
from assets.checks.finding import CheckContext
from assets.lineage import column_lineage, table_schema
from assets.queries.export import export_chunks, read_gap
from assets.queries.file_formats import Format
from assets.queries.freshness import read_freshness_report, read_table_freshness
from assets.queries.status_section import read_tables_section
from assets.tables.models import DAY_TABLE_NAMES
from assets.tables.sql_transform import SqlTransform, day_transforms
from orchestration.automation.table_sensors import stale_days_sensor
from orchestration.build import build_defs
from orchestration.cli.backfill import read_failed_days
from streaming.errors import UsageError
from streaming.settings import Settings
from streaming.status.doctor import examine
from streaming.store.connection import read_store
from streaming.store.erasure import erase
from streaming.store.models import AnalyticsEventRow
from streaming.store.sql_tables import (
    EVENT_COLUMNS,
    code_versions,
    drop_sql_table,
    read_sql_tables,
)
from streaming.store.table_dialect import dialect_of
from tests.assets.event_store import store_events
from tests.databases import change
from tests.store.rows import event, micros

TABLE = "sql_daily_lines"
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
LINES = """SELECT quantity, count(*) AS events, sum(quantity) AS items_sold,
  sum(amount_micros) AS net_revenue_micros, max("user") AS "user"
FROM analytics_event WHERE event_time >= :start_at AND event_time < :end_at GROUP BY quantity;
"""


@pytest.fixture
def shop(store: Settings, tmp_path: Path) -> Settings:
    """Return settings of a home with three days of four events, and a folder with a table."""
    (tmp_path / "sql").mkdir()
    settings = store.model_copy(update={"sql": tmp_path / "sql"})
    write_file(settings, LINES)
    times = [micros(f"2024-01-0{1 + number % 3} 12:00") for number in range(12)]
    users = ("anna", "ben")
    events = [
        event(number, at, 1 + number % 2, user=users[number % 2], order_id=f"o-{number % 2}")
        for number, at in enumerate(times)
    ]
    store_events(store, events)
    return settings


def write_file(settings: Settings, text: str, name: str = "daily_lines") -> None:
    """Write a file of a table."""
    assert settings.sql
    (settings.sql / f"{name}.sql").write_text(text)


def build(settings: Settings, *, all_tables: bool = False) -> Iterator[Outcome]:
    """Build the table on the three days, or all of them."""
    transforms = [
        one for one in day_transforms(settings) if all_tables or isinstance(one, SqlTransform)
    ]
    with open_builder(settings, "run-1") as builder:
        for day in DAYS:
            yield from builder.build(day, transforms)


def rows(settings: Settings, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Query the database, or change it."""
    with change(settings) as store:
        done = store.execute(statement, values)
        return done.fetchall() if done.description else []


def stale_days(settings: Settings) -> list[str]:
    """Return the days of the table that are stale."""
    with read_store(settings) as store:
        partitions = read_stale_partitions(store, code_versions(settings))
    return sorted(one.partition for one in partitions if one.table == TABLE)


def test_a_file_is_a_table_of_days(shop: Settings) -> None:
    """Built beside the others and current then; stale by a late purchase, and by an edit."""
    assert stale_days(shop) == DAYS
    outcomes = list(build(shop, all_tables=True))
    assert [one.failure for one in outcomes] == [None] * 3 * 5
    audit = outcomes[4].audit
    assert audit is not None
    assert audit.measures["net_revenue_micros"] == 15_000_000
    first = rows(shop, f"SELECT * FROM {TABLE} WHERE day = ? ORDER BY quantity", DAYS[0])
    assert first == [(DAYS[0], 1, 2, 2, 5_000_000, "anna"), (DAYS[0], 2, 2, 4, 10_000_000, "ben")]
    assert stale_days(shop) == []
    store_events(shop, [event(99, micros(f"{DAYS[1]} 13:00"))])
    assert stale_days(shop) == [DAYS[1]]
    list(build(shop))
    write_file(shop, LINES.replace('max("user")', 'min("user")'))
    assert stale_days(shop) == DAYS
    assert [one.computed for one in build(shop)] == [True] * 3
    assert stale_days(shop) == []


def test_revenue_may_be_of_any_type(shop: Settings) -> None:
    """It is audited to the micro as an integer, a sum of the database's, or a float."""
    store_events(shop, [event(99, micros(f"{DAYS[1]} 13:00"))])
    for kind in ("bigint", "numeric", "double precision"):
        revenue = f"CAST(sum(amount_micros) AS {kind})"
        write_file(shop, LINES.replace("sum(amount_micros)", revenue))
        assert [one.failure for one in build(shop)] == [None] * 3, kind


def test_another_text_may_have_other_columns(shop: Settings) -> None:
    """The build creates the table once more, and its other days count as not built."""
    list(build(shop))
    write_file(shop, LINES.replace('max("user")', 'min(item) AS item, max("user")'))
    with open_builder(shop, "run-2") as builder:
        (outcome,) = builder.build(DAYS[0], day_transforms(shop)[-1:])
    assert outcome.failure is None
    with read_store(shop) as store:
        assert (TABLE, "item", 0) in dialect_of(store).list_columns(store)
    assert stale_days(shop) == DAYS[1:]
    assert rows(shop, f"SELECT DISTINCT day FROM {TABLE}") == [(DAYS[0],)]


@pytest.mark.sqlite("SQL of SQLite; for the other see test_postgres_sql")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINES.replace("sum(quantity)", "sum(quantity) + 1"), "items_sold is 8, but the stream"),
        (LINES.replace("count(*)", "abs(-9223372036854775807 - 1)"), "integer overflow"),
        (LINES.replace('max("user")', "max(event_id)"), "show them by hex()"),
    ],
)
def test_a_wrong_day_keeps_its_old_rows(shop: Settings, text: str, said: str) -> None:
    """Whether the audit refuses it or the statement fails; the tables beside it are built."""
    list(build(shop))
    before = rows(shop, f"SELECT * FROM {TABLE}")
    write_file(shop, text)
    outcomes = list(build(shop, all_tables=True))
    failures = [one.failure for one in outcomes if one.failure]
    assert len(failures) == 3
    assert all(said in failure for failure in failures)
    assert rows(shop, f"SELECT * FROM {TABLE}") == before
    assert stale_days(shop) == DAYS


def test_days_whose_rows_were_deleted_are_refused_by_name(shop: Settings) -> None:
    """A statement reads rows, and would count only those that are left."""
    rows(shop, "DELETE FROM analytics_event WHERE event_time = ?", micros(f"{DAYS[1]} 12:00"))
    failures = [one.failure for one in build(shop)]
    assert failures[0] is failures[2] is None
    assert failures[1] is not None
    assert f"of {DAYS[1]} the database has 0 of 4" in failures[1]


@pytest.mark.sqlite("SQL of SQLite; for the other see test_postgres_sql")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("wrong", LINES.replace("FROM", "FORM"), 'line 3, column 1: near "FORM"'),
        ("wrong", LINES.replace("quantity", "quantty", 1), "line 1, column 8: no such column"),
        ("wrong", LINES.replace("analytics_event", "dead_letter"), "no such table: dead_letter"),
        ("wrong", LINES.replace(":end_at", "2"), "does not name :end_at"),
        ("wrong", LINES.replace(":end_at", ":end_at + :more"), "binding parameter :more"),
        ("wrong", LINES.replace("count(*) AS events", "count(*)"), "count(*) needs a name"),
        ("wrong", LINES.replace("AS events", "AS day"), "leave the column day out"),
        ("wrong", LINES.replace("AS events", "AS quantity"), "two columns are named quantity"),
        ("wrong", f"DELETE FROM analytics_event -- {LINES}", "a change is refused"),
        ("wrong", "-- :start_at :end_at", "has no statement"),
        ("Wrong-Name", LINES, "the name must be of small letters"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_changes_no_other(
    shop: Settings, name: str, text: str, said: str
) -> None:
    """With the file and, where there is one, the line; the other file is a table as before."""
    write_file(shop, text, name)
    sql_tables = read_sql_tables(shop)
    assert [table.name for table in sql_tables.tables] == [TABLE]
    (problem,) = sql_tables.problems.values()
    assert problem.startswith(f"{shop.sql}/{name}.sql")
    assert said in problem
    assert len(problem.splitlines()) == 1


def test_a_wrong_file_is_shown(shop: Settings) -> None:
    """In the status, by the doctor, and as an asset of Dagster that cannot run."""
    write_file(shop, "SELECT", "wrong")
    section = read_tables_section(shop)
    assert section.figures["wrong_sql_tables"] == 1
    assert section.problems[0].code == "sql_table_wrong"
    checks = {check.name: check.state for check in examine(shop).checks}
    assert (checks["sql_wrong"], checks["SQL tables"]) == ("failed", "ok")
    graph = build_defs(shop).resolve_asset_graph()
    assert not graph.get(AssetKey("sql_wrong")).is_executable
    assert "does not name :start_at" in str(graph.get(AssetKey("sql_wrong")).description)
    assert graph.get(AssetKey(TABLE)).is_executable
    missing = shop.model_copy(update={"sql": Path("/none")})
    assert "is no directory" in read_tables_section(missing).problems[0].sentence


def test_the_sensor_requests_the_table_with_the_others(
    shop: Settings, instance: DagsterInstance
) -> None:
    """Also if it alone is stale; a file that has gone since the code was loaded is left out."""
    defs, sensor = build_defs(shop), stale_days_sensor(shop)

    def requested_keys() -> set[str]:
        with build_sensor_context(instance=instance, definitions=defs) as context:
            result = sensor(context)
        assert isinstance(result, SensorResult)
        (request, *_) = result.run_requests or []
        return {key.to_user_string() for key in request.asset_selection or []}

    assert requested_keys() == {*DAY_TABLE_NAMES, TABLE}
    assert shop.sql
    (shop.sql / "daily_lines.sql").unlink()
    assert requested_keys() == set(DAY_TABLE_NAMES)


def test_lineage_and_schema_come_from_the_statement(shop: Settings) -> None:
    """By sqlglot; a column with a name of ours has its meaning, others are not audited."""
    transform = day_transforms(shop)[-1]
    lineage = column_lineage(transform)
    assert lineage is not None
    sources = {
        column: [dep.column_name for dep in deps] for column, deps in lineage.deps_by_column.items()
    }
    assert sources["net_revenue_micros"] == ["amount_micros"]
    assert sources["user"] == ["user"]
    meanings = {column.name: column.description for column in table_schema(transform).columns}
    assert meanings["events"] == "Stored events."
    assert meanings["quantity"] == "Not audited."
    assert EVENT_COLUMNS.split(", ") == list(AnalyticsEventRow.model_fields)


def test_freshness_and_checks_know_the_table(shop: Settings) -> None:
    """Days that another text built are behind; rows that somebody edited are found."""
    list(build(shop))
    transform, context = day_transforms(shop)[-1], CheckContext(shop, micros("2024-01-03 13:00"))

    def states() -> set[str]:
        with read_store(shop) as store:
            report = read_freshness_report(store, shop, None)
            assert TABLE in {one.table for one in report.tables}
            freshness = read_table_freshness(store, TABLE, context.history, shop)
        return {day.state for day in freshness.days}

    assert states() == {"current"}
    with read_store(shop) as store:
        assert reconciliation.check_unchanged(store, context, transform).passed
    rows(shop, f"UPDATE {TABLE} SET items_sold = 7 WHERE quantity = 1")
    with read_store(shop) as store:
        assert not reconciliation.check_unchanged(store, context, transform).passed
        assert reconciliation.check_on_time(store, context, transform).passed
    write_file(shop, f"{LINES}-- edited")
    assert states() == {"behind"}


def test_a_table_is_exported_like_the_others(shop: Settings) -> None:
    """By days, with the types of its values; days that lack are named, and so is a wrong name."""
    write_file(
        shop,
        """SELECT quantity, max("user") AS "user", CAST(avg(quantity) AS double precision) AS mean,
          CASE quantity WHEN 1 THEN 'one' ELSE CAST(quantity AS text) END AS mixed
        FROM analytics_event WHERE event_time >= :start_at AND event_time < :end_at
        GROUP BY quantity""",
    )
    list(build(shop))
    assert read_gap(shop, TABLE, None, None) is None
    chosen = (date(2024, 1, 2), date(2024, 1, 2))
    texts = b"".join(export_chunks(shop, TABLE, *chosen, Format.CSV)).decode().splitlines()
    assert texts == [
        "day,quantity,user,mean,mixed",
        "2024-01-02,1,anna,1.0,one",
        "2024-01-02,2,ben,2.0,2",
    ]
    content = b"".join(export_chunks(shop, TABLE, None, None, Format.PARQUET))
    frame = pl.read_parquet(BytesIO(content))
    assert frame.height == 6
    assert frame.dtypes == [pl.Date, pl.Int64, pl.String, pl.Float64, pl.String]
    with pytest.raises(UsageError, match="no table sql_other; there are: sql_daily_lines"):
        export_chunks(shop, "sql_other", None, None, Format.CSV)
    rows(shop, "DELETE FROM table_build WHERE partition = ?", DAYS[0])
    gap = read_gap(shop, TABLE, None, None)
    assert gap is not None
    assert gap.missing_days == 1


def test_an_erasure_deletes_the_days_of_the_erased(shop: Settings) -> None:
    """A text may show users under any name, so that their days are built again."""
    list(build(shop))
    erase(shop, "anna", None, apply=True)
    assert rows(shop, f"SELECT * FROM {TABLE}") == []
    assert stale_days(shop) == DAYS
    list(build(shop))
    users = {user for (user,) in rows(shop, f'SELECT DISTINCT "user" FROM {TABLE}')}
    assert "anna" not in users
    assert len(users) == 2


def test_a_table_is_dropped_after_its_file(shop: Settings) -> None:
    """With its builds; while the file is there it would only be built again."""
    list(build(shop))
    with pytest.raises(UsageError, match="remove it first"):
        drop_sql_table(shop, TABLE, apply=True)
    assert shop.sql
    (shop.sql / "daily_lines.sql").unlink()
    assert drop_sql_table(shop, "daily_lines", apply=False) == 6
    assert drop_sql_table(shop, "daily_lines", apply=True) == 6
    with pytest.raises(UsageError, match=f"no table {TABLE}"):
        drop_sql_table(shop, TABLE, apply=True)
    assert rows(shop, "SELECT * FROM table_build WHERE table_name = ?", TABLE) == []


def test_builds_of_a_removed_file_are_not_behind(shop: Settings) -> None:
    """Nothing builds the table again, though it is there until it is dropped."""
    list(build(shop, all_tables=True))
    assert shop.sql
    (shop.sql / "daily_lines.sql").unlink()
    store_events(shop, [event(99, micros(f"{DAYS[1]} 13:00"))])
    assert read_tables_section(shop).figures["days_behind"] == 1
    list(build(shop, all_tables=True))
    assert read_tables_section(shop).figures["days_behind"] == 0
    write_file(shop, LINES)
    assert read_tables_section(shop).figures["days_behind"] == 1


def test_failures_of_a_removed_file_are_no_problem(shop: Settings) -> None:
    """Nothing tries these builds again, and `drop` deletes their failures without a table."""
    write_file(shop, LINES.replace("count(*)", "count(*) + 1"))
    assert all(one.failure for one in build(shop))
    assert read_tables_section(shop).figures["failed_builds"] == 3
    assert read_failed_days(shop) == {date.fromisoformat(day) for day in DAYS}
    assert shop.sql
    (shop.sql / "daily_lines.sql").unlink()
    section = read_tables_section(shop)
    assert (section.figures["failed_builds"], section.problems) == (0, ())
    assert read_failed_days(shop) == frozenset()
    for apply, left in ((False, 3), (True, 0)):
        assert drop_sql_table(shop, TABLE, apply=apply) == 0
        assert rows(shop, "SELECT count(*) FROM build_failure") == [(left,)]
    with pytest.raises(UsageError, match=f"no table {TABLE}"):
        drop_sql_table(shop, TABLE, apply=True)
