"""docs/home.md lists the files of a home, as `Home` names them."""

import inspect
import re
from fnmatch import fnmatch
from pathlib import Path

from streaming.system.home import Home

PAGE = Path(__file__).parents[2] / "docs" / "home.md"
NAMED_BY_OTHERS = r".*(-wal|-shm|\.log\.1)|dagster/(history|schedules|storage|logs|\.logs_queue)/\*"


def paths_of_home() -> list[str]:
    """Return every path of `Home`, with its parameters in angle brackets."""
    home = Home(Path())
    paths = [str(getattr(home, name)) for name, m in vars(Home).items() if isinstance(m, property)]
    for name, method in inspect.getmembers(home, inspect.ismethod):
        if not name.startswith(("_", "list_")):
            placeholders = (f"<{parameter}>" for parameter in inspect.signature(method).parameters)
            paths.append(str(method(*placeholders)))
    return paths


def patterns_of_page() -> list[str]:
    """Return every path in the first column of the page's tables."""
    cells = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [path for cell in cells for path in re.findall(r"`([^`]+)`", cell)]


def test_the_page_names_every_file_of_a_home() -> None:
    """An operator finds what each file is."""
    patterns = patterns_of_page()
    missing = [
        path
        for path in paths_of_home()
        if not any(fnmatch(path, pattern) or pattern.startswith(f"{path}/") for pattern in patterns)
    ]
    assert not missing


def test_the_page_names_no_file_that_a_home_does_not_have() -> None:
    """What is gone from `Home` is gone from the page."""
    paths = paths_of_home()
    gone = [
        pattern
        for pattern in patterns_of_page()
        if not re.fullmatch(NAMED_BY_OTHERS, pattern)
        and not any(fnmatch(path, pattern) or pattern.startswith(f"{path}/") for path in paths)
    ]
    assert not gone
