"""A worker whose loop turns but gets nowhere ends itself, and only then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streaming import worker
from streaming.errors import Unrecoverable
from streaming.worker import Runtime

BEHIND = {("purchases", 0): (5, 9)}
AT_THE_END = {("purchases", 0): (9, 9)}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Give the life of a worker that may get nowhere for no time at all."""
    (tmp_path / "workers").mkdir()
    monkeypatch.setattr(worker, "STALLED_SECONDS", 0.0)
    return Runtime(tmp_path, "processor", 0, None)


def test_one_that_has_records_to_read_and_reads_none_begins_anew(runtime: Runtime) -> None:
    """The message says how many wait."""
    runtime.stands(BEHIND)
    with pytest.raises(Unrecoverable, match="4 records are to be read"):
        runtime.turn()


def test_one_that_gets_on_pauses_or_has_nothing_to_do_goes_on(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these is getting somewhere, or waiting for a reason that is said."""
    now = [100.0]
    monkeypatch.setattr("streaming.worker.time.monotonic", lambda: now[0])
    runtime.stands(BEHIND)
    steps: list[Callable[[], object]] = [
        lambda: runtime.committed(1, 1, 0, [], 0.0),
        lambda: runtime.stands(AT_THE_END),
        lambda: runtime.pause("broker", 0.0),
        lambda: runtime.stand_by("another host", 0.0),
    ]
    for step in steps:
        now[0] += 1000.0
        step()
        assert runtime.turn()
