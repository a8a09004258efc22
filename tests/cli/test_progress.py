"""Tests of what `produce` and `replay` say: progress, results, and what was not acknowledged."""

import os
import pty
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from streaming.cli import progress
from streaming.cli.progress import produce_summary, replay_summary, show_progress
from streaming.errors import PurchasesError
from streaming.producer.generator.run import ProduceResult
from streaming.producer.replay.run import ReplayResult
from streaming.producer.sender import SendProgress
from tests.producer.topics import deployment
from tests.support import Broker

FILE = Path("shop.csv")


def produce_result(unacknowledged: int = 0, failure: str | None = None) -> ProduceResult:
    """Return a result of 500 purchases sent."""
    return ProduceResult(500, 5.0, [f"id-{n}" for n in range(unacknowledged)], failure)


def replay_result(done: int, unacknowledged: int = 0, failure: str | None = None) -> ReplayResult:
    """Return a result of a run that found 100 of 600 purchases there."""
    names = [f"id-{n}" for n in range(unacknowledged)]
    days = date(2024, 3, 1), date(2024, 3, 3)
    return ReplayResult(600, done, 500, 5.0, 0, days, 0, "", {}, names, failure, None)


def test_success_is_one_sentence(tmp_path: Path) -> None:
    """With how many, that all are acknowledged, and what was there before."""
    assert produce_summary(produce_result(), 500, tmp_path) == (
        "500 purchases sent, all acknowledged, in 5.0 s."
    )
    assert replay_summary(replay_result(600), FILE) == (
        "500 purchases of shop.csv sent, all acknowledged, in 5.0 s; 100 were there before:"
        " 2024-03-01 to 2024-03-03, as recorded."
    )


def test_a_replay_says_which_days_it_sent() -> None:
    """Whether they are the file's; one day is one date, and rows without a time have none."""
    day = date(2026, 11, 29)
    shifted = replace(replay_result(600), shift_micros=1, days=(day, day))
    assert replay_summary(shifted, FILE).endswith("before: 2026-11-29, shifted.")
    assert replay_summary(replace(shifted, days=None), FILE).endswith("were there before.")
    before = replace(replay_result(600), finished_before="2026-11-29T17:00:00+00:00")
    assert replay_summary(before, FILE).endswith(
        "nothing was sent: 2024-03-01 to 2024-03-03, as recorded."
    )


def test_few_unacknowledged_purchases_are_named(tmp_path: Path) -> None:
    """In the sentence itself."""
    with pytest.raises(
        PurchasesError, match=r"2 of the 500 .*may be in Kafka or not: id-0, id-1\.$"
    ):
        produce_summary(produce_result(2), None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_many_unacknowledged_purchases_are_named_in_a_file(tmp_path: Path) -> None:
    """All of them, one a line."""
    with pytest.raises(PurchasesError, match=r"^Too large\. 200 of the 500 .*id-4 and the others"):
        produce_summary(produce_result(200, "Too large"), None, tmp_path)
    (path,) = (tmp_path / "unacknowledged").iterdir()
    assert path.read_text().splitlines() == [f"id-{n}" for n in range(200)]


def test_a_count_that_was_not_reached_is_a_failure(tmp_path: Path) -> None:
    """Whether told to stop or kept from it."""
    with pytest.raises(PurchasesError, match="Stopped: 500 of 1,000"):
        produce_summary(produce_result(), 1_000, tmp_path)
    with pytest.raises(PurchasesError, match=r"No more\. 500 purchases were sent before"):
        produce_summary(produce_result(failure="No more"), None, tmp_path)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (replay_result(400), "Stopped, after 400 of the 600 purchases of shop.csv"),
        (replay_result(400, failure="No more"), "No more, after 400 of the 600"),
        (replay_result(600, 7), "7 of the 500 purchases sent were not acknowledged"),
    ],
)
def test_an_unfinished_replay_says_that_it_can_be_run_again(
    result: ReplayResult, said: str
) -> None:
    """Because that sends only what is missing."""
    with pytest.raises(PurchasesError, match=f"{said}.*again sends only what is missing"):
        replay_summary(result, FILE)


def test_off_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, with what is acknowledged of how many."""
    with capture_logs() as logs, show_progress() as show:
        show(SendProgress(100, 90, 1.0, 500))
        monkeypatch.setattr(progress, "LOG_SECONDS", 0)
        show(SendProgress(200, 180, 2.0, 500))
    (line,) = logs
    assert (line["event"], line["acknowledged"], line["total"]) == ("sending", 180, 500)
    assert line["events_per_second"] == 90


def test_on_a_terminal_progress_is_a_bar(broker: Broker, tmp_path: Path, namespace: str) -> None:
    """On stderr, so that what is printed at the end stands alone."""
    settings = deployment(broker, tmp_path / "home", namespace)
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streaming", "produce", "--rate", "200", "--count", "200"],
        env={
            **os.environ,
            "TERM": "xterm",
            "PURCHASES_HOME": str(settings.home),
            "PURCHASES_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "PURCHASES_NAMESPACE": namespace,
        },
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    shown = b""
    with open(control, "rb", buffering=0, closefd=True) as screen:  # noqa: PTH123 - a descriptor
        try:
            while part := screen.read(4096):
                shown += part
        except OSError:
            pass
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert said.startswith("200 purchases sent")
    assert b"acknowledged" in shown
    assert b"events/s" in shown
