"""The pages of the documentation: their blocks, and what runs them in a home of its own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent

from tests.conftest import bring_jars
from tests.databases import store_variables
from tests.in_process import run_here

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PLAIN = re.compile(r"""purchases (?!broker|up|down)([-\w ./:=,+]|"[^"$`\\]*")+""")
HOME = re.compile(r"\$(?:PURCHASES_HOME\b|{PURCHASES_HOME:-\.purchases})")
PRINT_CODE = ' || echo "exit code $?"'
PURCHASES = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]


def blocks(page: str) -> list[tuple[str, str]]:
    """Return a page's fenced blocks: (language, text) each."""
    blocks = BLOCK.findall((ROOT / page).read_text())
    return [(language, dedent(text)) for language, text in blocks]


def is_run(page: str) -> bool:
    """Return whether a page has blocks that are run."""
    return any(language in {"console", "python"} for language, _ in blocks(page))


def run_command(line: str, environment: dict[str, str]) -> str:
    """Run one line of a console block in a shell; it must succeed. Of `make`, only its plan.

    What means the same without a shell, and leaves no processes, runs in this one.
    """
    may_fail = line.endswith((" || true", PRINT_CODE))
    command = line.removesuffix(" || true").removesuffix(PRINT_CODE)
    command = HOME.sub(lambda _: environment["PURCHASES_HOME"], command)
    if PLAIN.fullmatch(command):
        done = run_here("orchestration.cli.main", shlex.split(command)[1:], environment)
        assert done.returncode == 0 or may_fail, f"{line}\n{done.stdout}\n{done.stderr}"
        failed = done.returncode and line.endswith(PRINT_CODE)
        return done.stdout + done.stderr + (f"exit code {done.returncode}" if failed else "")
    if line.startswith("make "):
        line = line.replace("make ", "make --dry-run ", 1)
    return run(["bash", "-c", line], environment)


@contextmanager
def in_background(line: str, environment: dict[str, str]) -> Iterator[None]:
    """Run a line that ends in `&` beside the rest of its page; it must still work at the end."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line.removesuffix('&')}"], env=environment, cwd=ROOT
    ) as process:
        try:
            yield
            assert process.poll() is None, f"{line} ended with {process.returncode}"
        finally:
            process.terminate()


def run(words: list[str], environment: dict[str, str]) -> str:
    """Run a program to its end; it must exit with 0. Return what it printed."""
    done = subprocess.run(
        words,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def new_home(jars: Path, home: Path) -> Iterator[dict[str, str]]:
    """Return the environment of a new home with Kafka's jars; end what runs there at the end."""
    bring_jars(jars, home)
    programs = home / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    purchases = programs / "purchases"
    purchases.write_text(f'#!/bin/sh\nexec {shlex.join(PURCHASES)} "$@"\n')
    purchases.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PURCHASES_")}
    own = {"PURCHASES_HOME": str(home), **store_variables(home)}
    environment = {**clean, **own, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}"
    try:
        yield environment
    finally:
        run([*PURCHASES, "down"], environment)


def follow(page: str, environment: dict[str, str]) -> None:
    """Run a page's console and Python blocks in their order; each must do what the page shows."""
    printed = ""
    with ExitStack() as beside:
        for language, text in blocks(page):
            if language == "python":
                printed = run([sys.executable, "-c", text], environment)
            if language == "console":
                printed = ""
            for line in text.splitlines() if language == "console" else ():
                assert line.startswith("$ "), f"{page}: {line}"
                command = line.removeprefix("$ ")
                if command.endswith("&"):
                    beside.enter_context(in_background(command, environment))
                else:
                    printed += run_command(command, environment)
            for line in text.splitlines() if language == "output" else ():
                for part in line.split("…"):
                    assert part.strip() in printed, f"{page} shows {line!r}, but not:\n{printed}"
