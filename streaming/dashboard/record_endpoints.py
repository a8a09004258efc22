"""The endpoints about single records: a look into a topic, the path of a purchase; the last hour.

They are POST, because what they are asked for is personal data, which belongs in no address, and so
that only who may act is answered.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from streaming.api.endpoint import Endpoint, NoParameters
from streaming.errors import UsageError
from streaming.kafka.peek import Peek, PeekRequest, peek, read_start, topic_named
from streaming.settings import Settings
from streaming.status.last_hour import LastHour, Samples
from streaming.store.connection import read_store
from streaming.store.purchase_path import PurchasePaths, find_paths

MAX_CONCURRENT = 2
"""Each reads up to 200,000 records, or looks through as many rows."""


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
        return find_paths(store, settings.zone, event_id=options.event_id, name=options.name)
