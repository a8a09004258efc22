"""Column files in a bucket, of a server that speaks S3: the tables, and what stays of the files."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.store import S3Store
from pydantic import ValidationError

from assets.builds.archive import archive_history
from assets.builds.builder import open_builder
from assets.builds.seal import SealResult, seal_history
from assets.checks.column_files import check_files
from assets.tables.transforms import DAY_TRANSFORMS
from streaming.errors import Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.archive import return_days
from streaming.store.column_files import forget_missing
from streaming.store.column_store import open_column_store
from streaming.store.connection import read_store, write_store
from streaming.store.erasure import erase
from streaming.store.preparation import prepare_store
from streaming.system.home import Home
from tests.assets.builds.test_archive import export_events
from tests.assets.builds.test_columns import TODAY, build, build_from_rows, late_event, list_files
from tests.assets.event_store import store_events
from tests.databases import home_settings
from tests.store.rows import year_of_days

if TYPE_CHECKING:
    from moto.server import ThreadedMotoServer

URL = "s3://shop/history"
OTHERS = ("history/notes.txt", "other/day=2024-01-01/00000000000000000000000000000000.parquet")


def open_bucket() -> S3Store:
    """Open the whole bucket."""
    return S3Store.from_url("s3://shop", client_options={"allow_http": True})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator["ThreadedMotoServer"]:
    """Run a server with a bucket that has objects of others, named by the environment."""
    # Every process collects this file, and the import takes half a second.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    for name, value in {
        "ENDPOINT_URL": f"http://{address}:{port}",
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "secret",
        "REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    # What a server holds stays with the process, not with the server.
    for method, path in (("POST", "moto-api/reset"), ("PUT", "shop")):
        with urlopen(Request(f"http://{address}:{port}/{path}", method=method)):
            pass
    for name in OTHERS:
        obstore.put(open_bucket(), name, b"not ours")
    yield server
    server.stop()


@pytest.fixture
def sealed(server: "ThreadedMotoServer", tmp_path: Path) -> Settings:
    """Return a home with five days of one event, sealed in the bucket."""
    assert server
    settings = home_settings(tmp_path / "home", columns_url=URL)
    prepare_store(settings)
    store_events(settings, year_of_days(5))
    assert seal_history(settings, TODAY) == SealResult(days=5, files=5, events=5)
    return settings


def objects() -> set[str]:
    """Return the names of all objects of the bucket."""
    return {each["path"] for part in obstore.list(open_bucket()) for each in part}


def test_tables_come_from_the_bucket(sealed: Settings) -> None:
    """Nothing is in the home, a late event is one more object, and the digests are the rows'."""
    assert not Home(sealed.home).columns.exists()
    store_events(sealed, [late_event(10, 2), late_event(11, 6)])
    assert seal_history(sealed, TODAY).files == 2
    sizes = open_column_store(sealed).sizes()
    assert len(sizes) == 7
    assert objects() == {*OTHERS, *(f"history/{name}" for name in sizes)}
    with write_store(sealed) as store:
        store.execute("UPDATE analytics_event SET item = 'edited'")
    from_bucket = build(sealed, 6)
    assert from_bucket != build_from_rows(sealed, 6)


def test_a_bucket_that_does_not_answer_costs_no_figure(
    sealed: Settings, server: "ThreadedMotoServer"
) -> None:
    """Builds read the rows, no file is marked, and the check says what is wrong."""
    with read_store(sealed) as store:
        assert check_files(store, sealed, contents=True).passed
    with open_builder(sealed, "run") as builder:
        server.stop()
        during = builder.build("2024-01-02", DAY_TRANSFORMS, force=True)
    assert [outcome.failure for outcome in during] == [None] * len(DAY_TRANSFORMS)
    digests = build(sealed)
    with read_store(sealed) as store:
        finding = check_files(store, sealed)
    assert not finding.passed
    assert finding.description.startswith(f"The bucket {URL} does not answer")
    assert [problem for *_, problem in list_files(sealed)] == [None] * 5
    with pytest.raises(Unavailable, match="does not answer"):
        seal_history(sealed, TODAY)
    with write_store(sealed) as store:
        forget_missing(store, open_column_store(sealed))
    assert list_files(sealed) == []
    assert digests == build_from_rows(sealed)


def test_what_was_erased_is_in_no_object(sealed: Settings) -> None:
    """The objects of the customer's days are gone, and those of others stay."""
    before = objects()
    erase(sealed, "anna", None, apply=True)
    gone = before - objects()
    assert gone
    assert set(OTHERS) < objects()
    assert len(objects()) == len(before) - len(gone)


def test_a_lost_object_is_found(sealed: Settings) -> None:
    """The check names it, and its day is read from the rows."""
    (first, *_) = sorted(open_column_store(sealed).sizes())
    open_column_store(sealed).remove([first])
    with read_store(sealed) as store:
        finding = check_files(store, sealed)
    assert (finding.passed, finding.numbers["unsound"]) == (False, 1)
    assert first in finding.examples[0]
    assert build(sealed) == build_from_rows(sealed)


@pytest.mark.parametrize("url", ["s3://", "s3://shop/", "s3://k:secret@shop", "gs://shop", "/home"])
def test_only_a_bucket_can_be_named(url: str) -> None:
    """Above all no credentials, which the setting would show."""
    with pytest.raises(ValidationError):
        Settings(columns_url=url)


def test_days_are_sealed_again_in_the_bucket_after_the_setting_changed(
    store: Settings, server: "ThreadedMotoServer"
) -> None:
    """`purchases db columns rebuild` begins there."""
    assert server
    store_events(store, year_of_days(2))
    seal_history(store, date(2024, 2, 1))
    moved = store.model_copy(update={"columns_url": URL})
    with write_store(moved) as opened:
        forget_missing(opened, open_column_store(moved))
    assert seal_history(moved, TODAY).files == 2
    assert len(objects()) == len(OTHERS) + 2


@pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")
@pytest.mark.usefixtures("server")
def test_an_archive_is_not_looked_for_in_a_bucket_that_is_named_later(store: Settings) -> None:
    """One sentence says what to do; without the setting nothing is lost or marked."""
    kept = store.model_copy(update={"keep_events": 40})
    store_events(kept, year_of_days(2))
    assert archive_history(kept, date(2024, 3, 1)).events == 1
    moved = store.model_copy(update={"columns_url": URL})
    for read in (export_events, return_days, lambda settings: build(settings, 2)):
        with pytest.raises(UsageError, match=r"COLUMNS_URL names a bucket, but day=2024-01-01/"):
            read(moved)
    build(store, 2)
    assert return_days(store) == 1
