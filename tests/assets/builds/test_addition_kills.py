"""An added build that is killed at any step: the last figures stay, and the next one is right."""

import json
import subprocess
import sys

import pytest

from streaming.settings import Settings
from tests.assets.builds.test_addition import store_and_build
from tests.assets.builds.test_columns import late_event
from tests.assets.event_store import store_events

STEP_FILES = (
    "assets/builds/addition.py",
    "assets/builds/builder.py",
    "assets/builds/computation.py",
    "assets/builds/event_reader.py",
    "assets/builds/writer.py",
    "assets/tables/addition.py",
)
CHILD = """
import sys
from pathlib import Path
from assets.builds import addition
from tests.assets.builds.steps import kill_at_each, killed_at
from tests.assets.builds.test_addition import build, count_added, digests, half_written
from tests.assets.builds.test_addition_kills import STEP_FILES

addition.LEAST_EVENTS = 1

def build_until(settings, last):
    return killed_at(lambda: build(settings), STEP_FILES, last)

def judge(settings):
    torn = half_written(settings)
    outcomes = build(settings)
    return torn, sorted(count_added(outcomes)), digests(outcomes)

kill_at_each(Path(sys.argv[1]), int(sys.argv[2]), build_until, judge)
"""


@pytest.mark.parametrize(
    "kills",
    [3, pytest.param(100, marks=pytest.mark.faults)],
)
def test_an_added_build_killed_at_any_step_leaves_whole_tables(kills: int, store: Settings) -> None:
    """Either all tables are as before, or all as after; the next build completes what is left."""
    store_and_build(store)
    store_events(store, [late_event(7, 2, order_id="o-3", user="carl")])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(store.home), str(kills)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    (_, whole), *killed = [json.loads(line) for line in done.stdout.splitlines()]
    assert whole[:2] == [[], [3]]
    assert killed == [[9, whole]] * kills
