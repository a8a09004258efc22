"""The permissions of a home and of what commands write."""

import os
import stat
from pathlib import Path

import pytest

from streaming.errors import PurchasesError
from streaming.system.privacy import keep_private
from tests.in_process import run_here
from tests.store.users import NOBODY


def mode(path: Path) -> int:
    """Return the permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


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


def test_the_home_of_another_user_stays_as_it_is(tmp_path: Path) -> None:
    """Its owner decides, such as root over a container's volume."""
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o775)
    volume.chmod(0o775)
    os.chown(volume, NOBODY, NOBODY)
    keep_private(volume)
    assert mode(volume) == 0o775
