"""The problems of a status: each in a sentence, with what to do. Pure.

A problem's `code` is stable, so that an alert can name it (docs/status.md lists them).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import structs

from streaming.apps import PROCESSOR, app_named
from streaming.kafka.lag import LONG_TRANSACTION_SECONDS
from streaming.status.model import (
    AppStatus,
    Broker,
    DatabaseStatus,
    PartitionStatus,
    Problem,
    SlotStatus,
    Status,
)
from streaming.system.disk_space import LEAST_FREE_BYTES

FEWEST_DAYS: Final = 3.0
"""A weekend, so that somebody can still act on Monday."""
MOST_OF_RETENTION: Final = 0.8
"""Of what Kafka keeps: it deletes whole segments, and somebody must have time to act before."""
LONG_BEHIND_SECONDS: Final = 60.0
"""Longer than a restart, a rebalance and the catch-up after them."""
CONFLICT_SHOWN: Final = timedelta(days=1)
"""Long enough to be seen the next morning; an event that was not stored cannot be undone."""
FINE: Final = "All is well."


def status_of_app(status: Status, app: str) -> Status:
    """Return the part of a status that concerns a home in which this app alone runs.

    The database, and the sections about its tables, are the consumer's; the schema registry is the
    processor's.
    """
    of_processor = app == PROCESSOR.name
    apart = structs.replace(
        status,
        apps=tuple(one for one in status.apps if one.app == app),
        partitions=tuple(one for one in status.partitions if one.app == app),
        sections={
            name: section
            for name, section in status.sections.items()
            if (name == "registry") == of_processor
        },
    )
    if not of_processor:
        return apart
    database = structs.replace(status.database, state="not_asked", detail="")
    return structs.replace(apart, database=database)


def with_problems(status: Status) -> Status:
    """Return the status with its problems, worst first, and the verdict in one sentence."""
    problems = tuple(_problems(status))
    verdict = problems[0].sentence if problems else FINE
    return structs.replace(status, healthy=not problems, problems=problems, verdict=verdict)


def _problems(status: Status) -> Iterator[Problem]:
    # The order counts: the first problem's sentence is the verdict.
    yield from _broker_problems(status.broker)
    if status.database.state == "unreadable":
        yield Problem(
            "database_unreadable",
            status.database.detail,
            "Make the file readable, or restore a backup with `purchases db restore`."
            # A file is named by its whole path, and any other database by words.
            if status.database.path.startswith("/")
            else "Let its server answer; the stream then continues by itself.",
        )
    if status.disk.free_bytes < LEAST_FREE_BYTES:
        yield Problem(
            "disk_full",
            f"Only {status.disk.free_bytes // 2**20:,} MiB are free under {status.home}; below"
            f" {LEAST_FREE_BYTES // 2**20} MiB nothing is stored.",
            "Free some space; the stream then continues by itself.",
        )
    for app in status.apps:
        yield from _app_problems(app)
    yield from _host_problems(status.apps)
    yield from _log_problems(status)
    yield from _content_problems(status.database, status.as_of)
    yield from _slow_problems(status)
    for section in status.sections.values():
        yield from section.problems


def _broker_problems(broker: Broker) -> Iterator[Problem]:
    if broker.state == "down":
        yield Problem(
            "broker_down",
            broker.detail,
            "See `purchases broker status`; `purchases up` keeps the embedded one alive.",
        )
    # Of an answering broker it is `purchases.redrive`: the stream goes on without.
    if broker.state == "topic_missing" or (broker.state == "answering" and broker.detail):
        yield Problem(
            "topic_missing",
            broker.detail,
            "Run `purchases topics create`; if the topic exists, permit this user to describe it.",
        )
    if broker.compacted_topics:
        yield Problem(
            "topic_compacted",
            f"Kafka compacts {' and '.join(broker.compacted_topics)}: of each customer it keeps the"
            " latest record alone, and deletes the others even if they are unread.",
            "Run `purchases topics create --alter`, which sets cleanup.policy to delete. Then send"
            " again, with its event_id, what was lost of purchases. What was lost behind the"
            " processor comes again with `purchases offsets reset processor --to earliest --yes`.",
        )
    if broker.unsafe_options:
        yield Problem(
            "unsafe_topic",
            "The topic of purchases takes batches that end every reader, because its"
            f" {' and '.join(broker.unsafe_options)}.",
            "Run `purchases topics create --alter`. New records then take more disk.",
        )
    if broker.unverified_options:
        yield Problem(
            "unverified_broker",
            "Anybody on the way to the cluster can be the broker, because"
            f" {' and '.join(broker.unverified_options)} in the client file.",
            "Remove the line; name the authority of a private certificate in ssl.ca.location.",
        )


def _app_problems(app: AppStatus) -> Iterator[Problem]:
    # One problem for the whole app, instead of the same one for each slot.
    if all(slot.state in {"stopped", "failed", "lost"} for slot in app.slots):
        named = app_named(app.app)
        alone = "" if named is None else f" or `purchases {named.command}`"
        last = next(
            (f" The last one ended: {slot.detail}" for slot in app.slots if slot.detail), ""
        )
        yield Problem(
            f"{app.app}_stopped",
            f"No worker of {app.app} runs.{last}",
            f"Start it with `purchases up`{alone}.",
        )
        return
    for slot in app.slots:
        problem = _slot_problem(app.app, slot)
        if problem is not None:
            yield problem


def _host_problems(apps: Iterable[AppStatus]) -> Iterator[Problem]:
    lost = {slot.host: slot.detail for app in apps for slot in app.slots if slot.state == "lost"}
    for host, since in lost.items():
        yield Problem(
            "host_lost",
            f"Of the host {host} {since}. Kafka gives its partitions to other hosts.",
            f"Start it again. If it is gone for good, run `purchases forget-host {host}`.",
        )


def _slot_problem(app: str, slot: SlotStatus) -> Problem | None:
    name = slot.name
    log = f"Its log says more (workers/{app}.log in the home, or where its supervisor writes)."
    match slot.state:
        case "stopped" if slot.host:
            # Ended in order, and not the last of the app: other hosts have its partitions.
            return None
        case "failing":
            return Problem(
                "crash_loop",
                f"{name} is in a crash loop: {slot.detail}",
                f"Its supervisor starts it again every 5 s. {log}",
            )
        case "failed" | "stopped":
            return Problem("worker_down", f"{name} does not run. {slot.detail}".strip(), log)
        case "silent":
            return Problem(
                "worker_silent",
                f"{name} (process {slot.pid}) is stuck: {slot.detail}.",
                "Its supervisor kills it after 30 s; without a supervisor, kill it yourself.",
            )
        case "paused":
            return Problem(
                "paused",
                # Some details are whole sentences.
                f"{name} is paused by: {slot.detail}.".replace("..", "."),
                "It continues by itself as soon as that works again.",
            )
    return None


def _log_problems(status: Status) -> Iterator[Problem]:
    share = status.broker.dead_letter_share or 0
    if share > MOST_OF_RETENTION:
        yield Problem(
            "dead_letters_soon_deleted",
            f"The dead letters fill {share:.0%} of the bytes that Kafka keeps of them; it deletes"
            " the oldest first, and what is deleted cannot be redriven.",
            "Find out who sends what is refused (`purchases dlq list`), and redrive what is worth"
            " it now.",
        )
    for partition in status.partitions:
        if (partition.unread_share or 0) > MOST_OF_RETENTION:
            yield Problem(
                "unread_soon_deleted",
                f"{partition.lag_records:,} unread records are {partition.unread_share:.0%} of what"
                f" Kafka keeps of {partition.topic}-{partition.partition}; it deletes the oldest"
                " first.",
                "Raise the topic's retention.ms and retention.bytes now, and let"
                f" {partition.app} catch up.",
            )
        if (partition.hidden_seconds or 0) > LONG_TRANSACTION_SECONDS:
            yield _open_transaction(partition, status.broker.bootstrap_servers or "HOST:PORT")
    for app in status.apps:
        seconds = app.lag_seconds or 0
        # An app that does not work is a problem already. A large lag that shrinks is a catch-up and
        # none.
        works = any(slot.pid is not None and slot.state != "standby" for slot in app.slots)
        if works and seconds > LONG_BEHIND_SECONDS and app.closing_per_second <= 0:
            yield Problem(
                "falling_behind",
                f"{app.app} lags by {app.lag_records:,} records ({seconds:.0f} s) and does not"
                " catch up.",
                "Add a slot (--slots), or use a faster disk for the database.",
            )


def _open_transaction(partition: PartitionStatus, servers: str) -> Problem:
    """Return the problem of a transaction that hides records; it starts where the log is stable."""
    topic, number = partition.topic, partition.partition
    producer = (
        "" if partition.hidden_producer is None else f" of producer {partition.hidden_producer}"
    )
    return Problem(
        "open_transaction",
        f"{partition.hidden_records:,} records of {topic}-{number} are hidden by a transaction"
        f"{producer} that has been open for {partition.hidden_seconds:.0f} s.",
        "The broker aborts it at its producer's transaction timeout, by default within 15 minutes."
        f" End it now with `kafka-transactions.sh --bootstrap-server {servers} abort"
        f" --topic {topic} --partition {number} --start-offset {partition.end}`.",
    )


def _content_problems(database: DatabaseStatus, as_of: str) -> Iterator[Problem]:
    if database.state == "ok" and database.not_storable:
        yield Problem(
            "not_storable",
            f"{database.not_storable:,} records of analytics cannot be stored: something else than"
            " the processor of this deployment writes there.",
            "See `purchases dlq list --reason not_storable` and stop who writes them; then give"
            " them up with `purchases dlq drop --reason not_storable --because REASON --yes`.",
        )
    if database.state == "ok" and database.conflicted_at and _is_recent(database, as_of):
        yield Problem(
            "conflicts",
            f"{database.conflicting or 0:,} events came with the event_id of another purchase, the"
            f" last at {database.conflicted_at}. Of each id the one that was sent first is stored.",
            "Find the producer that gives one event_id to several purchases; this problem ends a"
            " day after the last one.",
        )


def _is_recent(database: DatabaseStatus, as_of: str) -> bool:
    since = datetime.fromisoformat(as_of) - CONFLICT_SHOWN
    return datetime.fromisoformat(database.conflicted_at or as_of) > since


def _slow_problems(status: Status) -> Iterator[Problem]:
    refusals, days = status.refusals, status.disk.days_until_full
    if refusals.exceeded:
        key = f", most often with the key {refusals.top_key!r}" if refusals.top_key else ""
        yield Problem(
            "refusals",
            f"{refusals.share:.1%} of the last {refusals.records:,} records were refused (the limit"
            f" is {refusals.limit:.1%}), most of them for {refusals.top_reason}{key}.",
            "List them with `purchases dlq list`. Nothing is lost, and the stream continues.",
        )
    if days is not None and days < FEWEST_DAYS:
        yield Problem(
            "disk_soon_full",
            f"At this rate the disk is full in {days:.1f} days.",
            "Free some space, or move the home to a larger disk.",
        )
