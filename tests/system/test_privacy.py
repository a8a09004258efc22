"""The permissions of a home and of what commands write."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.errors import PurchasesError, UsageError
from streaming.system.privacy import keep_private
from tests.in_process import run_here
from tests.store.users import NOBODY, drop_privileges, only_root


def mode(path: Path) -> int:
    """Return the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.sqlite("permissions of the file, and a backup of it")
def test_a_command_makes_files_that_are_its_users_alone(tmp_path: Path) -> None:
    """Also SQLite's, although the shell's umask lets others read, and the home was open."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    database = home / "purchases.db"
    database.touch(mode=0o644)
    environment = {"PURCHASES_HOME": str(home), "PATH": "/usr/bin:/bin"}
    for command in (("db", "upgrade"), ("db", "backup")):
        assert run_here("streaming", command, environment).returncode == 0
    assert mode(home) == 0o700
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 1
    assert {mode(path) for path in files} == {0o600}


def test_a_directory_that_all_users_share_is_no_home(tmp_path: Path) -> None:
    """Closing `/tmp` would stop every other program of the machine."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(PurchasesError, match="shared by all users"):
        keep_private(shared)
    assert mode(shared) == 0o1777


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user of the machine can reach."""
    directory = Path(tempfile.mkdtemp(prefix="purchases-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@only_root
def test_the_home_of_another_user_is_refused_before_anything_of_it_is_read(shared: Path) -> None:
    """Also by the administrator, whom its settings and Dagster's configuration would command."""
    home = shared / ".purchases"
    home.mkdir()
    (home / ".env").write_text("PURCHASES_CURRENCY=wrong\n")
    os.chown(home, NOBODY, NOBODY)
    link = shared / "link"
    link.symlink_to(shared)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    for given in (home, link):
        done = run_here("streaming", ("status",), {"PURCHASES_HOME": str(given)})
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{given} belongs to the user nobody, not to root: run this as that" in done.stderr
        with pytest.raises(UsageError, match="belongs to"):
            keep_private(given)
    assert [path.name for path in home.iterdir()] == [".env"]
    os.chown(home, 1, 1)
    with drop_privileges(), pytest.raises(UsageError, match="not to nobody"):
        keep_private(home)


@only_root
def test_a_home_that_root_made_stays_as_it_is(shared: Path) -> None:
    """Such as a container's volume: root decides who may use it."""
    volume = shared / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    with drop_privileges():
        keep_private(volume)
    assert mode(volume) == 0o777
