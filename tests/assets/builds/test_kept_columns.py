"""Column files that no row names: which are kept for backups, and that no erased name is."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.builds.archive import archive_history
from assets.builds.seal import seal_history
from assets.checks.backups import check_restorable
from assets.checks.finding import CheckContext
from streaming.cli import customer
from streaming.errors import PurchasesError, Unavailable, UsageError
from streaming.settings import Settings
from streaming.store import erasure
from streaming.store.archive import return_days, show_archived
from streaming.store.backup import backup, scheduled_backup
from streaming.store.column_store import DirectoryStore, open_column_store
from streaming.store.connection import read_store
from streaming.store.erasure import apply_again, erase
from streaming.store.kept_columns import KEPT_SECONDS, remove_unlisted
from streaming.store.rebuild import rebuild
from streaming.store.restore import restore
from streaming.system.home import Home
from streaming.system.lease import acquire
from tests.assets.builds.test_archive import TODAY, archived, export_events, holding, kept
from tests.assets.builds.test_columns import late_event
from tests.assets.event_store import store_events

pytestmark = pytest.mark.sqlite("PURCHASES_KEEP_EVENTS deletes rows of a file")

__all__ = ["archived", "kept"]


def kept_files(settings: Settings) -> list[Path]:
    """Return the files that were set aside."""
    return sorted(Home(settings.home).kept_columns.rglob("*.parquet"))


def let_a_week_pass(settings: Settings) -> None:
    """Make the files that were set aside as old as they are kept at least."""
    for path in kept_files(settings):
        os.utime(path, (0, time.time() - KEPT_SECONDS - 1))


def test_a_backup_keeps_the_files_that_it_needs(archived: Settings) -> None:
    """As long as it is there; restored, nothing is missing."""
    made, before = backup(archived), export_events(archived)
    return_days(archived)
    assert seal_history(archived, TODAY).removed == 0
    let_a_week_pass(archived)
    seal_history(archived, TODAY)
    assert len(kept_files(archived)) == 5
    restore(archived, made)
    assert export_events(archived) == before
    return_days(archived)
    seal_history(archived, TODAY)
    let_a_week_pass(archived)
    seal_history(archived, TODAY)
    assert len(kept_files(archived)) == 5
    for each in Home(archived.home).backups.glob("*.db"):
        each.unlink()
    seal_history(archived, TODAY)
    assert kept_files(archived) == []


def test_files_that_no_backup_needs_are_removed(archived: Settings) -> None:
    """A week after they were set aside, and as backups are rotated."""
    one = archived.model_copy(update={"backup_keep": 1})
    scheduled_backup(one)
    for _ in range(3):
        return_days(archived, {"2024-01-02"})
        seal_history(archived, TODAY)
        archive_history(archived, TODAY)
    assert len(kept_files(archived)) == 3
    let_a_week_pass(archived)
    seal_history(archived, TODAY)
    assert len(kept_files(archived)) == 1
    scheduled_backup(one)
    assert kept_files(archived) == []


def test_all_are_kept_while_a_backup_cannot_be_read(archived: Settings) -> None:
    """It may need any of them."""
    backups = Home(archived.home).backups
    backups.mkdir()
    (backups / "broken.db").write_bytes(b"not a database" * 100)
    return_days(archived)
    seal_history(archived, TODAY)
    let_a_week_pass(archived)
    seal_history(archived, TODAY)
    assert len(kept_files(archived)) == 5


def test_an_erasure_that_is_killed_leaves_no_name(
    archived: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right before or right after its commit: the next start and seal finish it."""
    backup(archived)

    def kill(*_: object) -> int:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "destroy_named", kill)
        with pytest.raises(SystemExit):
            erase(archived, "bert", None, apply=True)
    assert len(apply_again(archived)) == 1
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "remove_unlisted", kill)
        with pytest.raises(SystemExit):
            erase(archived, "anna", None, apply=True)
    apply_again(archived)
    for _ in range(2):
        seal_history(archived, TODAY)
        archive_history(archived, TODAY)
    for made in Home(archived.home).backups.glob("*.db"):
        made.unlink()
    assert holding(archived, b"bert") == holding(archived, b"anna") == []


def test_a_file_that_was_set_aside_before_is_destroyed(archived: Settings) -> None:
    """Its day was changed before the erasure, and is in the archive again."""
    made = backup(archived)
    return_days(archived)
    seal_history(archived, TODAY)
    archive_history(archived, TODAY)
    assert holding(archived, b"bert")
    assert erase(archived, "bert", None, apply=True).destroyed == 6
    with pytest.raises(UsageError, match="lacks 3 events"):
        restore(archived, made)
    for each in Home(archived.home).backups.glob("*.db"):
        each.unlink()
    assert holding(archived, b"bert") == []


def test_an_erasure_says_that_backups_need_what_it_removed(
    archived: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what to do; the second time there is nothing to say."""
    monkeypatch.setenv("PURCHASES_HOME", str(archived.home))
    # No broker runs here.
    monkeypatch.setattr(customer, "_topics", lambda _: [])
    for _ in range(2):
        customer.erase(user="bert", yes=True)
    first, _, second = capsys.readouterr().out.partition("OK: it was erased before")
    assert "3 column files held the names and are removed." in first
    assert "make one now, with `purchases db backup`." in first
    assert "column files" not in second


def test_a_file_left_over_is_not_set_aside_with_an_erased_name(archived: Settings) -> None:
    """An archive that was being written while somebody was erased leaves such a file."""
    made, home = backup(archived), Home(archived.home)
    contents = {path: path.read_bytes() for path in home.columns.rglob("*-rows.parquet")}
    erase(archived, "bert", None, apply=True)
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    seal_history(archived, TODAY)
    made.unlink()
    assert holding(archived, b"bert") == []


def test_a_restore_of_an_old_backup_destroys_nothing_else(archived: Settings) -> None:
    """The database that it replaces keeps the files that it needs, and is restored whole."""
    return_days(archived)
    old = backup(archived)
    erase(archived, "bert", None, apply=True)
    store_events(archived, [late_event(70, 1), late_event(71, 6)])
    archive_history(archived, TODAY)
    before = export_events(archived)
    replaced = restore(archived, old).kept
    assert replaced is not None
    seal_history(archived, TODAY)
    restore(archived, replaced)
    assert export_events(archived) == before


def test_a_safety_backup_survives_an_erasure(archived: Settings) -> None:
    """It has all rows, so it needs no column file."""
    made = rebuild(archived).backup
    assert made is not None
    erase(archived, "bert", None, apply=True)
    assert len(restore(archived, made).erasures) == 1
    assert b"bert" not in export_events(archived)


def test_files_that_go_meanwhile_are_no_error(
    archived: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seal removes and moves what an erasure has listed, or the other way round."""
    made, sizes = backup(archived), DirectoryStore.sizes
    return_days(archived)

    def then_removed(self: DirectoryStore) -> dict[str, int]:
        listed = sizes(self)
        monkeypatch.setattr(DirectoryStore, "sizes", sizes)
        remove_unlisted(archived)
        return listed

    monkeypatch.setattr(DirectoryStore, "sizes", then_removed)
    remove_unlisted(archived)
    assert len(kept_files(archived)) == 5
    restore(archived, made)


def test_a_refused_restore_moves_no_file(archived: Settings) -> None:
    """While a run writes, and if one of the files is nowhere."""
    made, home = backup(archived), Home(archived.home)
    return_days(archived)
    seal_history(archived, TODAY)
    lease = acquire(home.write_lease)
    assert lease is not None
    with lease, pytest.raises(PurchasesError, match="A run of Dagster writes"):
        restore(archived, made)
    kept_files(archived)[0].unlink()
    with pytest.raises(UsageError, match="lacks 1 events"):
        restore(archived, made)
    assert len(kept_files(archived)) == 4


def test_a_reader_of_an_old_moment_is_to_try_again(archived: Settings) -> None:
    """Its files went when their days became rows, so none of them is lost."""
    with read_store(archived) as store:
        return_days(archived)
        seal_history(archived, TODAY)
        with pytest.raises(Unavailable, match="2024-01-01 became rows again meanwhile: try again"):
            show_archived(store, open_column_store(archived))


def test_backups_may_lie_on_another_disk(
    archived: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are copied there and back, and the rehearsal needs no second names."""
    made, before = backup(archived), export_events(archived)
    rename: Callable[[Path, Path], Path] = Path.rename

    def refuse_rename(self: Path, target: Path) -> Path:
        if self.suffix == ".parquet":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    def no_link(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, f"{self} {target}")

    monkeypatch.setattr(Path, "rename", refuse_rename)
    monkeypatch.setattr(Path, "hardlink_to", no_link)
    return_days(archived)
    seal_history(archived, TODAY)
    assert len(kept_files(archived)) == 5
    context = CheckContext(archived, time.time_ns() // 1000)
    assert check_restorable(sqlite3.connect(":memory:"), context).passed
    restore(archived, made)
    assert export_events(archived) == before
