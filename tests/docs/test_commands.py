"""The command line says what it can do, and answers what is typed wrong in one sentence."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.cli_reference import commands, reference
from tests.in_process import run_here

ROOT = Path(__file__).parents[2]
WRONG = [
    ("nonsense",),
    ("--nonsense",),
    ("process", "--slots", "0"),
    ("process", "--slots", "many"),
    ("process", "--timeout", "0"),
    ("produce", "--rate", "fast"),
    ("produce", "--rate", "-1"),
    ("produce", "--count", "x"),
    ("produce", "--bad-share", "2"),
    ("produce", "--start", "yesterday"),
    ("replay",),
    ("replay", "no-such-file.parquet"),
    ("replay", "README.md"),
    ("replay", "examples/online_retail.parquet", "--map", "item=NoSuchColumn"),
    ("replay", "examples/online_retail.parquet", "--map", "nonsense=StockCode"),
    ("replay", "examples/online_retail.parquet", "--speed", "0"),
    ("db", "restore", "no-such-file.db"),
    ("totals", "extra"),
]


def run(*arguments: str, home: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with a home of its own."""
    environment = {"PURCHASES_HOME": str(home), "PATH": "/usr/bin:/bin", **settings}
    return run_here("orchestration.cli.main", arguments, environment)


def test_every_command_has_help_with_an_example() -> None:
    """A command that is not shown is not found."""
    by_name = dict(commands())
    assert len(by_name) >= 17
    for name, command in by_name.items():
        assert f"Example: {name}" in (command.help or ""), name


def test_the_list_of_commands_is_grouped_and_no_line_is_cut(tmp_path: Path) -> None:
    """The help is read on one screen: four groups, a short line for each command."""
    done = run("-h", home=tmp_path)
    assert done.returncode == 0
    parts = done.stdout.split("\n\n")
    assert [part.split(":")[0] for part in parts[-4:]] == ["Sources", "Stream", "Figures", "Upkeep"]
    lines = [line for part in parts[-4:] for line in part.strip().splitlines()[1:]]
    assert not [line for line in lines if "..." in line]
    assert len(lines) >= 18
    assert all(len(line.split(maxsplit=1)[1]) <= 50 for line in lines)
    assert not [name for name, below in commands() if not 0 < len(below.short_help or "") <= 50]


def test_a_group_without_a_command_prints_its_help(tmp_path: Path) -> None:
    """Its commands are a list, a line for each."""
    done = run("offsets", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")
    assert {"list", "reset"} <= {line.split()[0] for line in done.stderr.splitlines() if line}


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    """What a report of a fault should name."""
    assert run("--version", home=tmp_path).stdout == f"purchases {version('purchases')}\n"


def test_the_reference_is_what_the_program_says() -> None:
    """docs/cli.md is printed from the program; print it again after a change."""
    assert (ROOT / "docs" / "cli.md").read_text() == reference()


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_what_is_typed_wrong_gets_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """No traceback, no usage page: what was wrong."""
    done = run(*arguments, home=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("TIMEZONE", "Mars/Olympus"),
        ("CURRENCY", "pounds"),
        ("HISTORY_START", "soon"),
        ("MAX_AMOUNT", "0"),
        ("MAX_AMOUNT", "1000000000.01"),
        ("MAX_AMOUNT", "NaN"),
        ("MAX_AMOUNT", "0.0000001"),
        ("PROCESSOR_SLOTS", "0"),
        ("ANALYTICS_SLOTS", "two"),
        ("REFUSAL_SHARE", "7"),
        ("NAMESPACE", "a b"),
        ("BROKER_OPEN", "ajar"),
        ("DATABASE_URL", "postgresql://user:secret@host/db"),
        ("KAFKA_CONFIG", "/no/such/file"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_stops_at_start_with_its_name(
    setting: str, value: str, tmp_path: Path
) -> None:
    """The sentence names the setting, and never a password."""
    done = run("process", home=tmp_path, **{f"PURCHASES_{setting}": value})
    assert done.returncode == 2, done.stderr
    assert f"PURCHASES_{setting}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "secret" not in done.stderr


def test_debug_shows_the_traceback_that_a_user_never_sees(tmp_path: Path) -> None:
    """`--debug` may stand anywhere on the line."""
    quiet = run("totals", home=tmp_path)
    loud = run("totals", "--debug", home=tmp_path)
    assert quiet.returncode == loud.returncode == 1
    assert len(quiet.stderr.strip().splitlines()) == 1
    assert "Traceback" in loud.stderr


def test_the_settings_page_names_every_setting_with_its_default() -> None:
    """docs/settings.md and streaming/settings.py say the same."""
    from streaming.settings import Settings

    page = (ROOT / "docs" / "settings.md").read_text()
    shown = {"None": "none", "": "empty", "False": "`off`", "True": "`on`"}
    rows = dict(re.findall(r"^\| `(PURCHASES_\w+)` \| (\S+) \|", page, re.MULTILINE))
    expected = {}
    for name, field in Settings.model_fields.items():
        default = shown.get(str(field.default), f"`{field.default}`")
        expected[f"PURCHASES_{name.upper()}"] = default
    assert rows == expected


@pytest.mark.parametrize("command", [("broker", "start"), ("up",), ("db", "upgrade")], ids=" ".join)
def test_a_home_that_cannot_be_made_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    """The sentence says which path, so that the setting can be mended."""
    (tmp_path / "file").touch()
    done = run(*command, home=tmp_path / "file" / "home")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Unexpected" not in done.stderr


def test_a_reader_that_left_is_no_error(tmp_path: Path) -> None:
    """`purchases totals | head -0` says nothing of a broken pipe."""
    run("db", "upgrade", home=tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from orchestration.cli.main import run; run()", "totals"],
        env={"PURCHASES_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=180,
        check=False,
    )
    os.close(writing)
    assert "ipe" not in done.stderr
