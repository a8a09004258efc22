"""The tables of the event store, as typed models; times are integer µs in UTC, money is micros.

A sum of money is in two columns, `…_trillions` and `…_micros`, because a sum may be beyond 64 bits;
`units` splits it. Only the shape lives here; each docstring names the writer. Views are in the
migrations.
"""

from datetime import date
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Index, MetaData
from sqlmodel import Field, SQLModel

# Alembic can drop or alter a constraint by its name alone.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}


def big(**options: Any) -> Any:  # noqa: ANN401 - what SQLModel's `Field` takes and gives
    """Return a column of 64 bits, on every database."""
    # SQLite's integers have 64 bits under any name, those of other databases only under this one.
    return Field(sa_type=BigInteger, **options)


def trillions() -> Any:  # noqa: ANN401 - what SQLModel's `Field` takes and gives
    """Return the second column of a sum of money: whole trillions, see `units.split_sum`."""
    return big(default=0, sa_column_kwargs={"server_default": "0"})


class Table(SQLModel):
    """The base of all tables, with metadata of their own."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMES)


class AnalyticsEventRow(Table, table=True):
    """One stored event, with its offset on `analytics`; written by the consumer.

    `event_id` is what `identifiers.pack_event_id` returns, `source_topic` an id of `source_topic`.
    """

    __tablename__ = "analytics_event"
    __table_args__ = (
        # What audits and sums rely on; the consumer refuses it before, with a reason.
        CheckConstraint("kind = CASE WHEN quantity > 0 THEN 'sale' ELSE 'return' END", "kind"),
        CheckConstraint("quantity <> 0", "quantity"),
        CheckConstraint("(amount_micros IS NULL) = (unit_price_micros IS NULL)", "amount_micros"),
    )

    event_id: bytes = Field(primary_key=True, description="The 16 bytes of the event's UUID.")
    event_time: int = big(index=True, description="When it was bought, µs since 1970 UTC.")
    kind: str = Field(description="`sale`, or `return` if the quantity is negative.")
    # A keyword in PostgreSQL.
    user: str | None = Field(
        sa_column_kwargs={"name": "user", "quote": True},
        description="Who bought it; none for a guest.",
    )
    item: str = Field(description="The item.")
    quantity: int = Field(description="How many, never 0; negative for a return.")
    unit_price_micros: int | None = big(
        description="The price of one, in millionths of the currency; none if it is unknown."
    )
    amount_micros: int | None = big(
        description="Quantity times price, in millionths of the currency; none if that is unknown."
    )
    currency: str = Field(description="The deployment's currency, such as GBP.")
    order_id: str | None = Field(description="The order that it is a line of.")
    description: str | None = Field(description="The item in words.")
    country: str | None = Field(description="The country of the buyer.")
    processed_at: int = big(description="When the processor published it, µs since 1970 UTC.")
    source_topic: int = Field(description="The topic that it came from: an id of `source_topic`.")
    source_partition: int = Field(description="The partition of that topic.")
    source_offset: int = big(description="The offset there.")
    source_timestamp: int = big(description="When it was appended there, µs since 1970 UTC.")
    stream_partition: int = Field(description="The partition of `analytics` that has it.")
    stream_offset: int = big(description="The offset there.")


class SourceTopic(Table, table=True):
    """The name of a topic that events were made of, by the id in their rows; never changed.

    A name takes more than a number of one byte, in each row.
    """

    __tablename__ = "source_topic"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True, unique=True)


class DeadLetterRow(Table, table=True):
    """One refused origin; written by the consumer, which reads `purchases.dlq` too.

    `reason`, `refused_at` and the offset are those of the last attempt. The value is not stored.
    """

    __tablename__ = "dead_letter"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'redriven', 'stored', 'parked', 'dropped')", "state"),
        # Status and metrics count by these every few seconds.
        Index(None, "state", "reason"),
    )

    origin_topic_id: str = Field(primary_key=True)
    origin_partition: int = Field(primary_key=True)
    origin_offset: int = big(primary_key=True)
    origin_topic: str
    origin_timestamp: int = big()
    reason: str | None
    detail: str | None
    key: str | None
    refused_at: int | None = big()
    attempts: int
    dlq_partition: int | None
    dlq_offset: int | None = big()
    state: str
    dropped_because: str | None


class StreamOffset(Table, table=True):
    """The position of a topic partition and the counts up to it; written by the consumer."""

    __tablename__ = "stream_offset"

    consumer_group: str = Field(primary_key=True)
    topic: str = Field(primary_key=True)
    partition: int = Field(primary_key=True)
    next_offset: int = big()
    leader_epoch: int | None
    topic_id: str
    cluster_id: str
    records: int = big()
    stored: int = big()
    duplicates: int = big()
    conflicting: int = big()
    not_storable: int = big(sa_column_kwargs={"server_default": "0"})
    conflicted_at: int | None = big()


class Correction(Table, table=True):
    """One change of a stored event; written by consumer and `erase`, and never changed or deleted.

    The source is that of the content that was replaced; an erasure leaves it as it is. A rebuild
    leaves a row without an event, whose id keeps the version of all figures from falling; its days
    are the day of the rebuild.
    """

    __tablename__ = "correction"
    __table_args__ = (CheckConstraint("kind IN ('conflict', 'erasure', 'rebuild')", "kind"),)

    id: int | None = Field(default=None, primary_key=True)
    kind: str
    event_id: str
    day_before: date
    day: date
    source_topic: str
    source_partition: int
    source_offset: int = big()
    source_timestamp: int = big()
    corrected_at: int = big()


class ErasureRow(Table, table=True):
    """One erasure, without any name: how much it replaced; written by `erase` and `db restore`.

    The pseudonyms are in the home's file, by the id.
    """

    __tablename__ = "erasure"

    id: str = Field(primary_key=True)
    erased_at: int = big()
    users: int
    orders: int
    events: int = big()
    days: int
    dead_letters: int = big()
    table_rows: int = big()


class ColumnFileRow(Table, table=True):
    """One column file: immutable Parquet with stored events of one day; written by who seals.

    It holds the day's rows from `first_row` to `last_row`, by their `rowid`. `problem` says why it
    is not read any more. `archived` counts the rows that are in this file only: it has all columns
    then, and is None for a file of purchases alone. `retired` lists the partitions of `analytics`
    (as JSON) that were given up since.
    """

    __tablename__ = "column_file"

    name: str = Field(primary_key=True)
    day: date = Field(index=True)
    first_row: int = big()
    last_row: int = big()
    events: int = big()
    items_sold: int = big()
    net_revenue_micros: int = big()
    net_revenue_trillions: int = trillions()
    first_event: int = big()
    last_event: int = big()
    bytes: int = big()
    sha256: str
    sealed_at: int = big()
    problem: str | None
    archived: int | None = big()
    retired: str | None


class ArchivedEvent(Table, table=True):
    """The id of an event whose row is only in a column file; written with `assets.builds.archive`.

    `content` is the digest of the purchase, `epoch_day` the number of its local day since 1970. The
    `source_` columns are those of the event.
    """

    __tablename__ = "archived_event"
    __table_args__ = ({"sqlite_with_rowid": False},)

    event_id: bytes = Field(primary_key=True)
    epoch_day: int
    content: bytes
    source_timestamp: int = big()
    source_partition: int
    source_offset: int = big()
    source_topic: int


class LiveTotals(Table, table=True):
    """The additive figures of all time, one row; their version is `events` and the corrections."""

    __tablename__ = "live_totals"
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)

    id: int = Field(primary_key=True)
    events: int = big()
    items_sold: int = big()
    gross_revenue_micros: int = big()
    net_revenue_micros: int = big()
    guest_events: int = big()
    changed_at: int = big()
    gross_revenue_trillions: int = trillions()
    net_revenue_trillions: int = trillions()


class LiveItemTotals(Table, table=True):
    """The additive figures of one item."""

    __tablename__ = "live_item_totals"

    item: str = Field(primary_key=True)
    events: int = big()
    items_sold: int = big(index=True)
    gross_revenue_micros: int = big()
    net_revenue_micros: int = big()
    gross_revenue_trillions: int = trillions()
    net_revenue_trillions: int = trillions()


class DayLedger(Table, table=True):
    """The consumer's count of one day, cut in the deployment's time zone, and its version."""

    __tablename__ = "day_ledger"

    day: date = Field(primary_key=True)
    version: int = big()
    events: int = big()
    items_sold: int = big()
    net_revenue_micros: int = big()
    changed_at: int = big()
    net_revenue_trillions: int = trillions()


class Deployment(Table, table=True):
    """The settings of the first start, one row; a different setting later is refused."""

    __tablename__ = "deployment"
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)

    id: int = Field(primary_key=True)
    deployment_id: str
    currency: str
    timezone: str
    schema_version: int
    created_at: int = big()


class HostStatusRow(Table, table=True):
    """What the supervisor of an app last said of its slots, on one of several hosts.

    `home` is its machine and directory, `state` that of the worst slot, or `ended`; `content` is
    JSON. `heard_at` is by the server's clock.
    """

    __tablename__ = "host_status"

    host: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    home: str
    state: str
    content: str
    heard_at: int = big()


class Verification(Table, table=True):
    """One run of `verify`: its times, the offsets it compared and its differences (as JSON).

    `checkpoint` is what the next run goes on from; only the last one that agreed has it.
    """

    __tablename__ = "verification"

    id: int | None = Field(default=None, primary_key=True)
    started_at: int = big()
    finished_at: int = big()
    agrees: bool
    compared: str
    differences: str
    checkpoint: str | None = None


def table_name(model: type[Table]) -> str:
    """Return a model's name in the database, which is its asset's name too."""
    return str(model.__tablename__)
