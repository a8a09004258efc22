"""Tests of `replay --check`: what a file would become, without a broker and without a record."""

import json
from pathlib import Path

import pytest

from streaming.cli.replay_check import check_text
from streaming.producer.app import ProducerApp
from streaming.producer.replay.plan import ReplayRequest
from streaming.system.shutdown import StopRequest
from tests.databases import home_settings
from tests.in_process import run_here

SALES = """user,item,timestamp,quantity,unit_price,colour
ada,tea,2024-03-01 09:12,2,2.50,green
,cake,2024-03-02,1,,
bob,mug,2024-03-02 10:00,0,9.90,
bob,mug,2024-03-02 10:01,1,"9,90",
"""


def run_check(path: Path, *options: str) -> tuple[int, str]:
    """Return exit code and output of a check in a home where nothing ever ran."""
    environment = {"PURCHASES_HOME": str(path.parent / "home")}
    done = run_here("streaming", ("replay", str(path), "--check", *options), environment)
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_check_says_what_a_file_would_become(tmp_path: Path) -> None:
    """Columns, first rows, refusals by the processor's rules, dates and money; it sends nothing."""
    path = tmp_path / "sales.csv"
    path.write_text(SALES)
    code, said = run_check(path)
    assert code == 1
    assert said.startswith(f"FAILED: 2 of the 4 rows of {path} would be refused. Nothing was sent.")
    for line in (
        "  unit_price  unit_price",
        "Not used: colour",
        '  {"user":null,"item":"cake","timestamp":"2024-03-02T00:00:00.000000Z","quantity":1}',
        "  1 invalid_quantity, such as row 3: quantity 0 is 0 or over 1000000 in magnitude",
        "Dates       2024-03-01 to 2024-03-02, as recorded, in UTC",
        "Purchases   2, 1 without a price, 1 of guests",
        "Items       3",
        "Money       5.00 GBP",
        "Sent before not this file from this home",
    ):
        assert line in said.splitlines()
    assert not list((tmp_path / "home").glob("replays/*"))


def test_a_valid_file_exits_with_0(tmp_path: Path) -> None:
    """And in JSON nothing else is printed."""
    path = tmp_path / "sales.csv"
    path.write_text("\n".join(SALES.splitlines()[:3]) + "\n")
    code, said = run_check(path)
    assert code == 0
    assert said.startswith(f"OK: all rows of {path} would be stored, 2 in all. Nothing was sent.")
    code, said = run_check(path, "--json")
    assert (code, json.loads(said)["refused"]) == (0, {})


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nFORGED"])
def test_names_of_a_file_steer_no_terminal(tmp_path: Path, hostile: str) -> None:
    """Whether a column gives a field or none."""
    path = tmp_path / "sales.csv"
    path.write_text(f'"{hostile}",item,timestamp,"{hostile}2"\nada,tea,2024-03-01,1\n')
    app = ProducerApp(home_settings(tmp_path), StopRequest(), lambda _: None)
    text = check_text(app.check_replay(ReplayRequest(path, {"user": hostile})))
    assert "\x1b" not in text
    assert "\nFORGED" not in text
