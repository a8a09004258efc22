"""The records of a status: what `status --json` prints, field by field (docs/status.md).

Only shapes. How they are filled is in `collect`, what is wrong with them in `diagnose`. Unless said
otherwise times are RFC 3339 in UTC, durations and ages are seconds, sizes bytes; null is unknown.
"""

from msgspec import Struct

from streaming.runtime.latency import Latencies


class Problem(Struct, frozen=True):
    """One thing that is wrong: a stable code, a sentence with figures, and what to do."""

    code: str
    sentence: str
    remedy: str


class Broker(Struct, frozen=True):
    """Whether the cluster is `answering`, with `topic_missing`, or `down`, and for which reason.

    `unsafe_options` are those of the topic `purchases` by which a batch can end its readers, such
    as `compression.type=producer`. `dead_letter_share` is how much of the bytes that the embedded
    broker keeps of dead letters is full; None if it is unknown, or the cluster is another. Of
    `compacted_topics` unread records are lost.
    `unverified_options` of the client file let anybody on the way be the broker.
    """

    state: str
    bootstrap_servers: str | None
    detail: str
    unsafe_options: tuple[str, ...] = ()
    dead_letter_share: float | None = None
    compacted_topics: tuple[str, ...] = ()
    unverified_options: tuple[str, ...] = ()


class DatabaseStatus(Struct, frozen=True):
    """Whether the database is `ok`, `unreadable` or `not_asked`, and what it counted so far.

    `bytes` is what its files take on the disk, `used_bytes` what they hold: without free pages, and
    without the WAL, which repeats pages. `archived` counts the events of which only the id is in it
    and `keep_events` is the setting, in days.
    """

    state: str
    detail: str
    path: str
    events: int | None
    duplicates: int | None
    conflicting: int | None
    refused: int | None
    bytes: int | None
    not_storable: int | None = None
    conflicted_at: str | None = None
    used_bytes: int | None = None
    archived: int | None = None
    keep_events: int | None = None


class SlotStatus(Struct, frozen=True, kw_only=True):
    """One slot of an app, from the files of its worker and supervisor, and from its lease.

    `name` is its worker's, and has the name of the `host`, which is empty if there is one host.
    Counters are since the start of the process; without a living worker they are 0.
    """

    name: str
    host: str
    slot: int
    state: str
    detail: str
    pid: int | None
    uptime_seconds: float | None
    heartbeat_seconds: float | None
    restarts: int | None
    last_exit_code: int | None
    last_error: str
    records_in: int
    records_out: int
    refused: int
    duplicates: int
    in_per_second: float
    out_per_second: float
    refused_per_second: float
    duplicates_per_second: float
    lag_records: int
    lag_seconds: float
    closing_per_second: float
    committed_at: str | None
    latencies: Latencies
    partitions: tuple[str, ...]
    unknown_fields: dict[str, int]


class AppStatus(Struct, frozen=True, kw_only=True):
    """One app: the sums of its slots, and its lag."""

    app: str
    state: str
    supervisor_pid: int | None
    in_per_second: float
    out_per_second: float
    refused_per_second: float
    duplicates_per_second: float
    lag_records: int | None
    lag_seconds: float | None
    hidden_records: int | None
    closing_per_second: float
    seconds_to_drain: float | None
    committed_at: str | None
    slots: tuple[SlotStatus, ...]


class PartitionStatus(Struct, frozen=True):
    """One topic partition that an app reads: its stored position, and the last stable offset.

    `hidden_producer` has the transaction that has been open for too long, if the broker says it.
    `unread_share` is how much of what retention keeps is unread: at 1 Kafka deletes unread records.
    `seconds_until_deleted` is when it may delete the oldest unread one by its age. `held_records`
    is how many offsets Kafka holds.
    """

    app: str
    topic: str
    partition: int
    position: int
    end: int
    lag_records: int
    lag_seconds: float | None
    hidden_records: int | None
    hidden_seconds: float | None
    hidden_producer: int | None = None
    unread_share: float | None = None
    seconds_until_deleted: float | None = None
    held_records: int | None = None


class RefusalShare(Struct, frozen=True):
    """The share of refused records over the longer of 5 minutes and 1,000 records, and its limit.

    `top_key` is the most frequent key of refused records: personal data.
    """

    records: int
    refused: int
    share: float
    limit: float
    exceeded: bool
    top_reason: str | None
    top_key: str | None


class PriceShare(Struct, frozen=True):
    """The share of accepted purchases whose price is unknown, over the same records as refusals."""

    purchases: int
    without_price: int
    share: float


class UnknownField(Struct, frozen=True):
    """A field that the contract does not know: how many purchases had it, and what was meant.

    `other` stands for all that are not among the most frequent. `meant` is null if no optional
    field has a name like it.
    """

    name: str
    purchases: int
    meant: str | None


class Disk(Struct, frozen=True):
    """The disk under home or database, the fuller one, and how soon it is full.

    `stored_per_second` is what that is projected from: the rate of the last ten minutes, null while
    fewer are known.
    """

    free_bytes: int
    bytes_per_million_events: int | None
    days_until_full: float | None
    stored_per_second: float | None = None


class Section(Struct, frozen=True):
    """What another package adds: its figures by name, and its problems."""

    figures: dict[str, str | int | float | bool | None]
    problems: tuple[Problem, ...] = ()


class Status(Struct, frozen=True, kw_only=True):
    """The status of a deployment at one moment."""

    healthy: bool
    verdict: str
    problems: tuple[Problem, ...]
    as_of: str
    home: str
    broker: Broker
    database: DatabaseStatus
    apps: tuple[AppStatus, ...]
    partitions: tuple[PartitionStatus, ...]
    refusals: RefusalShare
    prices: PriceShare
    unknown_fields: tuple[UnknownField, ...]
    disk: Disk
    sections: dict[str, Section]
