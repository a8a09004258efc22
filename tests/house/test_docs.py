"""Each command and program in README and docs is run, in its order, in a home of its own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import bring_jars

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PURCHASES = [sys.executable, "-c", "from orchestration.main import run; run()"]
KNOWN = {"console", "python", "text"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Give a page's fenced blocks: (language, text) each."""
    return BLOCK.findall((ROOT / page).read_text())


def run_command(line: str, environment: dict[str, str]) -> None:
    """Run one line of a console block in a shell; it must succeed. Of `make`, only its plan."""
    if line.startswith("make "):
        line = line.replace("make ", "make --dry-run ", 1)
    run(["bash", "-c", line], environment)


def run(words: list[str], environment: dict[str, str]) -> None:
    """Run a program to its end; it must exit with 0."""
    done = subprocess.run(
        words,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def environment(jars: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a home with Kafka's jars; whatever runs there at the end is ended."""
    bring_jars(jars, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    purchases = programs / "purchases"
    purchases.write_text(f'#!/bin/sh\nexec {shlex.join(PURCHASES)} "$@"\n')
    purchases.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
    made = {**clean, "PURCHASES_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    made["PATH"] = f"{programs}:{Path(sys.executable).parent}:{made['PATH']}"
    yield made
    run([*PURCHASES, "down"], made)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page: str, environment: dict[str, str]) -> None:
    """Console and Python blocks run in the order in which a reader meets them."""
    for language, text in blocks(page):
        if language == "python":
            run([sys.executable, "-c", text], environment)
        for line in text.splitlines() if language == "console" else ():
            assert line.startswith("$ "), f"{page}: {line}"
            run_command(line.removeprefix("$ "), environment)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_says_what_it_is(page: str) -> None:
    """A block in another language would not be run, and so not be right for long."""
    assert {language for language, _ in blocks(page)} <= KNOWN


def test_make_run_is_the_demonstration() -> None:
    """`make run` sets up if needed and then runs `purchases up --demo`, and nothing else."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/.set-up", "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-3:] == [".venv/bin/purchases", "up", "--demo"]


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    for page in PAGES:
        folder = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (folder / target).exists(), f"{page}: {target}"
