"""A question in SQL over the API: the command's reader, with the dashboard's bounds."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette

from streaming.api.endpoint import build_routes
from streaming.dashboard import record_endpoints as record_endpoints_module
from streaming.dashboard.record_endpoints import MAX_CONCURRENT, SQL_BOUNDS, record_endpoints
from streaming.settings import Settings
from streaming.status.last_hour import new_samples
from streaming.store.sql_query import Bounds
from tests.dashboard.server import serve_app

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def api(store: Settings) -> Iterator[str]:
    """Yield the address of the endpoint, over an empty store."""
    routes = build_routes(store, record_endpoints(new_samples()))
    with serve_app(Starlette(routes=routes)) as base:
        yield f"{base}/api/v1/sql"


def ask(api: str, sql: str, *, csv: bool = False) -> tuple[int, str]:
    """Ask; return the status and the answer."""
    body = json.dumps({"sql": sql, "csv": csv}).encode()
    try:
        with urllib.request.urlopen(api, body, timeout=120) as answer:  # noqa: S310 - ours
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_answer_is_exact_and_a_file_is_for_spreadsheets(api: str) -> None:
    """Numbers that a browser would round are texts; wrong SQL is a 400 with its sentence."""
    status, answer = ask(api, "SELECT 9007199254740993 AS big, 2 AS small, '=1' AS formula")
    assert status == 200
    assert json.loads(answer)["rows"] == [["9007199254740993", 2, "=1"]]
    assert ask(api, "SELECT '=1' AS formula", csv=True) == (200, "formula\n'=1\n")
    said = ask(api, "SELECT x")[1]
    assert "line 1, column 8: " in said
    assert "no such column: x" in said or 'column \\"x\\" does not exist' in said
    assert ask(api, "SELECT '\0'")[0] == 400


def test_many_questions_at_once_are_refused(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are answered at a time, each for so long at most; the others may come again."""
    assert SQL_BOUNDS.seconds == 10
    monkeypatch.setattr(record_endpoints_module, "SQL_BOUNDS", Bounds(2, 10))
    with ThreadPoolExecutor(MAX_CONCURRENT + 2) as asking:
        answers = list(asking.map(lambda _: ask(api, ENDLESS), range(MAX_CONCURRENT + 2)))
    assert sorted(status for status, _ in answers) == [400, 400, 429, 429]
    assert any("more than 2 s" in answer for _, answer in answers)
