"""Tests of whether a replay begins or goes on, and of what the home remembers of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from streaming.errors import PurchasesError, UsageError
from streaming.producer.replay.checkpoint import (
    Checkpoint,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from streaming.producer.replay.file_format import FileFormat
from streaming.producer.replay.plan import ReplayRequest, ReplayTarget, plan
from streaming.producer.replay.recording import Recording
from tests.producer.recordings import PURCHASE, read_csv

NOW = datetime(2024, 3, 1, 12, 0, 0, 700_000, tzinfo=UTC)
TARGET = ReplayTarget("topic-1", "UTC", NOW)
ENDS = {0: 7, 1: 0}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Return a recording of two purchases, the later one first."""
    later = PURCHASE.replace("08:26:00", "08:27:00.25")
    return read_csv(tmp_path, later, PURCHASE)


def make_plan(
    recording: Recording,
    before: Checkpoint | None = None,
    target: ReplayTarget = TARGET,
    *,
    as_recorded: bool | None = None,
    restart: bool = False,
) -> Checkpoint:
    """Plan a run."""
    request = ReplayRequest(recording.path, as_recorded=as_recorded, restart=restart)
    return plan(before, request, recording, target, ENDS.copy)


def test_a_replay_begins_behind_what_is_there(recording: Recording) -> None:
    """Its positions are the ends of the topic, and nothing is acknowledged."""
    begun = make_plan(recording)
    assert (begun.positions, begun.acknowledged, begun.finished_at) == (ENDS, 0, None)
    assert (begun.topic_id, begun.timezone) == ("topic-1", "UTC")


def test_the_shift_ends_now_in_whole_seconds(recording: Recording) -> None:
    """The last event, wherever it stands in the file, is at most a second before now."""
    last = recording.last_micros
    assert last is not None
    shift = make_plan(recording, as_recorded=False).shift_micros
    end = datetime.fromtimestamp((last + shift) / 1e6, UTC)
    assert shift % 1_000_000 == 0
    assert 0 <= (NOW - end).total_seconds() < 1


def test_dates_stay_as_recorded_unless_a_shift_is_asked_for(recording: Recording) -> None:
    """A file of one's own is history; only a demonstration ends now."""
    for as_recorded in (None, True):
        begun = make_plan(recording, as_recorded=as_recorded)
        assert (begun.shift_micros, begun.as_recorded) == (0, True)


def test_a_run_goes_on_as_it_was_begun(recording: Recording) -> None:
    """Much later too, and without repeating how it was begun."""
    later = ReplayTarget("topic-1", "UTC", datetime(2025, 1, 1, tzinfo=UTC))
    for as_recorded in (True, False):
        begun = make_plan(recording, as_recorded=as_recorded)
        assert make_plan(recording, begun, later) == begun
        assert make_plan(recording, begun, later, as_recorded=as_recorded) == begun


@pytest.mark.parametrize(("begun", "said"), [(True, "as recorded"), (False, "shifted")])
def test_another_way_than_it_was_begun_is_refused(
    recording: Recording,
    begun: bool,  # noqa: FBT001 - a parameter
    said: str,
) -> None:
    """Naming how it was begun, and the remedy."""
    before = make_plan(recording, as_recorded=begun)
    with pytest.raises(UsageError, match=f"was begun {said}.*--restart"):
        make_plan(recording, before, as_recorded=not begun)
    assert make_plan(recording, before, as_recorded=not begun, restart=True).positions == ENDS


def test_other_contents_for_the_same_ids_are_refused(recording: Recording) -> None:
    """Whether by other columns or another time zone."""
    before = make_plan(recording)
    with pytest.raises(UsageError, match="with other columns"):
        make_plan(recording, replace(before, columns={**before.columns, "user": "Buyer"}))
    with pytest.raises(UsageError, match="in the time zone UTC"):
        make_plan(recording, before, ReplayTarget("topic-1", "Europe/London", NOW))


def test_a_recreated_topic_has_nothing_of_it(recording: Recording) -> None:
    """The shift stays, the new topic is looked at from its beginning, and it is not finished."""
    before = replace(make_plan(recording), acknowledged=2, finished_at="2024-03-01")
    now = make_plan(recording, before, ReplayTarget("topic-2", "UTC", NOW))
    assert (now.topic_id, now.positions, now.acknowledged, now.finished_at) == (
        "topic-2",
        {},
        0,
        None,
    )
    assert now.shift_micros == before.shift_micros


def test_a_restart_with_the_same_shift_adds_nothing_twice(recording: Recording) -> None:
    """The ids are the same, so the whole topic is asked what is there."""
    before = replace(make_plan(recording, as_recorded=True), acknowledged=2, finished_at="2024")
    again = make_plan(recording, before, as_recorded=True, restart=True)
    assert (again.positions, again.acknowledged, again.finished_at) == ({}, 0, None)
    shifted = make_plan(recording, before, as_recorded=False, restart=True)
    assert (shifted.positions, shifted.as_recorded) == (ENDS, False)


def test_what_an_earlier_release_began_keeps_its_ids(recording: Recording) -> None:
    """Whether it goes on, or is sent again with the same shift; another shift is a new replay."""
    before = replace(make_plan(recording), id_columns=None)
    assert make_plan(recording).id_columns == []
    assert make_plan(recording, before).id_columns is None
    assert make_plan(recording, before, restart=True).id_columns is None
    assert make_plan(recording, before, as_recorded=False, restart=True).id_columns == []


def test_other_ids_for_the_same_rows_are_refused(tmp_path: Path) -> None:
    """They would be stored a second time."""
    by_columns = read_csv(tmp_path, PURCHASE, id_columns=["InvoiceNo", "StockCode"])
    plain = read_csv(tmp_path, PURCHASE)
    before = make_plan(plain)
    with pytest.raises(UsageError, match="was begun without --id at"):
        make_plan(by_columns, before)
    with pytest.raises(UsageError, match="was begun with --id InvoiceNo,StockCode at"):
        make_plan(plain, make_plan(by_columns))
    assert make_plan(by_columns, before, restart=True).positions == ENDS


def test_a_file_read_in_another_form_is_refused(tmp_path: Path) -> None:
    """Half of it would be other purchases."""
    european = read_csv(tmp_path, PURCHASE, form=FileFormat(decimal=","))
    with pytest.raises(UsageError, match=r"was begun with --decimal , at"):
        make_plan(read_csv(tmp_path, PURCHASE), make_plan(european))


def test_a_recording_without_a_time_cannot_be_shifted(tmp_path: Path) -> None:
    """As recorded it can be sent, and is refused by the processor."""
    recording = read_csv(tmp_path, PURCHASE.replace("2010-12-01 08:26:00", ""))
    with pytest.raises(UsageError, match=r"no row with a time.*without --shift-to-now"):
        make_plan(recording, as_recorded=False)
    assert make_plan(recording).shift_micros == 0


def test_what_is_remembered_is_recalled(recording: Recording, tmp_path: Path) -> None:
    """Per recording, cluster and namespace; nothing is there before."""
    begun = make_plan(recording)
    paths = {
        checkpoint_path(tmp_path, digest, cluster, namespace)
        for digest in (recording.digest, recording.digest[::-1])
        for cluster in ("a", "b", "a.b")
        for namespace in ("", "b", "x")
    }
    assert len(paths) == 18
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        assert read_checkpoint(path) is None
        write_checkpoint(path, begun)
        assert read_checkpoint(path) == begun
    assert len(list((tmp_path / "replays").iterdir())) == 18


def test_a_damaged_checkpoint_is_refused_with_its_remedy(tmp_path: Path) -> None:
    """It is never taken for none."""
    path = tmp_path / "memory.json"
    path.write_text('{"file": "x"')
    with pytest.raises(PurchasesError, match=r"memory\.json.*--restart"):
        read_checkpoint(path)


def test_a_disk_that_does_not_take_it_is_an_error(recording: Recording, tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(PurchasesError, match="cannot be written: No such file or directory"):
        write_checkpoint(tmp_path / "nowhere" / "memory.json", make_plan(recording))
