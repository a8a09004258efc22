"""A seal that is killed at any step: the next one completes it, and no figure differs."""

import json
import subprocess
import sys

import pytest

from assets.builds.seal import seal_history
from streaming.settings import Settings
from tests.assets.builds.test_columns import TODAY, build_from_rows, late_event
from tests.assets.event_store import store_events
from tests.store.rows import year_of_days

STEP_FILES = (
    "assets/builds/seal.py",
    "assets/builds/columns.py",
    "streaming/store/column_files.py",
    "streaming/store/connection.py",
    "streaming/store/sqlite.py",
    "streaming/system/files.py",
)
# Children are forked before polars has threads: a process of its own costs a second each.
CHILD = """
import sys
from pathlib import Path
from assets.builds import seal
from tests.assets.builds.test_columns import TODAY, build, files, list_files, problems
from tests.assets.builds.steps import kill_at_each, killed_at
from tests.assets.builds.test_seal_kills import STEP_FILES

seal.SMALL_FILES = 1

def seal_until(settings, last):
    return killed_at(lambda: seal.seal_history(settings, TODAY), STEP_FILES, last)

def judge(settings):
    before = problems(settings), build(settings)
    seal.seal_history(settings, TODAY)
    on_disk = len(files(settings)) == len(list_files(settings))
    return [before, (problems(settings), build(settings)), on_disk]

kill_at_each(Path(sys.argv[1]), int(sys.argv[2]), seal_until, judge)
"""


@pytest.mark.parametrize(
    "kills",
    [3, pytest.param(100, marks=pytest.mark.faults)],
)
def test_a_seal_killed_at_any_step_changes_no_figure(kills: int, store: Settings) -> None:
    """After the kill and after the next seal tables are right, and then no file is left over."""
    store_events(store, year_of_days(3))
    seal_history(store, TODAY)
    store_events(
        store, [late_event(10, 2, item="chair"), late_event(11, 4), late_event(12, 3, quantity=-2)]
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(store.home), str(kills)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    right = [{}, build_from_rows(store)]
    _, *judgements = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(judgements) == kills
    for signalled, judgement in judgements:
        assert signalled == 9
        assert judgement == [right, right, True]
