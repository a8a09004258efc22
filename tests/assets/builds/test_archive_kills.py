"""Rows that go into the archive or come back, killed at any step: every reader sees all events."""

import json
import subprocess
import sys

import pytest

from streaming.settings import Settings
from tests.assets.builds.test_archive import DAYS, read_answers
from tests.assets.builds.test_columns import late_event
from tests.assets.event_store import store_events
from tests.store.rows import year_of_days

pytestmark = pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")

STEP_FILES = (
    "assets/builds/archive.py",
    "assets/builds/columns.py",
    "streaming/store/archive.py",
    "streaming/store/column_files.py",
    "streaming/store/connection.py",
    "streaming/store/sqlite.py",
    "streaming/system/files.py",
)
# Children are forked before polars has threads: a process of its own costs a second each.
CHILD = """
import sys
from pathlib import Path
from assets.builds import columns, event_reader
from assets.builds.archive import archive_history
from streaming.store import archive
from streaming.store.archive import return_days
from tests.assets.builds.test_archive import TODAY, counts, read_answers
from tests.assets.builds.steps import kill_at_each, killed_at
from tests.assets.builds.test_archive_kills import STEP_FILES

archive.CHUNK_ROWS = event_reader.FETCH_ROWS = event_reader.FRAME_ROWS = 2

def change_until(settings, last):
    def change():
        archive_history(settings, TODAY)
        return_days(settings)
    return killed_at(change, STEP_FILES, last)

def judge(settings):
    def looked():
        return repr(read_answers(settings)), counts(settings)
    seen = looked()[0]
    archive_history(settings, TODAY)
    done = looked()
    return_days(settings)
    return [seen, done, looked()]

kill_at_each(Path(sys.argv[1]), int(sys.argv[2]), change_until, judge, keep_events=40)
"""


@pytest.mark.parametrize(
    "kills",
    [3, pytest.param(100, marks=pytest.mark.faults)],
)
def test_an_archive_killed_at_any_step_loses_nothing(kills: int, store: Settings) -> None:
    """After the kill, after the next archive and after the return all is as it was."""
    store_events(store, [late_event(number, 2, item="chair") for number in range(10, 15)])
    store_events(store, year_of_days(DAYS))
    right = repr(read_answers(store))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(store.home), str(kills)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    _, *judgements = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(judgements) == kills
    for signalled, judgement in judgements:
        assert signalled == 9
        assert judgement == [right, [right, [1, 10]], [right, [11, 0]]]
