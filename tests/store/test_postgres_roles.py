"""The roles of docs/how-to/store-into-postgresql.md: each does its work, and nothing else."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from assets.builds.builder import open_builder
from assets.queries.export import export_chunks
from assets.queries.file_formats import Format
from assets.tables.sql_transform import day_transforms
from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.connection import read_store, store_errors
from streaming.store.deployment import ensure_deployment
from streaming.store.engine import open_engine
from streaming.store.source_topics import record_source_topics
from streaming.store.sql_query import Bounds, run_query
from streaming.totals.report import read_report
from streaming.totals.sampler import Sampler
from tests.assets.event_store import write
from tests.docs.pages import ROOT
from tests.postgres import PostgresServer
from tests.store.rows import SOURCE_TOPICS
from tests.store.test_writer import contested_events

PAGE = ROOT / "docs" / "how-to" / "store-into-postgresql.md"
BLOCKS = [
    block
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if "CREATE ROLE" in block
]
ROLES = re.findall(r"CREATE ROLE (\w+)", " ".join(reversed(BLOCKS)))
BOUNDS = Bounds(30, 10)
EVENTS = contested_events(30)
DAY = "2024-03-01"
FILE = (
    'SELECT item, count(*) AS events, max("user") AS buyer FROM analytics_event'
    " WHERE event_time >= :start_at AND event_time < :end_at GROUP BY item"
)
CHANGES = {
    "shop_stream": (
        "UPDATE daily_sales SET events = 0",
        "INSERT INTO table_build SELECT * FROM table_build",
        "DELETE FROM analytics_event",
        "DELETE FROM live_totals",
        "TRUNCATE dead_letter",
        "DROP TABLE correction",
        "CREATE TABLE own (a INTEGER)",
        "DELETE FROM verification",
    ),
    "shop_builds": (
        "UPDATE analytics_event SET quantity = 1",
        "INSERT INTO analytics_event SELECT * FROM analytics_event",
        "UPDATE live_item_totals SET events = 0",
        "UPDATE stream_offset SET next_offset = 0",
        "DELETE FROM live_totals",
        "DROP TABLE daily_sales",
    ),
    "shop_page": (
        "UPDATE dead_letter SET state = 'dropped'",
        "INSERT INTO source_topic (name) VALUES ('own')",
        "DELETE FROM daily_sales",
        "CREATE TABLE own (a INTEGER)",
        "LOCK TABLE live_totals",
    ),
}
OF_NOBODY = (
    "SELECT * FROM pg_authid",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_import('PG_VERSION')",
    "COPY live_totals TO PROGRAM 'true'",
    "SET ROLE postgres",
)


@pytest.fixture
def owner(postgres_settings: Settings, postgres_server: PostgresServer) -> Iterator[Settings]:
    """Return settings of the tables' owner, with the roles and users of the page."""
    assert postgres_settings.database_url
    name = postgres_settings.database_url.rpartition("/")[2]
    assert len(BLOCKS) == 2
    with psycopg.connect(postgres_server.conninfo(name), autocommit=True) as connection:
        for block in BLOCKS:
            connection.execute(block.encode())
        yield postgres_settings
        for role in ROLES:
            connection.execute(f"DROP OWNED BY {role} CASCADE".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def test_each_role_can_do_its_work_and_nothing_else(
    owner: Settings, postgres_server: PostgresServer
) -> None:
    """The stream stores, the builds build, the page reads; nobody changes what is another's."""
    assert owner.database_url
    name = owner.database_url.rpartition("/")[2]
    (owner.home.parent / "lines.sql").write_text(FILE)

    def settings_of(user: str) -> Settings:
        url = f"postgresql+psycopg://{user}:change-me@127.0.0.1:{postgres_server.port}/{name}"
        return owner.model_copy(update={"database_url": url, "sql": owner.home.parent})

    stream, builds, page = map(settings_of, CHANGES)
    engine = open_engine(stream)
    ensure_deployment(engine, stream)
    record_source_topics(engine, SOURCE_TOPICS)
    # The second half has corrections, by which items and days are left without an event.
    for events in (EVENTS[:60], EVENTS[60:]):
        write(engine, stream, [each.row() for each in events])
    engine.dispose()
    with open_builder(builds, "run") as builder:
        built = builder.build(DAY, day_transforms(builds))
        assert [one.failure for one in built] == [None] * len(day_transforms(builds))

    report, _ = read_report(page, distinct=True)
    assert report.events == Sampler(page).sample().events == 30
    for table in ("analytics_event", "daily_sales", "sql_lines"):
        assert b"".join(export_chunks(page, table, None, None, Format.CSV)).count(b"\n") > 1
    for settings in (page, stream, builds):
        asked = "SELECT count(*) FROM analytics_event_readable"
        assert run_query(settings, asked, BOUNDS).rows == [[30]]
        with pytest.raises(UsageError, match="may only read the database"):
            run_query(settings, "DELETE FROM dead_letter", BOUNDS)
    for user, changes in CHANGES.items():
        for statement in (*changes, *OF_NOBODY):
            info = postgres_server.conninfo(name)
            with psycopg.connect(info, user=user, password="change-me") as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
                connection.rollback()
    with read_store(page) as store:
        assert store.execute("SELECT sum(events) FROM daily_sales").fetchone()[0]

    # What an administrator may have done is one sentence too.
    with psycopg.connect(postgres_server.conninfo(name), autocommit=True) as connection:
        connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC".encode())
        connection.execute(b"ALTER ROLE shop_builds SET statement_timeout = 1")
    engine = open_engine(stream)
    with (
        pytest.raises(PurchasesError, match="lacks a permission: permission denied to create tem"),
        store_errors(stream.database),
    ):
        write(engine, stream, [EVENTS[0].row()])
    engine.dispose()
    with (
        pytest.raises(Unavailable, match="ended a statement; ALTER ROLE … SET statement_timeout"),
        read_store(builds) as store,
    ):
        store.execute("SELECT pg_sleep(1)")
