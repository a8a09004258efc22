"""A worker's rates and share of refusals, and what its supervisor makes of its deaths."""

import os
import time
from pathlib import Path

from streaming.runtime.counters import (
    KEYS_SHOWN,
    OTHER_FIELDS,
    SUSTAINED_SECONDS,
    UNKNOWN_FIELDS_KEPT,
    CounterSample,
    RateWindow,
    RecentWindow,
    SustainedRate,
    sum_unknown_fields,
)
from streaming.runtime.crash_loop import CrashLoopDetector, death_reason
from streaming.runtime.status_file import WorkerStatus, read_status, replace_json
from streaming.runtime.worker import EXIT_STUCK
from streaming.system.files import draft_path
from streaming.system.home import Home


def test_rates_are_of_the_last_ten_seconds() -> None:
    """What was before does not count: a burst a minute ago is no rate now."""
    window = RateWindow()
    window.add(CounterSample(0, 0, 0, 0, 0, 9_000))
    assert window.add(CounterSample(1, 5_000, 5_000, 0, 0, 4_000)).records == 5_000
    for second in range(2, 13):
        rates = window.add(CounterSample(second, 5_000 + second, 5_000, second, 0, 4_000 - second))
    assert rates.records == rates.refused == rates.closing == 1
    assert rates.stored == 0


def test_one_sample_is_no_rate() -> None:
    """Nothing is divided by no time."""
    assert RateWindow().add(CounterSample(5, 100, 100, 0, 0, 0)).records == 0


def test_a_rate_is_sustained_after_ten_minutes() -> None:
    """Nothing is projected from half a minute of a replay; later it counts for what it was."""
    rate = SustainedRate()
    replayed = [rate.add(second, 50_000 * min(second, 30)) for second in range(600)]
    assert replayed == [None] * 600
    assert rate.add(SUSTAINED_SECONDS, 1_500_000) == 2_500
    assert [rate.add(600 + second, 1_500_000) for second in range(700)][-1] == 0
    assert rate.add(1_890, 1_500_000 + 6_000) == 10


def test_purchases_without_a_price_count_over_the_same_records() -> None:
    """So that their share among the accepted ones is of one moment."""
    window = RecentWindow()
    window.add(0, 10, [("invalid_price", None)])
    window.add_without_price(4)
    window.add(1, 20, [])
    window.add_without_price(5)
    seen = window.count_recent(1)
    assert (seen.records, seen.refused, seen.without_price) == (30, 1, 9)


def test_the_most_frequent_unknown_fields_are_kept() -> None:
    """One record of many names displaces none that came often, and nothing is lost in sum."""
    often = {f"field {number}": 10 for number in range(UNKNOWN_FIELDS_KEPT - 1)}
    odd = {f"odd {number}": 1 for number in range(50)}
    counts = sum_unknown_fields([often, odd, {"price": 1_204}])
    assert len(counts) == UNKNOWN_FIELDS_KEPT + 1
    assert next(iter(counts.items())) == ("price", 1_204)
    assert counts[OTHER_FIELDS] == 50
    assert sum_unknown_fields([counts, odd])[OTHER_FIELDS] == 100
    assert sum_unknown_fields([{"a": 1}, {"a": 2}]) == {"a": 3}


def test_refusals_count_over_the_longer_of_five_minutes_and_a_thousand_records() -> None:
    """A quiet stream is judged by its last thousand records, a busy one by its last minutes."""
    window = RecentWindow()
    window.add(0, 10, [("invalid_price", b"ada")] * 10)
    window.add(1_000, 500, [])
    assert (window.count_recent(1_000).records, window.count_recent(1_000).refused) == (510, 10)
    window.add(1_010, 600, [("not_json", None)])
    seen = window.count_recent(1_020)
    assert (seen.records, seen.refused, seen.reasons) == (1_100, 1, {"not_json": 1})
    window.add(1_400, 5_000, [])
    assert window.count_recent(1_400).refused == 0


def test_the_most_frequent_keys_are_kept_and_their_number_is_bounded() -> None:
    """Whatever keys come, the window stays small and names who sends most."""
    window = RecentWindow()
    window.add(0, 2_000, [("not_json", b"k%d" % number) for number in range(1_000)])
    window.add(1, 50, [("not_json", b"bad client \xff")] * 50)
    seen = window.count_recent(1)
    assert next(iter(seen.keys)).startswith("bad client")
    assert len(seen.keys) == KEYS_SHOWN


def test_of_a_long_key_the_beginning_is_kept() -> None:
    """Keys may have a megabyte, and the window is kept for minutes."""
    window = RecentWindow()
    window.add(0, 2, [("not_json", b"k" * 200 + b"1"), ("not_json", b"k" * 1_000_000)])
    assert window.count_recent(0).keys == {"k" * 128: 2}


def test_five_deaths_in_a_minute_without_progress_are_a_crash_loop() -> None:
    """It stays one until the worker gets somewhere; slow deaths, or progress between, are none."""
    watch = CrashLoopDetector()
    for second in range(0, 100, 25):
        watch.record_death(second)
    assert not watch.failing
    for second in range(100, 105):
        watch.record_death(second)
    assert watch.failing
    watch.record_death(400)
    assert watch.failing
    watch.record_progress()
    assert not watch.failing
    for second in range(4):
        watch.record_death(second)
    watch.record_progress()
    watch.record_death(5)
    assert not watch.failing


def test_where_no_status_can_be_written_nobody_stops(tmp_path: Path) -> None:
    """Nor where its half-written file cannot be removed, as on a read-only disk."""
    (tmp_path / "workers").write_text("no directory")
    replace_json(Home(tmp_path).worker_status("processor", 0), WorkerStatus("processor", 0, 7))


def test_a_death_is_described_in_words() -> None:
    """What the worker said itself comes first, else what its exit code or signal means."""
    status = WorkerStatus("processor", 0, 7, state="failed", detail="the topic is gone")
    assert death_reason(1, status, 7) == "the topic is gone"
    assert "exit code 1" in death_reason(1, status, 8)
    assert death_reason(-9, None, 7) == "killed by SIGKILL"
    assert "stuck" in death_reason(EXIT_STUCK, None, 7)


def test_a_heartbeat_goes_on_where_the_disk_is_full(tmp_path: Path) -> None:
    """The old content stays, but the worker is not taken for a silent one."""
    path = Home(tmp_path).worker_status("processor", 0)
    path.parent.mkdir()
    replace_json(path, WorkerStatus("processor", 0, 7, updated_at=1.0))
    os.utime(path, (2.0, 2.0))
    draft_path(path).symlink_to("/dev/full")
    replace_json(path, WorkerStatus("processor", 0, 8, updated_at=3.0))
    status = read_status(tmp_path, "processor", 0)
    assert status is not None
    assert status.pid == 7
    assert time.time() - status.updated_at < 60
    assert not draft_path(path).is_symlink()
