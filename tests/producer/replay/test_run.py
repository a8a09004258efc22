"""Tests of `replay` on a real broker: each row once, whatever interrupts it."""

import json
import signal
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from streaming.cli.progress import replay_summary
from streaming.errors import PurchasesError, UsageError
from streaming.kafka.names import Names
from streaming.kafka.topics import create_topics
from streaming.producer.app import ProducerApp
from streaming.producer.replay.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.plan import ReplayRequest
from streaming.producer.replay.recording import read_recording
from streaming.producer.replay.rows import rows
from streaming.producer.replay.run import ReplayResult
from streaming.producer.sender import SendProgress
from streaming.settings import Settings
from streaming.system.lease import acquire
from streaming.system.shutdown import StopRequest
from tests.producer.generator.test_run import start_command
from tests.producer.recordings import EXAMPLE, PURCHASE, write_csv
from tests.producer.topics import all_of, count_of, deployment, value_of
from tests.support import OPEN_TRANSACTION_SECONDS, Broker, wait_until

ROWS = 400
KILLED_ROWS = 60_000


class StopAfter(StopRequest):
    """Is set once it was asked `number` times: sending asks before each row."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def is_set(self) -> bool:
        """Return whether it was asked often enough."""
        self._left -= 1
        return self._left < 0 or super().is_set()


@pytest.fixture
def settings(broker: Broker, tmp_path: Path, namespace: str) -> Settings:
    """Return a deployment with empty topics."""
    return deployment(broker, tmp_path / "home", namespace)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return some of the example, with a line that is refused."""
    path = tmp_path / "some.parquet"
    example = pl.read_parquet(EXAMPLE)
    refused = example.filter(pl.col("UnitPrice") < 0).head(1)
    pl.concat([example.head(ROWS - 1), refused]).write_parquet(path)
    return path


def run(
    settings: Settings,
    path: Path,
    stop: StopRequest | None = None,
    **options: Any,  # noqa: ANN401 - whatever a request has
) -> ReplayResult:
    """Replay in this process, as recorded where nothing else is said."""
    request = ReplayRequest(path, **{"as_recorded": True, **options})
    return ProducerApp(settings, stop or StopRequest(), ignore).replay(request)


def ignore(_progress: SendProgress) -> None:
    """Show nothing."""


def memory(settings: Settings) -> tuple[Path, Checkpoint]:
    """Return what the home remembers of its one replay, and where."""
    (path,) = (settings.home / "replays").glob("*.json")
    begun = read_checkpoint(path)
    assert begun is not None
    return path, begun


def forget_acknowledged(settings: Settings) -> None:
    """Bring the memory to where a SIGKILL would have left it."""
    path, begun = memory(settings)
    write_checkpoint(path, replace(begun, acknowledged=0, finished_at=None))


def count_values(settings: Settings) -> Counter[bytes]:
    """Return how often each value stands on the topic."""
    return Counter(value_of(message) for message in all_of(settings))


def count_expected(path: Path, shift: int = 0) -> Counter[bytes]:
    """Return each row's value once."""
    recording = read_recording(path, {}, "UTC")
    return Counter(row.value for row in rows(recording, shift) if row.value is not None)


def test_every_row_arrives_once_and_as_it_stands(settings: Settings, file: Path) -> None:
    """The refused one too; a finished replay run again says so and sends nothing."""
    first, second = run(settings, file), run(settings, file, as_recorded=None)
    assert (first.rows, first.done, first.sent, first.finished_before) == (ROWS, ROWS, ROWS, None)
    assert (second.done, second.sent) == (ROWS, 0)
    assert second.finished_before is not None
    assert count_values(settings) == count_expected(file)


def test_what_was_not_paid_is_left_out_and_said(settings: Settings) -> None:
    """In the last sentence, with its status; the file is done."""
    path = EXAMPLE.parent / "exports" / "shopify.csv"
    result = run(settings, path, form=FileFormat(preset="shopify"))
    assert (result.rows, result.done, result.sent, count_of(settings)) == (4, 4, 2, 2)
    assert (
        "; 2 left out, because nothing was paid (1 Financial Status is refunded, 1 Financial Status"
        " is pending): 2024-03-14, as recorded." in replay_summary(result, path)
    )


@pytest.mark.parametrize("speed", [None, 1e9])
def test_an_interrupted_replay_sends_only_the_rest(
    settings: Settings, file: Path, speed: float | None
) -> None:
    """However often it is stopped; the shift of the first run stays."""
    results = [
        run(settings, file, StopAfter(120), as_recorded=False, speed=speed),
        run(settings, file, StopAfter(120), as_recorded=None, speed=speed),
        run(settings, file, as_recorded=None, speed=speed),
    ]
    assert 0 < results[0].done < results[1].done < results[2].done == ROWS
    assert sum(result.sent for result in results) == ROWS
    assert len({result.shift_micros for result in results}) == 1
    assert count_values(settings) == count_expected(file, results[0].shift_micros)


def test_what_arrived_before_a_death_is_found_in_the_log(settings: Settings, file: Path) -> None:
    """Where nothing was remembered but the beginning; records of others are passed over."""
    run(settings, write_csv(file.parent, PURCHASE))
    (settings.home / "replays").rename(settings.home / "others")
    stopped = run(settings, file, StopAfter(150))
    forget_acknowledged(settings)
    again = run(settings, file)
    assert (stopped.sent + again.sent, again.done) == (ROWS, ROWS)
    assert set(count_values(settings).values()) == {1}
    assert count_of(settings) == ROWS + 1


def test_rows_that_are_missing_in_between_are_sent(settings: Settings, file: Path) -> None:
    """As after a death in which one partition had come further than another."""
    request = ReplayRequest(file, as_recorded=True)
    ProducerApp(settings, StopAfter(1), ignore).replay(request)
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers or ""})
    recording = read_recording(file, {}, "UTC")
    for row in rows(recording, 0):
        if row.number % 3 == 0:
            producer.produce(Names.of(settings).purchases, row.value, row.key)
    assert producer.flush(60) == 0
    forget_acknowledged(settings)
    result = run(settings, file)
    assert result.sent == ROWS - (ROWS + 2) // 3
    assert count_values(settings) == count_expected(file)


def test_an_open_transaction_of_others_hides_nothing(settings: Settings, file: Path) -> None:
    """What arrived behind it is found, though no committed reader would see it yet."""
    other = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers or "",
            "transactional.id": "other",
            "transaction.timeout.ms": OPEN_TRANSACTION_SECONDS * 1_000,
        }
    )
    other.init_transactions(60)
    other.begin_transaction()
    for partition in range(4):
        other.produce(Names.of(settings).purchases, b"{}", partition=partition)
    assert other.flush(60) == 0
    stopped = run(settings, file, StopAfter(150))
    forget_acknowledged(settings)
    again = run(settings, file)
    other.abort_transaction(60)
    assert stopped.sent > 0
    assert stopped.sent + again.sent == ROWS


def test_a_replay_survives_sigkill_again_and_again(settings: Settings, tmp_path: Path) -> None:
    """Killed in the middle twice, every row is there once, and in order per key."""
    path = tmp_path / "many.parquet"
    pl.read_parquet(EXAMPLE).head(KILLED_ROWS).write_parquet(path)
    command = ("replay", str(path), "--as-recorded", "--speed", "50000")
    for _ in range(2):
        target = count_of(settings) + 500
        process = start_command(settings, *command)
        wait_until(lambda: count_of(settings) > target, 60, "nothing is sent")  # noqa: B023
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert 0 < count_of(settings) < KILLED_ROWS
    done = subprocess_result(start_command(settings, *command[:3]))
    assert "all acknowledged, in" in done
    numbers = {value: n for n, value in enumerate(count_expected(path))}
    messages = all_of(settings)
    assert len(messages) == len(numbers) == KILLED_ROWS
    by_key: dict[object, list[int]] = {}
    for message in messages:
        by_key.setdefault(message.key(), []).append(numbers[value_of(message)])
    assert all(one < other for order in by_key.values() for one, other in pairwise(order))
    assert "nothing was sent" in subprocess_result(start_command(settings, *command[:3]))


def subprocess_result(process: subprocess.Popen[str]) -> str:
    """Wait for a command that must succeed; give what it said."""
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    return said


def test_a_stopped_command_says_how_far_it_came(settings: Settings, file: Path) -> None:
    """SIGTERM ends a slow replay at once: exit code 1, and that the same command goes on."""
    process = start_command(settings, "replay", str(file), "--speed", "1")
    wait_until(lambda: count_of(settings) > 0, 60, "nothing was sent")
    process.terminate()
    said, complaint = process.communicate(timeout=120)
    assert (process.returncode, said) == (1, "")
    assert f"of the {ROWS} purchases of {file}" in complaint
    assert "sends only what is missing" in complaint
    assert run(settings, file, as_recorded=None).done == ROWS
    assert count_of(settings) == ROWS


def test_shifted_events_end_now(settings: Settings, file: Path) -> None:
    """The last is at most seconds old, and the distances between events are as recorded."""
    result = run(settings, file, as_recorded=False)
    times = sorted(json.loads(value)["timestamp"] for value in count_values(settings))
    last = read_recording(file, {}, "UTC").last_micros
    assert last is not None
    assert datetime.now(UTC) - datetime.fromisoformat(times[-1]) < timedelta(minutes=1)
    assert count_values(settings) == count_expected(file, result.shift_micros)


def test_a_restart_chooses_the_shift_again(settings: Settings, file: Path) -> None:
    """The events are new ones then; a finished replay as recorded adds nothing by it."""
    run(settings, file)
    run(settings, file, restart=True)
    assert count_of(settings) == ROWS
    shifted = run(settings, file, as_recorded=False, restart=True)
    assert count_of(settings) == shifted.sent + ROWS == 2 * ROWS


def test_two_replays_of_a_file_do_not_run_at_once(settings: Settings, file: Path) -> None:
    """The second is refused, naming the process that has it."""
    run(settings, file, StopAfter(10))
    path, _ = memory(settings)
    lease = acquire(path.with_suffix(".lock"))
    assert lease is not None
    with lease, pytest.raises(PurchasesError, match="being replayed already, by process"):
        run(settings, file)
    assert run(settings, file).done == ROWS


def test_a_recreated_topic_gets_everything_again(settings: Settings, file: Path) -> None:
    """Though the replay was finished: what it sent is gone."""
    run(settings, file)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers or ""})
    topic = Names.of(settings).purchases
    admin.delete_topics([topic])[topic].result(60)
    wait_until(lambda: topic not in admin.list_topics(timeout=60).topics, 60, "still there")
    create_topics(settings, settings.bootstrap_servers or "")
    assert run(settings, file).sent == ROWS
    assert count_values(settings) == count_expected(file)


def test_namespaces_are_replayed_apart(broker: Broker, settings: Settings, file: Path) -> None:
    """Of one home too; each remembers its own."""
    other = deployment(broker, settings.home, f"{settings.namespace}b")
    assert run(settings, file).sent == run(other, file).sent == ROWS


def test_nothing_is_sent_of_a_file_that_is_wrong(settings: Settings, tmp_path: Path) -> None:
    """A missing column shows before the first record, though every row before is good."""
    path = write_csv(tmp_path, *[PURCHASE.rpartition(",")[0]] * 9, header="InvoiceNo,StockCode")
    with pytest.raises(UsageError, match="no column 'CustomerID'"):
        run(settings, path)
    assert count_of(settings) == 0
    assert not (settings.home / "replays").exists()


def test_what_will_be_refused_is_said(settings: Settings, file: Path) -> None:
    """By the processor's own rules, with the row and its value; the command exits with 1."""
    process = start_command(settings, "replay", str(file))
    said, complaint = process.communicate(timeout=120)
    assert (process.returncode, said) == (1, "")
    assert f"{ROWS} purchases of {file} sent in" in complaint
    assert (
        "1 of them will be refused: 1 invalid_price (row 400: unit_price '-11062.06'" in complaint
    )
    assert "acknowledged" not in complaint


def test_a_file_of_which_nothing_is_valid_is_not_sent(settings: Settings, tmp_path: Path) -> None:
    """All of its first thousand rows would be refused: a column is wrong, or its form."""
    path = write_csv(tmp_path, *[PURCHASE.replace("2.55", '"2,55"')] * 1_001, PURCHASE)
    with pytest.raises(UsageError, match=r"first 1,000 rows would be refused: 1,000 invalid_price"):
        run(settings, path)
    assert count_of(settings) == 0
    assert not list((settings.home / "replays").glob("*.json"))
    european = ReplayRequest(path, form=FileFormat(decimal=","))
    assert ProducerApp(settings, StopRequest(), ignore).replay(european).refused == 0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_that_makes_no_sense_is_refused(file: Path, speed: float) -> None:
    """Before there is a connection."""
    with pytest.raises(UsageError, match="--speed"):
        run(Settings(), file, speed=speed)
