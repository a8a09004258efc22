"""Frames of a large partition go through files, and leave none behind."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from assets.builds import event_reader
from assets.builds.builder import open_builder
from assets.builds.spool import spool
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.settings import Settings
from streaming.system.home import Home
from tests.assets.event_store import store_events
from tests.store.rows import event, micros

DAY = "2024-01-02"


def pieces(number: int) -> Iterator[pl.LazyFrame]:
    """Return frames of one row each, once."""
    return (pl.LazyFrame({"n": [n]}) for n in range(number))


def values(frames: list[pl.LazyFrame]) -> list[int]:
    """Return the rows of all frames in order."""
    return pl.concat(frames).collect()["n"].to_list()


@pytest.mark.parametrize("number", [1, 2, 12])
def test_frames_can_be_read_twice_and_no_file_stays(tmp_path: Path, number: int) -> None:
    """One frame needs no file at all."""
    directory = tmp_path / "spool"
    with spool(pieces(number), directory) as frames:
        assert directory.exists() == (number > 1)
        assert values(frames) == values(frames) == list(range(number))
    assert not directory.exists()


def test_the_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """They are not taken for events of the next partition, nor left on the disk."""
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / "99.parquet").write_bytes(b"half a file")
    with spool(pieces(2), directory) as frames:
        assert values(frames) == [0, 1]
    assert not directory.exists()


def test_a_run_removes_what_killed_runs_left(store: Settings) -> None:
    """Users and orders stay on the disk no longer than to the next run; its own stay."""
    spool, own = Home(store.home).spool, Home(store.home).spool / "own"
    for directory in (spool / "killed", own):
        directory.mkdir(parents=True)
        (directory / "0.parquet").write_bytes(b"half a file")
    (spool / "0.parquet").write_bytes(b"of an earlier release")
    with open_builder(store, "own"):
        assert list(spool.glob("*")) == [own]


def test_a_partition_of_many_frames_has_the_rows_of_one_frame(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its builds have the same digests, and the home has no file more."""
    start = micros(f"{DAY} 08:00")
    names = ["lamp", "book", "cup"]
    store_events(store, [event(n, start + n, n % 4 + 1, item=names[n % 3]) for n in range(90)])

    def digests() -> list[str]:
        with open_builder(store, "run") as builder:
            outcomes = [
                *builder.build(DAY, DAY_TRANSFORMS, force=True),
                *builder.build("all", WHOLE_TRANSFORMS, force=True),
            ]
        assert all(outcome.failure is None for outcome in outcomes)
        return [outcome.build.digest for outcome in outcomes if outcome.build]

    whole = digests()
    monkeypatch.setattr(event_reader, "FRAME_ROWS", 10)
    monkeypatch.setattr(event_reader, "FETCH_ROWS", 10)
    assert digests() == whole
    assert len(whole) == len([*DAY_TRANSFORMS, *WHOLE_TRANSFORMS])
    assert not list(Home(store.home).spool.glob("*"))
