"""`sql`: a table, CSV or JSON, from a word or from stdin."""

import io
import json
from pathlib import Path

import pytest

from tests.assets.event_store import store_events
from tests.databases import home_settings, store_variables
from tests.in_process import run_here
from tests.store.rows import event, micros

ITEMS = "SELECT item, quantity, order_id FROM analytics_event ORDER BY quantity"


def ask(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run `sql` in a home."""
    environment = {"PURCHASES_HOME": str(home), **store_variables(home)}
    done = run_here("streaming", ["sql", *arguments], environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with two events, one of which a spreadsheet would compute."""
    path = tmp_path_factory.mktemp("sql") / "home"
    noon = micros("2024-03-01 12:00")
    rows = [event(0, noon, 12), event(1, noon, 2, item="=1+1", order_id=None)]
    store_events(home_settings(path), rows)
    return path


def test_an_answer_is_a_table_with_numbers_to_the_right(home: Path) -> None:
    """The columns are as wide as their longest cell, and what is null is empty."""
    code, printed, said = ask(home, ITEMS)
    assert (code, said) == (0, "")
    assert printed.splitlines() == [
        "item  quantity  order_id",
        "----  --------  --------",
        "=1+1         2",
        "lamp        12  o-1",
    ]


def test_csv_is_for_spreadsheets_and_json_is_exact(home: Path) -> None:
    """A formula gets an apostrophe in CSV only."""
    assert ask(home, ITEMS, "--format", "csv")[1].splitlines()[1] == "'=1+1,2,"
    exact = json.loads(ask(home, "--format", "json", ITEMS)[1])
    assert exact["rows"][0] == ["=1+1", 2, None]


def test_a_cut_answer_says_so_beside_it(home: Path) -> None:
    """On stderr, so that a program reads rows only."""
    code, printed, said = ask(home, "query", ITEMS, "--limit", "1")
    assert (code, len(printed.splitlines())) == (0, 3)
    assert said == "Cut: there are more than these 1 rows; --limit prints more.\n"


def test_sql_comes_by_stdin_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word, as from a file."""
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 1 AS one"))
    assert ask(home)[1].splitlines()[-1] == "  1"


@pytest.mark.parametrize("arguments", [("SELECT",), (ITEMS, "--format", "xml")])
def test_wrong_usage_is_one_sentence(home: Path, arguments: tuple[str, ...]) -> None:
    """It exits with 2."""
    code, printed, said = ask(home, *arguments)
    assert (code, printed) == (2, "")
    assert len(said.splitlines()) == 1
