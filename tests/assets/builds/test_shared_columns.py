"""Column files of several hosts: one database and one bucket, with a home on each host."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pytest

from assets.builds.columns import sum_files
from assets.builds.computation import BuildContext, ColumnsUnavailable, require_sound_files
from assets.builds.event_reader import read_ledger
from assets.builds.seal import SealResult, _record, _seal, needs_seal, seal_history
from assets.checks.column_files import check_files
from streaming.errors import Unavailable, UsageError
from streaming.settings import Settings
from streaming.store.column_files import forget_all, read_column_files
from streaming.store.column_store import open_column_store
from streaming.store.connection import open_reader, read_store, write_store
from streaming.store.erasure import erase
from streaming.store.kept_columns import remove_unlisted
from streaming.store.preparation import prepare_store
from streaming.system.home import Home
from tests.assets.builds.test_bucket import OTHERS, URL, objects, server
from tests.assets.builds.test_columns import TODAY, build, build_from_rows, late_event
from tests.assets.event_store import store_events
from tests.docs.pages import blocks, run
from tests.store.rows import year_of_days

if TYPE_CHECKING:
    from moto.server import ThreadedMotoServer

__all__ = ["server"]
DAYS = 3
PAGE = "docs/how-to/read-the-columns.md"


@pytest.fixture
def hosts(server: "ThreadedMotoServer", postgres_settings: Settings) -> tuple[Settings, Settings]:
    """Return the settings of two hosts, in whose database are three days of one event."""
    assert server
    one, other = (
        postgres_settings.model_copy(
            update={"host": name, "home": postgres_settings.home / name, "columns_url": URL}
        )
        for name in ("a", "b")
    )
    for host in (one, other):
        host.home.mkdir(parents=True)
        prepare_store(host)
    store_events(one, year_of_days(DAYS))
    return one, other


def require_one_set_of_files(settings: Settings) -> None:
    """The listed files are the bucket's, sound, and have the events that the ledger counts."""
    with read_store(settings) as store:
        listed, ledger = read_column_files(store), read_ledger(store)
        finding = check_files(store, settings, contents=True)
    assert (finding.passed, finding.examples) == (True, ())
    names = {f"history/{file.name}" for of_day in listed.values() for file in of_day}
    assert objects() == {*OTHERS, *names}
    events = {day: sum_files(of_day).events for day, of_day in listed.items()}
    assert events == {day: figures.events for day, figures in ledger.items()}


def test_what_one_host_seals_all_hosts_read(hosts: tuple[Settings, Settings]) -> None:
    """Late events too, whoever seals them, and no file is in a home."""
    one, other = hosts
    assert seal_history(one, TODAY).files == DAYS
    assert not needs_seal(other, TODAY)
    assert seal_history(other, TODAY) == SealResult()
    store_events(one, [late_event(10, 2), late_event(11, 3)])
    assert seal_history(other, TODAY).files == 2
    require_one_set_of_files(one)
    assert not Home(one.home).columns.exists()
    assert not Home(other.home).columns.exists()
    with write_store(one) as store:
        store.execute("UPDATE analytics_event SET item = 'edited'")
    from_bucket = build(one, DAYS)
    assert from_bucket == build(other, DAYS)
    assert from_bucket != build_from_rows(other, DAYS)


def test_a_day_that_two_hosts_seal_at_once_has_one_set_of_files(
    hosts: tuple[Settings, Settings],
) -> None:
    """Whoever comes second names nothing, whatever both have written, and nothing stays behind.

    Seals take turns; a run goes on without its turn if the server ended its session.
    """
    one, other = hosts
    day = date(2024, 1, 2)
    with closing(open_reader(one)) as first, closing(open_reader(other)) as second:
        by_one, by_other = _seal(first, one, day), _seal(second, other, day)
    assert (_record(one, by_one), _record(other, by_other)) == (True, False)
    assert (remove_unlisted(one), remove_unlisted(other)) == (1, 0)
    with ThreadPoolExecutor(2) as pool:
        for round_number in range(3):
            store_events(one, [late_event(20 + 2 * round_number + n, n + 1) for n in range(2)])
            list(pool.map(lambda host: seal_history(host, TODAY), hosts))
            # What one removed before the other named it, that one leaves to its next seal.
            seal_history(other, TODAY)
            require_one_set_of_files(one)


def test_an_erasure_on_one_host_reaches_the_files_of_all(hosts: tuple[Settings, Settings]) -> None:
    """They are gone, and the next seal of another host writes the day again."""
    one, other = hosts
    seal_history(one, TODAY)
    before = objects()
    erase(one, "anna", None, apply=True)
    assert before - objects()
    seal_history(other, TODAY)
    require_one_set_of_files(other)


@pytest.mark.parametrize("columns_url", [URL, None])
def test_another_program_reads_the_files_that_the_server_lists(
    hosts: tuple[Settings, Settings], columns_url: str | None
) -> None:
    """As docs/how-to/read-the-columns.md shows: from a bucket or a home, and no others."""
    reader = hosts[0].model_copy(update={"host": "", "columns_url": columns_url})
    seal_history(reader, TODAY)
    with write_store(reader) as store:
        store.execute("UPDATE column_file SET problem = 'lost' WHERE day = '2024-01-02'")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PURCHASES_")},
        "AWS_ALLOW_HTTP": "true",
        "PURCHASES_HOME": str(reader.home),
        "PURCHASES_DATABASE_URL": str(reader.database_url),
        **({"PURCHASES_COLUMNS_URL": columns_url} if columns_url else {}),
    }
    lines = [line for _, text in blocks(PAGE) for line in text.splitlines()]
    (command,) = [line for line in lines if "with_polars_on_postgresql.py" in line]
    printed = run(["bash", "-c", command], environment)
    # Of three days the first and the third, with an event of one and of three pieces at 2.50.
    assert re.search(r"│ +┆ 2 +┆ 10\.0 +│", printed), printed


def test_a_host_without_a_bucket_reads_rows(hosts: tuple[Settings, Settings]) -> None:
    """It seals nothing, and takes no file of the others for lost."""
    one, other = hosts
    without = other.model_copy(update={"columns_url": None})
    assert (needs_seal(without, TODAY), seal_history(without, TODAY)) == (False, SealResult())
    seal_history(one, TODAY)
    assert build(without, DAYS) == build(one, DAYS)
    with read_store(without) as store:
        finding = check_files(store, without)
    assert finding.passed
    assert "COLUMNS_URL" in finding.description
    require_one_set_of_files(one)


def test_a_host_that_does_not_know_the_bucket_marks_no_file(
    hosts: tuple[Settings, Settings],
) -> None:
    """Without host and bucket it reads rows, seals nothing, and says which settings it lacks."""
    one, other = hosts
    seal_history(one, TODAY)
    laptop = other.model_copy(update={"host": "", "columns_url": None})
    assert build(laptop, DAYS) == build(one, DAYS)
    store_events(one, [late_event(10, 2)])
    with pytest.raises(Unavailable, match="set PURCHASES_HOST and PURCHASES_COLUMNS_URL"):
        seal_history(laptop, TODAY)
    with read_store(laptop) as store:
        context = BuildContext("run", laptop.zone, laptop.home, open_column_store(laptop))
        with pytest.raises(ColumnsUnavailable):
            require_sound_files(store, context, None)
        finding = check_files(store, laptop, contents=True)
    assert not finding.passed
    assert "set PURCHASES_HOST and PURCHASES_COLUMNS_URL" in finding.description
    seal_history(one, TODAY)
    require_one_set_of_files(one)


def test_a_single_host_whose_directory_was_lost_begins_again(postgres_settings: Settings) -> None:
    """Its builds read rows until the files are forgotten, as the message says."""
    prepare_store(postgres_settings)
    store_events(postgres_settings, year_of_days(DAYS))
    seal_history(postgres_settings, TODAY)
    shutil.rmtree(Home(postgres_settings.home).columns)
    lost = build(postgres_settings, DAYS)
    with pytest.raises(Unavailable, match="run `purchases db columns rebuild`"):
        seal_history(postgres_settings, TODAY)
    with write_store(postgres_settings) as store:
        forget_all(store)
    assert seal_history(postgres_settings, TODAY).files == DAYS
    assert build(postgres_settings, DAYS) == lost


def test_a_home_without_the_client_gets_one_sentence(
    hosts: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install, whichever part needs it."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "obstore", None)
    column_store = open_column_store(hosts[1])
    for use in (
        lambda: build(hosts[1], DAYS),
        lambda: seal_history(hosts[1], TODAY),
        lambda: column_store.read("x"),
        column_store.sizes,
        lambda: column_store.remove(["x"]),
    ):
        with pytest.raises(UsageError, match=r"install purchases\[object-store\]\.$"):
            use()


def test_a_home_without_credentials_gets_one_sentence(
    hosts: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its builds read rows, and its seal names the bucket."""
    seal_history(hosts[0], TODAY)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    build(hosts[1], DAYS)
    store_events(hosts[0], [late_event(10, 2)])
    with pytest.raises(Unavailable, match=f"^The bucket {URL} does not answer: [^\n]+\\.$"):
        seal_history(hosts[1], TODAY)
