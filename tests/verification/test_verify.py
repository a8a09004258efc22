"""`verify` on a whole stream: it agrees with what is right, and names what was tampered with."""

import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from assets.builds.archive import archive_history
from streaming.errors import PurchasesError, Unavailable
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.move import move
from streaming.store.rebuild import rebuild
from streaming.system.home import Home
from streaming.verification import reader_processes, retention
from streaming.verification.partition_reader import OnRecords, PartitionReader
from streaming.verification.reader_processes import start_readers
from streaming.verification.records import headers_of
from streaming.verification.topic_reader import TopicReader, first_record
from streaming.verification.verify import VerificationReport, verify
from tests.databases import NOT_YET, copy_store, look
from tests.deployment import Deployment
from tests.load import Load
from tests.oracle import wait_until_quiet
from tests.postgres import PostgresServer
from tests.store.rows import EVENT_COLUMNS
from tests.support import Broker, free_port, wait_until

GOOD, BAD = 300, 10


@pytest.fixture(scope="module")
def finished(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Return a deployment that stored, refused, redrove, stored again and refused again."""
    home = tmp_path_factory.mktemp("verified")
    made = Deployment(home, broker.bootstrap_servers, f"v{uuid.uuid4().hex[:10]}")
    made.create_topics()
    values = [purchase(number, quantity=number % 5 + 1) for number in range(GOOD)]
    values += [purchase(number, quantity=0) for number in range(BAD)]
    send(made, [(value, ()) for value in [*values, values[0], values[1]]])
    settle(made)
    dead_letters = made.read_topic("purchases.dlq")
    again = [
        (purchase(900), redrive_headers(dead_letters[0])),
        (purchase(901, quantity=0), redrive_headers(dead_letters[1])),
    ]
    broken = [("origin.topic", b"purchases"), ("origin.offset", b"x")]
    send(made, [*again, again[1], (purchase(902), broken)], "purchases.redrive")
    settle(made)
    return made


@pytest.fixture
def copied(finished: Deployment, tmp_path: Path) -> Deployment:
    """Return the finished deployment with a database of its own, to tamper with."""
    copied = replace(finished, home=tmp_path)
    copy_store(finished.settings, copied.settings)
    return copied


@pytest.fixture
def database(copied: Deployment) -> Iterator[StoreConnection]:
    """Return a connection that may write to the copy."""
    with look(copied.settings) as opened:
        yield opened


def purchase(number: int, quantity: int = 1) -> bytes:
    """Make a purchase that is refused if its quantity is 0."""
    return json.dumps(
        {
            "event_id": str(uuid.UUID(int=number + (quantity == 0) * 10_000)),
            "user": f"user-{number % 7}" if number % 5 else None,
            "item": f"item-{number % 11}",
            "timestamp": 1_700_000_000_000 + number * 3_600_000,
            "quantity": quantity,
            "unit_price": "2.50",
            "order_id": f"order-{number // 3}",
        }
    ).encode()


def redrive_headers(dead_letter: Message) -> list[tuple[str, bytes]]:
    """Return the headers with which a dead letter goes to `purchases.redrive`."""
    names = ("topic", "topic_id", "partition", "offset", "timestamp", "attempt")
    headers = dict(headers_of(dead_letter))
    return [(f"origin.{name}", headers[f"dlq.{name}"] or b"") for name in names]


def send(
    deployment: Deployment,
    values: list[tuple[bytes, object]],
    topic: str = "purchases",
) -> None:
    """Send records with headers, and wait for all acknowledgements."""
    errors: list[KafkaError] = []
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "partitioner": "murmur2_random"}
    )
    for value, headers in values:
        producer.produce(
            deployment.topic(topic),
            value,
            headers=list(headers),  # type: ignore[call-overload]
            on_delivery=lambda error, _message: errors.append(error) if error else None,
        )
    assert producer.flush(60) == 0
    assert errors == []


def settle(deployment: Deployment) -> None:
    """Let both apps do all that is there."""
    deployment.process()
    deployment.analyze()


def result_of(deployment: Deployment, *, full: bool = True) -> VerificationReport:
    """Run the proof in this process, from the start unless it is not to be `full`."""
    return verify(deployment.settings, lambda _what, _done, _total: None, full=full)


def test_a_right_stream_agrees(copied: Deployment) -> None:
    """Stored, twice sent, refused, redriven and stored, redriven and refused again, no origin."""
    result = result_of(copied)
    assert result.examples == []
    compared = {check.name: check.compared for check in result.checks}
    assert compared["purchases on analytics or dead letters"] == GOOD + BAD + 2 + 4
    assert compared["analytics in the database"] == GOOD + 3
    assert compared["dead letters in the database"] == BAD + 3
    assert compared["stored dead letters and their events"] == 1
    for topic, records in (("purchases", GOOD + BAD + 2), ("purchases.redrive", 4)):
        ranges = result.offsets[copied.topic(topic)]
        assert sum(end - first for first, end in ranges.values()) == records
    assert result.since is not None


def test_the_verdict_is_kept_and_shown(copied: Deployment) -> None:
    """`verify` prints what was compared, at which offsets and since when, and keeps it."""
    text = copied.succeed("verify")
    assert text.startswith("OK: all of it agrees")
    assert "✓ live totals: 1 checked" in text
    assert f"{copied.topic('analytics')}, offsets by partition: 0: 0-" in text
    report = json.loads(copied.succeed("verify", "--json"))
    assert report["agrees"] is True
    rows = copied.rows("SELECT agrees, differences, compared FROM verification")
    assert [(row[0], row[1]) for row in rows] == [(1, "[]"), (1, "[]")]
    kept = json.loads(str(rows[-1][2]))
    assert kept["offsets"] == report["offsets"]
    assert kept["since"] == report["since"]


def test_processes_find_what_one_finds(
    copied: Deployment, database: StoreConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions that are read side by side give the same report: two differences, no other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for statement, _ in TAMPERINGS[3:5]:
        alter(database, statement)
    here = result_of(copied)
    monkeypatch.setattr(reader_processes, "MANY_ROWS", 0)
    shown = set[str]()
    there = verify(copied.settings, lambda what, _done, _total: shown.add(what), full=True)
    assert {"purchases in 2 processes", "outputs in 2 processes"} <= shown
    assert sorted(there.examples) == sorted(here.examples)
    assert [(c.name, c.compared, c.differing) for c in there.checks] == [
        (c.name, c.compared, c.differing) for c in here.checks
    ]
    assert (there.offsets, there.since) == (here.offsets, here.since)


def test_a_reading_process_that_dies_is_an_error(
    copied: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names its signal, and the other one is ended too."""
    monkeypatch.setattr(reader_processes, "MANY_ROWS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def kill_one(what: str, _done: int, _total: int) -> None:
        if what.startswith("outputs"):
            multiprocessing.active_children()[0].kill()

    with pytest.raises(PurchasesError, match="was ended by SIGKILL before it had read"):
        verify(copied.settings, kill_one, full=True)
    assert multiprocessing.active_children() == []
    assert copied.count("verification") == 0


def test_a_reading_process_that_died_before_it_is_asked_is_an_error(
    copied: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is met when the question is sent, not when the answer is awaited."""
    monkeypatch.setattr(reader_processes, "MANY_ROWS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with (
        start_readers(copied.settings, 1) as readers,
        read_store(copied.settings) as store,
    ):
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        with pytest.raises(PurchasesError, match="was ended by SIGKILL before it had read"):
            readers.begin(store)


def ask_broker(_reader: PartitionReader, _argument: None, _on_records: OnRecords) -> None:
    """Raise what a broker that went away makes the client raise, as a step of a reader."""
    raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))


def test_an_error_of_the_client_in_a_reading_process_is_named(
    copied: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be pickled: the process ended by that, and more memory was advised."""
    monkeypatch.setattr(reader_processes, "MANY_ROWS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with (
        start_readers(copied.settings, 1) as readers,
        read_store(copied.settings) as store,
    ):
        readers.begin(store)
        with pytest.raises(PurchasesError, match=r"^KafkaException: .*NOT_COORDINATOR"):
            readers.run(ask_broker, [None] * readers.number, lambda _: None)


def test_a_broker_that_goes_away_is_unavailable() -> None:
    """Not the client's own error, which nobody expects."""
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": f"127.0.0.1:{free_port()}",
        "group.id": "verify",
        "log_level": 0,
    }
    with (
        closing(TopicReader(Consumer(config), config)) as reader,
        pytest.raises(Unavailable, match="broker does not answer"),
    ):
        first_record(reader, ("purchases", 0), 0)


KILLED = """
import os, signal
from streaming.settings import load_settings
from streaming.verification.reader_processes import start_readers
from streaming.verification.records import headers_of

os.sched_getaffinity = lambda _: {0, 1}
with start_readers(load_settings(), 10**6) as readers:
    print(*(process.pid for process in readers._processes), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reading_processes_end_with_the_one_that_started_them(copied: Deployment) -> None:
    """Also if it was killed: nothing of a verification goes on without it."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], env=copied.environment, capture_output=True, check=False
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert (done.returncode, len(pids)) == (-signal.SIGKILL, 2)
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), 30, "a reading process goes on")


TAMPERINGS = [
    ("UPDATE live_totals SET net_revenue_micros = net_revenue_micros + 1", "net_revenue_micros is"),
    (
        "UPDATE day_ledger SET items_sold = 0 WHERE day = '2023-11-15'",
        "2023-11-15: items_sold is 0",
    ),
    ("UPDATE live_item_totals SET events = 0 WHERE item = 'item-3'", "item-3: events is 0"),
    (
        f"DELETE FROM analytics_event WHERE event_id = x'{uuid.UUID(int=5).hex}'",
        f"{uuid.UUID(int=5)} of",
    ),
    (
        (
            "UPDATE analytics_event SET source_offset = 9999"
            f" WHERE event_id = x'{uuid.UUID(int=6).hex}'"
        ),
        f"{uuid.UUID(int=6)} is stored from a higher source",
    ),
    ("UPDATE stream_offset SET records = records + 1, stored = stored + 1", "stream_offset counts"),
    ("UPDATE stream_offset SET cluster_id = 'another'", "is of cluster another"),
    ("UPDATE stream_offset SET topic_id = 'another'", "deleted and created again"),
    ("UPDATE stream_offset SET next_offset = next_offset + 100000", "but its log ends at"),
    ("DELETE FROM dead_letter WHERE dlq_offset = 4", "has no row with its attempt"),
    ("UPDATE dead_letter SET attempts = 1 WHERE attempts = 2", "has no row with its attempt"),
    ("UPDATE dead_letter SET state = 'open' WHERE state = 'stored'", "does not say it is stored"),
    ("UPDATE dead_letter SET state = 'stored' WHERE dlq_offset = 4", "no event has its id"),
    ("UPDATE dead_letter SET origin_offset = 777777 WHERE dlq_offset = 4", "but it does not"),
]


@pytest.mark.parametrize(("tampering", "sentence"), TAMPERINGS)
def test_what_was_tampered_with_is_named(
    copied: Deployment, database: StoreConnection, tampering: str, sentence: str
) -> None:
    """Any change to a figure, a row or a position shows with its position, after it agreed too."""
    assert result_of(copied).examples == []
    assert alter(database, tampering) > 0
    result = result_of(copied, full=False)
    assert sentence in "\n".join(result.examples)
    assert result.rests_on is None
    rows = copied.rows("SELECT agrees, differences FROM verification ORDER BY id")
    assert [row[0] for row in rows] == [1, 0]
    assert json.loads(str(rows[-1][1])) == result.examples


REWRITINGS = [
    ("UPDATE analytics_event SET quantity = quantity + 1", "is stored otherwise than it stands"),
    ("UPDATE analytics_event SET event_time = event_time + 1", "is stored otherwise"),
    ("""UPDATE analytics_event SET "user" = 'nobody'""", "is stored otherwise"),
    ("UPDATE analytics_event SET event_id = CAST('forged' AS BLOB)", "does not hold it"),
]


@pytest.mark.parametrize(("tampering", "sentence"), REWRITINGS)
def test_figures_that_were_made_to_fit_do_not_help(
    copied: Deployment, database: StoreConnection, tampering: str, sentence: str
) -> None:
    """An event that was changed with all its figures is not what stands in Kafka."""
    one = " WHERE event_id = x'00000000000000000000000000000007'"
    assert result_of(copied).examples == []
    assert alter(database, tampering + one) == 1
    rebuild(copied.settings)
    result = result_of(copied, full=False)
    assert not any(check.differing for check in result.checks[:4])
    assert sentence in "\n".join(result.examples)


@pytest.fixture
def moved(copied: Deployment, postgres_server: PostgresServer) -> Iterator[Deployment]:
    """Return the finished deployment with its store on a server."""
    name = postgres_server.create_database()
    move(copied.settings, postgres_server.url(name))
    yield replace(copied, more={"PURCHASES_DATABASE_URL": postgres_server.url(name)})
    postgres_server.drop_database(name)


@pytest.mark.sqlite("a file beside a server")
def test_what_was_tampered_with_on_a_server_is_named(
    copied: Deployment, moved: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a file: from the checkpoint, from the start, and by two processes."""
    assert result_of(moved, full=False).examples == []
    assert result_of(moved, full=False).rests_on_events == GOOD + 1
    changes = [change for change, _ in [*TAMPERINGS[:5], *TAMPERINGS[10:12], TAMPERINGS[13]]]
    for number, (change, _) in enumerate(REWRITINGS, 7):
        changes.append(f"{change} WHERE event_id = x'{uuid.UUID(int=number).hex}'")
    with write_store(copied.settings) as file, write_store(moved.settings) as server:
        for change in changes:
            assert file.execute(change).rowcount == server.execute(on_server(change)).rowcount > 0
    here, there = result_of(copied), result_of(moved, full=False)
    assert len(here.examples) >= len(changes)
    assert sorted(there.examples) == sorted(here.examples)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(reader_processes, "MANY_ROWS", 0)
    for result in (there, result_of(moved)):
        assert [(c.name, c.compared, c.differing) for c in result.checks] == [
            (c.name, c.compared, c.differing) for c in here.checks
        ]


ON_BOTH = (
    "dlq list --json",
    "dlq show {id} --json",
    "dlq drop {id} --because spam --yes --json",
    "dlq redrive --set quantity=1 --json",
    "dlq list --state dropped --json",
    "offsets list --json",
    "offsets reset analytics --to earliest --partition 0 --json",
    "offsets reset analytics --to earliest --partition 0 --yes --json",
    "export-customer user-3",
)


@pytest.mark.sqlite("a file beside a server")
def test_commands_do_the_same_on_a_server(copied: Deployment, moved: Deployment) -> None:
    """Dead letters, positions and a customer; a backup is refused, and a rebuild makes none."""
    dead_letter = json.loads(copied.succeed("dlq", "list", "--json"))["dead_letters"][-1]["id"]
    for line in ON_BOTH:
        command = line.format(id=dead_letter).split()
        assert (line, moved.succeed(*command)) == (line, copied.succeed(*command))
    assert json.loads(moved.succeed("erase", "--user", "user-3", "--yes", "--json"))["applied"]
    assert "names the user user-3" in moved.run("export-customer", "user-3").stderr
    rebuilt = json.loads(moved.succeed("db", "rebuild", "--json"))
    assert (rebuilt["events"], rebuilt["changed_days"], rebuilt["backup"]) == (GOOD + 1, 0, None)
    for command in (["backup"], ["restore", "backup.db"]):
        refused = moved.run("db", *command)
        assert (refused.returncode, "on a SQLite file only" in refused.stderr) == (2, True)


def on_server(statement: str) -> str:
    """Return a statement with PostgreSQL's own way to write bytes."""
    return re.sub(
        r"x'(\w+)'|CAST\('(\w+)' AS BLOB\)",
        lambda m: f"'\\x{m[1] or m[2].encode().hex()}'::bytea",
        statement,
    )


def alter(store: StoreConnection, statement: str) -> int:
    """Execute a statement of SQLite's; return how many rows it changed."""
    is_file = isinstance(store, sqlite3.Connection)
    return store.execute(statement if is_file else on_server(statement)).rowcount


def test_an_event_that_was_added_with_its_figures_is_named(
    copied: Deployment, database: StoreConnection
) -> None:
    """Its row says that it was read before, and the consumer's counts were made to fit."""
    assert result_of(copied).examples == []
    one = f"SELECT {EVENT_COLUMNS} FROM analytics_event LIMIT 1"
    database.execute(f"CREATE TEMP TABLE forged AS {one}")
    database.execute("UPDATE forged SET event_id = ?", (b"forged",))
    database.execute(f"INSERT INTO analytics_event ({EVENT_COLUMNS}) SELECT * FROM forged")
    database.execute(
        "UPDATE stream_offset SET stored = stored + 1, records = records + 1"
        " WHERE topic LIKE '%analytics' AND partition = (SELECT stream_partition FROM forged)"
    )
    rebuild(copied.settings)
    result = result_of(copied, full=False)
    assert "The event forged is stored, but" in "\n".join(result.examples)


def test_the_command_fails_when_something_differs(
    copied: Deployment, database: StoreConnection
) -> None:
    """Exit code 1, one sentence on stderr with the count and the first difference."""
    database.execute("UPDATE live_totals SET events = 1")
    done = copied.run("verify")
    assert done.returncode == 1
    assert "✗ live totals: 1 differ, 1 checked" in done.stdout
    assert done.stderr.startswith("Differences: 1. live_totals: events is 1")
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_behind_agrees(copied: Deployment, finished: Deployment) -> None:
    """What Kafka holds beyond the stored positions is not compared with the database."""
    fresh = replace(finished, home=copied.home / "fresh")
    fresh.home.mkdir()
    fresh.succeed("db", "upgrade")
    assert "never used" in fresh.run("verify").stderr
    fresh.succeed("db", "upgrade")
    with look(fresh.settings) as own:
        own.execute("INSERT INTO deployment VALUES (1, 'ffffffffffff', 'GBP', 'UTC', 1, 0)")
    result = result_of(fresh)
    assert result.examples == []
    assert result.checks[-2].compared == 0


@pytest.mark.faults
def test_verify_is_right_while_the_stream_runs(deployment: Deployment) -> None:
    """Again and again under load: every run agrees, and goes on from the one before."""
    compared, rests = [0], list[int]()
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate=400, bad_share=0.05) as load:
            for _ in range(3):
                wait_until(
                    lambda: count_stored(deployment) > compared[-1], 60, "nothing more is stored"
                )
                result = result_of(deployment, full=False)
                assert result.examples == []
                rests.append(result.rests_on_events)
                compared.append(result.rests_on_events + events_compared(result))
        wait_until_quiet(deployment, load.sent)
    assert compared == sorted(set(compared))
    assert rests == compared[:-1]
    result = result_of(deployment)
    assert result.examples == []
    assert events_compared(result) == deployment.count("analytics_event")


def events_compared(result: VerificationReport) -> int:
    """Return how many records of `analytics` were compared with the rows."""
    return next(c.compared for c in result.checks if c.name == "analytics in the database")


def test_what_came_since_is_compared_and_what_was_before_is_held(deployment: Deployment) -> None:
    """A second run reads what is new, and says what it rests on; `--full` reads all again."""
    send(deployment, [(purchase(number, quantity=number % 10), ()) for number in range(100)])
    settle(deployment)
    first = json.loads(deployment.succeed("verify", "--json"))
    assert (first["rests_on"], first["rests_on_events"]) == (None, 0)
    send(deployment, [(purchase(number, quantity=number % 10), ()) for number in range(200, 220)])
    settle(deployment)
    text = deployment.succeed("verify")
    assert "Rests on the verification of " in text
    assert "for the 90 events that it compared; --full reads all again." in text
    assert "purchases on analytics or dead letters: 20 checked" in text
    third = result_of(deployment, full=False)
    assert (third.rests_on_events, third.since) == (108, first["since"])
    assert events_compared(third) == 0
    text = deployment.succeed("verify", "--full")
    assert "purchases on analytics or dead letters: 120 checked" in text


def test_a_loss_or_a_repetition_since_is_found(deployment: Deployment) -> None:
    """A purchase that went nowhere, or one of before that is published again."""
    send(deployment, [(purchase(number), ()) for number in range(20)])
    settle(deployment)
    assert result_of(deployment).examples == []
    (event, *_) = [m.value() or b"" for m in deployment.read_topic("analytics")]
    send(deployment, [(event, ())], "analytics")
    assert "is 2 times on analytics" in "\n".join(result_of(deployment, full=False).examples)
    send(deployment, [(purchase(99), ())])
    skip_all(deployment)
    examples = "\n".join(result_of(deployment, full=False).examples)
    assert "is neither on analytics nor in the dead letters" in examples


def test_rows_that_a_correction_changed_are_compared_again(deployment: Deployment) -> None:
    """An erased customer is no difference, and what was compared before is read again."""
    send(deployment, [(purchase(number), ()) for number in range(20)])
    settle(deployment)
    assert result_of(deployment).examples == []
    erased = json.loads(deployment.succeed("erase", "--user", "user-3", "--yes", "--json"))
    assert (erased["applied"], erased["erasure"]["events"]) == (True, 6)
    result = result_of(deployment, full=False)
    assert (result.examples, result.rests_on, events_compared(result)) == ([], None, 20)
    again = result_of(deployment, full=False)
    assert (again.examples, again.rests_on_events) == ([], 20)


@pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")
def test_archived_events_are_compared_like_rows(copied: Deployment) -> None:
    """What was compared before is held to the same digests; a lost id or file is named.

    And so is an id whose day or content is another one: the consumer believes it.
    """
    assert result_of(copied).examples == []
    kept = copied.settings.model_copy(update={"keep_events": 40})
    archived = archive_history(kept, date(2030, 1, 1)).events
    assert archived > GOOD / 2
    again, full = result_of(copied, full=False), result_of(copied)
    assert (again.examples, again.rests_on_events > archived) == ([], True)
    assert full.examples == []
    with look(kept) as opened:
        for change in ("epoch_day = epoch_day + 1", "content = x'00'"):
            opened.execute(
                f"UPDATE archived_event SET {change} WHERE epoch_day ="
                " (SELECT min(epoch_day) FROM archived_event)"
            )
            assert "with another day or content than a column file has" in str(
                result_of(copied).examples
            )
        opened.execute(
            "UPDATE archived_event SET source_offset = source_offset + 1000 WHERE"
            " event_id = (SELECT min(event_id) FROM archived_event)"
        )
    examples = "\n".join(result_of(copied).examples)
    assert "is archived, but no column file has it from that source" in examples
    assert "is in a column file only, but archived_event lacks it" in examples
    for file in Home(kept.home).columns.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(PurchasesError, match="No such file"):
        result_of(copied)


def count_stored(deployment: Deployment) -> int:
    """Return how many events the consumer has stored; 0 before its first batch."""
    try:
        return deployment.count("analytics_event")
    except NOT_YET:
        return 0


def test_a_purchase_that_went_nowhere_or_twice_is_named(deployment: Deployment) -> None:
    """The topics are compared with each other, so a cheat in Kafka shows too."""
    send(deployment, [(purchase(number), ()) for number in range(20)])
    settle(deployment)
    (event, *_) = [json.loads(m.value() or b"") for m in deployment.read_topic("analytics")]
    foreign = {
        **event,
        "event_id": str(uuid.uuid4()),
        "source_timestamp": event["source_timestamp"] + 5,
    }
    send(
        deployment,
        [(json.dumps(event).encode(), ()), (json.dumps(foreign).encode(), ())],
        "analytics",
    )
    send(deployment, [(purchase(99), ())])
    skip_all(deployment)
    examples = "\n".join(result_of(deployment).examples)
    assert "is 2 times on analytics and 0 times in the dead letters" in examples
    assert "is neither on analytics nor in the dead letters" in examples
    assert "where no such record is" in examples


def skip_all(deployment: Deployment) -> None:
    """Commit the ends of `purchases` for the processor's group, as if all was processed."""
    topic = deployment.topic("purchases")
    group = deployment.topic("purchase-processor")
    servers: dict[str, str | int | float | bool] = {
        "bootstrap.servers": deployment.bootstrap_servers
    }
    consumer = Consumer({**servers, "group.id": "reader"})
    ends = [
        TopicPartition(
            topic, number, consumer.get_watermark_offsets(TopicPartition(topic, number))[1]
        )
        for number in range(4)
    ]
    consumer.close()
    admin = AdminClient(servers)

    def is_altered() -> bool:
        request = ConsumerGroupTopicPartitions(group, ends)
        (future,) = admin.alter_consumer_group_offsets([request]).values()
        try:
            return all(partition.error is None for partition in future.result(60).topic_partitions)
        except KafkaException:
            return False

    wait_until(is_altered, 60, "the offsets of the processor's group were not changed")


def test_what_retention_deleted_is_not_missed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only purchases whose outputs are all still held are followed; the rest is no difference."""
    monkeypatch.setattr(retention, "CLOCKS_APART", timedelta(milliseconds=10))
    send(deployment, [(purchase(number, quantity=number % 10), ()) for number in range(100)])
    settle(deployment)
    send(deployment, [(purchase(number, quantity=number % 10), ()) for number in range(200, 300)])
    settle(deployment)
    assert count_followed(deployment) == 200
    delete_before(deployment, "analytics", dict.fromkeys(range(4), 5))
    assert 0 < count_followed(deployment) <= 100 + 90
    delete_before(deployment, "purchases.dlq", {0: -1})
    assert count_followed(deployment) < 190
    delete_before(deployment, "purchases", dict.fromkeys(range(4), -1))
    assert count_followed(deployment) == 0


def count_followed(deployment: Deployment) -> int:
    """Return how many purchases were followed; nothing may differ."""
    result = result_of(deployment)
    assert result.examples == []
    return next(c.compared for c in result.checks if c.name.startswith("purchases"))


def delete_before(deployment: Deployment, topic: str, offsets: dict[int, int]) -> None:
    """Delete the records of a topic's partitions before these offsets (-1: all)."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    positions = [TopicPartition(deployment.topic(topic), *bounds) for bounds in offsets.items()]
    for future in admin.delete_records(positions).values():
        future.result(60)
