"""What people read is the same from SQLite and from PostgreSQL, down to each byte of an answer.

Both hold the same rows here. What writes them is tested beside its writer.
"""

import dataclasses
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psycopg
import pytest
from playwright.sync_api import expect

from assets.builds.builder import open_builder
from assets.queries.endpoints import history_endpoints
from assets.queries.export import TABLES
from assets.queries.status_section import read_tables_section
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.api.endpoint import FileStream
from streaming.dashboard.access import read_access
from streaming.dashboard.app import Extension, build_dashboard
from streaming.dashboard.endpoints import stream_endpoints
from streaming.dashboard.record_endpoints import record_endpoints
from streaming.settings import Settings
from streaming.status.last_hour import new_samples
from streaming.store.models import Table
from streaming.store.sqlite import connect
from streaming.totals.sampler import Sampler
from tests.assets.event_store import store_events
from tests.browser import browser
from tests.dashboard.server import serve_app
from tests.postgres import PostgresServer
from tests.store.rows import Event, add_dead_letter, event, micros

pytestmark = pytest.mark.sqlite("a file beside a server")

DAYS = ("2024-01-30", "2024-02-01", "2024-02-02", "2024-03-30")
RANGE = {"from": "2024-01-29", "to": "2024-04-02"}
TRILLION = 10**18
NAMES = ("Lamp_1", "lamp%", "BOOK", "book", "Élan", "stool")
NOT_STORED = {"topics/peek", "last-hour", "dead-letters/redrive", "dead-letters/{id}", "verify"}
"""Endpoints that answer from Kafka or from memory, or that do what has a test of its own."""
SPAN: list[dict[str, Any]] = [{}, RANGE]
NAMED: list[dict[str, Any]] = [
    {**RANGE, **named}
    for named in (
        {"item": "BOOK"},
        {"country": ""},
        {"country": "France", "customer": "anna"},
        {"format": "csv"},
    )
]
ASKED: dict[str, list[dict[str, Any]]] = {
    "totals": [{}],
    "live": [{}],
    "status": [{}],
    "dead-letters": [{}, {"state": ["open", "stored", "parked"], "limit": 2}],
    "days": [{**each, "by": by} for each in [*SPAN, *NAMED] for by in ("day", "week", "month")],
    "hours": [*SPAN, *NAMED],
    "items": [
        {**each, "order": order, "direction": way}
        for each in [*SPAN, *NAMED, {"from": "2024-02-01", "to": "2024-02-20"}]
        for order in ("items_sold", "net_revenue", "gross_revenue", "events")
        for way in ("ascending", "descending")
    ],
    "countries": [{**each, "order": "net_revenue", "limit": 1} for each in [*SPAN, *NAMED]],
    "buyers": [
        {**RANGE, "order": order} for order in ("net_revenue", "orders", "items_sold", "events")
    ],
    "orders": [{**RANGE, "order": order, "limit": 7} for order in ("at", "net_revenue")],
    "lines": [{**RANGE, "limit": 5, "offset": 3}, {**RANGE, "order": "o-3"}],
    "search": [{"text": text} for text in ("O", "lamp", "%", "_1", "é", "ANN", "o-1", "fr")],
    "customers": [
        {"order": order, "direction": way}
        for order in ("net_revenue", "orders", "last_purchase")
        for way in ("ascending", "descending")
    ],
    "tables": [{}],
    "tables/{table}": [{"table": "daily_sales"}, {"table": "daily_item_sales", **RANGE}],
    "sql-tables": [{}],
    "export/{table}": [
        *({"table": table, "format": "jsonl"} for table in TABLES),
        {"table": "analytics_event", "format": "csv", **RANGE},
        {"table": "daily_sales", "format": "parquet", **RANGE},
        {"table": "customer_summary", "format": "spreadsheet"},
    ],
    "purchases/path": [{"name": "anna"}, {"name": "o-3"}, {"event_id": "id-000004"}],
    "sql": [
        {"sql": "SELECT * FROM day_ledger_readable ORDER BY day"},
        {"sql": "SELECT * FROM analytics_event_readable ORDER BY event_id LIMIT 40"},
    ],
}
VARIABLE = re.compile(
    rb'"(as_of|path|home|bytes|used_bytes|free_bytes|bytes_per_million|detail)":'
    rb'("[^"]*"|\d+|null)'
)


def purchases() -> Iterator[Event]:
    """Make purchases of three months with equal and missing values, and large amounts."""
    chance = Random(4)
    start = micros("2024-01-29 23:30")
    for number in range(400):
        quantity = chance.choice([1, 1, 2, 3, -1])
        item = chance.choice(NAMES)
        made = event(
            number,
            start + chance.randrange(64 * 24) * 3_600_000_000 + number,
            quantity,
            item=item,
            user=chance.choice(["anna", "bert", "Ann", None]),
            country=chance.choice(["France", "fr", None]),
            order_id=chance.choice([f"o-{number // 3}", None]),
            description=chance.choice([f"a {item}", "A thing", None]),
            processed_at=number,
        )
        if number % 50 == 7:
            made = replace(made, unit_price_micros=None, amount_micros=None)
        elif number % 50 == 9:
            price = TRILLION - number
            made = replace(made, unit_price_micros=price, amount_micros=price * quantity)
        yield made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store on SQLite with purchases, dead letters, and some tables built."""
    settings = Settings(home=tmp_path_factory.mktemp("shop"), timezone="Europe/Paris")
    store_events(settings, purchases())
    with closing(connect(settings.database_path)) as connection:
        for offset, state in enumerate(("open", "parked", "open", "stored")):
            add_dead_letter(connection, offset, state, ("not_storable", "empty")[offset % 2])
    with open_builder(settings, "run") as builder:
        for day in DAYS:
            builder.build(day, DAY_TRANSFORMS)
        builder.build("all", WHOLE_TRANSFORMS)
    return settings


@pytest.fixture(scope="module")
def stores(
    shop: Settings,
    postgres_server: PostgresServer,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Settings, Settings]]:
    """The same store on SQLite and on PostgreSQL."""
    name = postgres_server.create_database(postgres_template)
    copy_rows(shop.database_path, postgres_server.conninfo(name))
    url = postgres_server.url(name)
    home = tmp_path_factory.mktemp("on-postgres")
    yield shop, shop.model_copy(update={"home": home, "database_url": url})
    postgres_server.drop_database(name)


def copy_rows(source: Path, target: str) -> None:
    """Copy all rows, in the order in which they were stored; the months are kept by triggers."""
    with closing(sqlite3.connect(source)) as store, psycopg.connect(target) as copy:
        for table in Table.metadata.sorted_tables:
            names = [column.name for column in table.columns]
            if table.name == "monthly_item_sales":
                continue
            if table.name == "analytics_event":
                names.append("rowid")
            columns = ", ".join(f'"{name}"' for name in names)
            rows = store.execute(f'SELECT {columns} FROM "{table.name}"').fetchall()
            marks = ", ".join(["%s"] * len(names))
            statement = f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})'
            copy.cursor().executemany(statement.encode(), rows)


def endpoints(settings: Settings) -> dict[str, Callable[[dict[str, Any]], bytes]]:
    """Return what answers each endpoint from the store."""
    declared = [
        *history_endpoints(lambda _: None),
        *record_endpoints(new_samples()),
        *stream_endpoints(Sampler(settings).sample, {"tables": read_tables_section}),
    ]

    def answer(endpoint: Any, parameters: dict[str, Any]) -> bytes:  # noqa: ANN401
        asked = msgspec.convert(parameters, endpoint.parameters, strict=False)
        result = endpoint.handle(settings, asked)
        if isinstance(result, FileStream):
            return result._file.read()
        body = getattr(result, "body", None)
        if body is not None:
            return bytes(body)
        encoded = msgspec.json.encode(result).replace(str(settings.home).encode(), b"")
        return VARIABLE.sub(b"", encoded)

    return {one.path: partial(answer, one) for one in declared}


def test_every_endpoint_answers_the_same(stores: tuple[Settings, Settings]) -> None:
    """All figures, lists, rankings, files, the search and SQL, each of the same bytes."""
    on_sqlite, on_postgres = map(endpoints, stores)
    assert set(on_sqlite) == {*ASKED, *NOT_STORED}
    for path, parameters in ((path, one) for path, asked in ASKED.items() for one in asked):
        expected, actual = (answers[path](parameters) for answers in (on_sqlite, on_postgres))
        assert (path, parameters, actual) == (path, parameters, expected)


@pytest.mark.faults
def test_the_page_shows_a_store_on_postgresql(stores: tuple[Settings, Settings]) -> None:
    """Figures, days and purchases in a browser; each example of a question has an answer."""
    _, settings = stores
    extension = Extension(history_endpoints(lambda _: None), {"tables": read_tables_section})
    extension = dataclasses.replace(extension, views=("history", "verified"))
    _, app = build_dashboard(settings, read_access(settings), extension)
    with serve_app(app) as base, browser(base) as (page, errors, foreign):
        expect(page.locator("#latest")).to_contain_text("a BOOK")
        page.goto(f"{base}/#history?from=2024-01-29&to=2024-04-02")
        expect(page.locator("body")).to_contain_text("59 days not built yet")
        page.goto(f"{base}/#sql")
        example = page.locator("#sql-example")
        for name in example.locator("option").all_inner_texts():
            example.select_option(name)
            expect(page.locator("#sql-result")).to_contain_text(re.compile(r"rows?\..* ms$"))
        page.goto(f"{base}/#stream")
        expect(page.locator("#storage")).to_contain_text("Free in the home")
        assert (errors, foreign) == ([], [])
