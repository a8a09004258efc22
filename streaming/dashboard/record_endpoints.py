"""The endpoints about single records: a look into a topic, the path of a purchase, an SQL query.

The last hour is here too.

They are POST, because what they are asked for is personal data, which belongs in no address, and so
that only who may act is answered.
"""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct, structs
from starlette.responses import Response

from streaming.api.endpoint import JSON, Endpoint, NoParameters
from streaming.errors import UsageError
from streaming.formatting import spreadsheet
from streaming.kafka.peek import Peek, PeekRequest, peek, read_start, topic_named
from streaming.settings import Settings
from streaming.status.last_hour import LastHour, Samples
from streaming.store.connection import read_store
from streaming.store.purchase_path import PurchasePaths, find_paths
from streaming.store.sql_query import Bounds, QueryResult, browser_rows, run_query

MAX_CONCURRENT = 2
"""Each reads up to 200,000 records, or looks through as many rows, or takes 512 MiB."""
SQL_BOUNDS: Final = Bounds(10.0, 1_000)
"""Shorter than what a person waits for, and as many rows as one looks through."""
CSV: Final = "text/csv"


class PeekOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Records of a topic: the newest, or the first from a time or `PARTITION:OFFSET` on."""

    topic: str
    key: str | None = None
    since: datetime | None = None
    offset: str | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class PathOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """A purchase by its event id, or the newest of a user or an order."""

    event_id: str | None = None
    name: str | None = None


class SqlQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT; `csv` asks for a file for spreadsheets."""

    sql: Annotated[str, Meta(max_length=100_000)]
    csv: bool = False


def record_endpoints(samples: Samples) -> list[Endpoint]:
    """Return the endpoints; `samples` are those of the last hour."""

    def last_hour(_settings: Settings, _: NoParameters) -> LastHour:
        return LastHour(tuple(samples))

    return [
        Endpoint("GET", "last-hour", "Throughput and lag of the last hour", last_hour, LastHour),
        Endpoint(
            "POST",
            "topics/peek",
            "Records of a topic",
            _peek,
            Peek,
            PeekOptions,
            max_concurrent=MAX_CONCURRENT,
        ),
        Endpoint(
            "POST",
            "purchases/path",
            "The path of a purchase through topics and tables",
            _path,
            PurchasePaths,
            PathOptions,
            max_concurrent=MAX_CONCURRENT,
        ),
        Endpoint(
            "POST",
            "sql",
            "The answer to a SELECT over all tables",
            _sql,
            QueryResult,
            SqlQuery,
            media_types=(JSON, CSV),
            max_concurrent=MAX_CONCURRENT,
        ),
    ]


def _peek(settings: Settings, options: PeekOptions) -> Peek:
    since = options.since
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=settings.zone)
    request = PeekRequest(
        topic_named(settings, options.topic),
        None if options.key is None else options.key.encode(),
        None if since is None else int(since.timestamp() * 1000),
        None if options.offset is None else read_start(options.offset),
        options.limit,
    )
    return peek(settings, request)


def _path(settings: Settings, options: PathOptions) -> PurchasePaths:
    if (options.event_id is None) == (options.name is None):
        raise UsageError("Name a purchase by event_id, or a user or order by name.")
    with read_store(settings) as store:
        return find_paths(store, settings, event_id=options.event_id, name=options.name)


def _sql(settings: Settings, query: SqlQuery) -> QueryResult | Response:
    result = run_query(settings, query.sql, SQL_BOUNDS)
    if query.csv:
        return Response(spreadsheet(result.columns, result.rows), media_type=CSV)
    # A browser would round large numbers.
    return structs.replace(result, rows=browser_rows(result.rows))
