"""Tests of `produce` on a real broker: how many, how it stops, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streaming.errors import PurchasesError, UsageError
from streaming.producer.app import ProducerApp
from streaming.producer.generator.records import ProduceRequest
from streaming.producer.generator.run import check_request
from streaming.producer.sender import SendProgress
from streaming.settings import Settings
from streaming.system.shutdown import StopRequest
from tests.producer.topics import all_of, count_of, deployment, value_of
from tests.support import Broker, wait_until

START = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def settings(broker: Broker, tmp_path: Path, namespace: str) -> Settings:
    """Return a deployment with empty topics."""
    return deployment(broker, tmp_path / "home", namespace)


def ignore(_progress: SendProgress) -> None:
    """Show nothing."""


def test_a_count_is_sent_and_acknowledged_once(settings: Settings) -> None:
    """The topic has exactly that many records, all different, and the result says so."""
    result = ProducerApp(settings, StopRequest(), ignore).produce(
        ProduceRequest(rate=None, count=5_000)
    )
    messages = all_of(settings)
    assert (result.sent, result.unacknowledged, result.failure) == (5_000, [], None)
    assert len(messages) == len({value_of(message) for message in messages}) == 5_000


def test_seed_and_start_give_the_same_records_again(settings: Settings) -> None:
    """Byte for byte, keys too, in the same order within each partition."""
    request = ProduceRequest(rate=None, count=1_000, seed=4, start=START, bad_share=0.05)
    for _ in range(2):
        ProducerApp(settings, StopRequest(), ignore).produce(request)
    by_seed: dict[int | None, list[tuple[object, object]]] = {}
    for message in all_of(settings):
        by_seed.setdefault(message.partition(), []).append((message.key(), message.value()))
    for records in by_seed.values():
        half = len(records) // 2
        assert records[:half] == records[half:]


def test_an_hour_of_the_past_is_sent_at_once_and_then_in_real_time(settings: Settings) -> None:
    """Evenly at the rate from `since` on, and none later than the moment of sending."""
    since = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=500)
    request = ProduceRequest(rate=2.0, count=1_005, since=since)
    ProducerApp(settings, StopRequest(), ignore).produce(request)
    ended = datetime.now(UTC)
    values = sorted(json.loads(value_of(message))["timestamp"] for message in all_of(settings))
    times = [datetime.fromisoformat(value) for value in values]
    assert len(times) == 1_005
    assert times[0] == since
    assert times[200] - times[0] == timedelta(seconds=100)
    assert times[-1] <= ended


def test_real_time_is_the_time_of_sending(settings: Settings) -> None:
    """Stop times lie between the call and its end, and never go back."""
    before = datetime.now(UTC)
    ProducerApp(settings, StopRequest(), ignore).produce(ProduceRequest(rate=200, count=40))
    times = sorted(
        datetime.fromisoformat(json.loads(value_of(message))["timestamp"])
        for message in all_of(settings)
    )
    assert before - timedelta(seconds=1) <= times[0] <= times[-1] <= datetime.now(UTC)


def test_it_runs_until_asked_to_stop(settings: Settings) -> None:
    """Without a count; what was sent by then is acknowledged."""
    stop = StopRequest()

    def stop_at_fifty(progress: SendProgress) -> None:
        if progress.acknowledged >= 50:
            stop.set()

    result = ProducerApp(settings, stop, stop_at_fifty).produce(ProduceRequest(rate=500))
    assert result.sent >= 50
    assert (count_of(settings), result.unacknowledged) == (result.sent, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_everything_acknowledged(
    settings: Settings, number: int
) -> None:
    """Exit code 0, and the count that it prints is what the topic has."""
    process = start_command(settings, "produce", "--rate", "300")
    wait_until(lambda: count_of(settings) > 20, 60, "nothing was produced")
    process.send_signal(number)
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert said.startswith(f"{count_of(settings):,} purchases sent, all acknowledged")


def test_generated_time_ends_before_the_future(settings: Settings) -> None:
    """What lies a day ahead would be refused: it stops, and says how many were sent."""
    start = datetime.now(UTC) - timedelta(minutes=5)
    request = ProduceRequest(rate=None, count=100_000, start=start)
    with pytest.raises(PurchasesError, match=r"in the future.*[\d,]+ were sent.*earlier --start"):
        ProducerApp(settings, StopRequest(), ignore).produce(request)
    times = [json.loads(value_of(message))["timestamp"] for message in all_of(settings)]
    assert datetime.fromisoformat(max(times)) < datetime.now(UTC) + timedelta(hours=23)
    assert len(times) > 10_000


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (ProduceRequest(rate=0), "--rate 0"),
        (ProduceRequest(rate=float("inf")), "--rate inf"),
        (ProduceRequest(count=0), "--count 0"),
        (ProduceRequest(bad_share=1.01), "--bad-share 1.01"),
        (ProduceRequest(bad_share=-0.01), "--bad-share -0.01"),
        (ProduceRequest(start=datetime(2999, 1, 1, tzinfo=UTC)), "--start 2999.*future"),
        (ProduceRequest(since=datetime(2999, 1, 1, tzinfo=UTC)), "--since 2999.*future"),
        (ProduceRequest(since=START, start=START), "--since.*no --start"),
        (ProduceRequest(since=START, rate=None), "--since needs a --rate"),
        (ProduceRequest(start=datetime(2009, 1, 1, tzinfo=UTC)), "--start 2009.*HISTORY_START"),
    ],
)
def test_what_makes_no_sense_is_refused(request_: ProduceRequest, named: str) -> None:
    """With the option and its value, before there is a connection."""
    with pytest.raises(UsageError, match=named):
        check_request(Settings(), request_)


@pytest.mark.parametrize("arguments", [["--rate", "fast"], ["--rate", "-1"], ["--start", "soon"]])
def test_a_mistyped_option_is_one_sentence_and_exit_code_2(
    tmp_path: Path, arguments: list[str]
) -> None:
    """Without a traceback; the option is named as it was typed."""
    settings = Settings(home=tmp_path, bootstrap_servers="127.0.0.1:1")
    process = start_command(settings, "produce", *arguments)
    said, complaint = process.communicate(timeout=120)
    assert (process.returncode, said) == (2, "")
    assert complaint.startswith(" ".join(arguments))
    assert complaint.count("\n") == 1


def start_command(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    """Start a command of the stream's half for a deployment."""
    environment = {
        **os.environ,
        "PURCHASES_HOME": str(settings.home),
        "PURCHASES_BOOTSTRAP_SERVERS": settings.bootstrap_servers or "",
        "PURCHASES_NAMESPACE": settings.namespace,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "streaming", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
