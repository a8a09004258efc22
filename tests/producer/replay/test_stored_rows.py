"""Tests of files that share rows: what is stored is not sent again, whichever release sent it."""

from pathlib import Path

from confluent_kafka import Producer
from msgspec.structs import replace

from streaming.kafka.names import Names
from streaming.producer.app import ProducerApp
from streaming.producer.replay.check import ReplayCheck
from streaming.producer.replay.checkpoint import read_checkpoint, write_checkpoint
from streaming.producer.replay.plan import ReplayRequest
from streaming.producer.replay.recording import read_recording
from streaming.producer.replay.rows import rows
from streaming.producer.replay.run import ReplayResult
from streaming.system.shutdown import StopRequest
from tests.deployment import Deployment

HEADER = "user,item,timestamp,quantity,unit_price"
MARCH = (
    "ada,tea,2024-03-01 09:12,1,2.50",
    "ada,tea,2024-03-01 09:12,1,2.50",
    "bob,cake,2024-03-01 09:13,3,1.00",
    "grace,tea,2024-03-02 10:00,0,2.50",
)
APRIL = ("ada,tea,2024-03-01 09:12,1,2.50", "bob,mug,2024-04-01 08:00,1,9.90")


def write(folder: Path, name: str, *lines: str) -> Path:
    """Write a file with the names of the contract."""
    path = folder / name
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def replay_and_store(deployment: Deployment, path: Path) -> ReplayResult:
    """Replay a file, and let the apps store it."""
    request = ReplayRequest(path)
    result = ProducerApp(deployment.settings, StopRequest(), lambda _: None).replay(request)
    deployment.process()
    deployment.analyze()
    return result


def check_file(deployment: Deployment, path: Path) -> ReplayCheck:
    """Check a file."""
    app = ProducerApp(deployment.settings, StopRequest(), lambda _: None)
    return app.check_replay(ReplayRequest(path))


def test_a_file_that_grew_sends_what_is_new(deployment: Deployment, tmp_path: Path) -> None:
    """Wherever the new rows stand; a third equal row is new, and a refused one is sent again."""
    march = write(tmp_path, "march.csv", *MARCH)
    before = check_file(deployment, march)
    assert (before.stored, before.sent_at, before.refused) == (None, None, {"invalid_quantity": 1})
    first = replay_and_store(deployment, march)
    assert (first.sent, first.refused) == (4, 1)
    assert check_file(deployment, march).stored == 3
    assert check_file(deployment, march).sent_at is not None
    grown = write(tmp_path, "april.csv", APRIL[1], *MARCH, APRIL[0], "")
    assert (check_file(deployment, grown).stored, check_file(deployment, grown).sent_at) == (
        3,
        None,
    )
    assert replay_and_store(deployment, grown).sent == 3
    assert deployment.count("analytics_event") == 5
    assert deployment.rows("SELECT sum(duplicates) FROM stream_offset") == [(0,)]


def test_rows_that_are_sent_twice_are_stored_once(deployment: Deployment, tmp_path: Path) -> None:
    """Before anything was stored nobody can know them, and their ids are the same."""
    for name, lines in (("march.csv", MARCH[:3]), ("april.csv", (*MARCH[:3], *APRIL))):
        request = ReplayRequest(write(tmp_path, name, *lines))
        ProducerApp(deployment.settings, StopRequest(), lambda _: None).replay(request)
    deployment.process()
    deployment.analyze()
    assert deployment.count("analytics_event") == 5


def test_what_an_earlier_release_sent_is_known(deployment: Deployment, tmp_path: Path) -> None:
    """Its ids hang on file and row; neither in that file nor in one that grew is a row doubled."""
    march = write(tmp_path, "march.csv", *MARCH)
    send_as_before(deployment, march)
    assert check_file(deployment, march).stored == 3
    assert replay_and_store(deployment, march).sent == 0
    grown = write(tmp_path, "april.csv", MARCH[2], APRIL[1], *MARCH[:2], APRIL[0])
    assert check_file(deployment, grown).stored == 3
    assert replay_and_store(deployment, grown).sent == 2
    assert deployment.count("analytics_event") == 6
    again = write(tmp_path, "may.csv", *MARCH[:3], *APRIL, "cid,tea,2024-05-01,1,2.50")
    assert replay_and_store(deployment, again).sent == 1
    assert deployment.count("analytics_event") == 7


def send_as_before(deployment: Deployment, path: Path) -> None:
    """Send a file as an earlier release did: ids by number, and a checkpoint that names none."""
    settings = deployment.settings
    request = ReplayRequest(write(path.parent, "other.csv", "eve,tea,2024-03-03,1,2.50"))
    ProducerApp(settings, StopRequest(), lambda _: None).replay(request)
    (made,) = (settings.home / "replays").glob("*.json")
    begun = read_checkpoint(made)
    assert begun is not None
    recording = read_recording(path, {}, "UTC")
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for row in rows(recording, 0, by_row_number=True):
        producer.produce(Names.of(settings).purchases, row.value, row.key)
    assert producer.flush(60) == 0
    before = replace(
        begun,
        digest=recording.digest.hex(),
        columns=dict(recording.columns),
        id_columns=None,
        acknowledged=recording.frame.height,
    )
    digest, _, rest = made.name.partition("-")
    name = f"{recording.digest.hex()[: len(digest)]}-{rest}"
    write_checkpoint(made.with_name(name), before)
    deployment.process()
    deployment.analyze()
