"""docs/log-events.md lists what the code logs: each event with its level and fields."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| .+\.\ \|$", re.MULTILINE)

Event = tuple[str, str]


def list_log_calls() -> Iterator[tuple[Event, set[str], str]]:
    """Return each call that logs: (event, level), the names of its fields, and its line."""
    for package in ("streaming", "assets", "orchestration"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                match node.args:
                    case [ast.Constant(value=str(name))] if (
                        node.func.attr in LEVELS and re.fullmatch(r"[a-z_]+", name)
                    ):
                        fields = {keyword.arg or "…" for keyword in node.keywords}
                        source = f"{path.relative_to(ROOT)}:{node.lineno}"
                        yield (name, LEVELS[node.func.attr]), fields, source


def test_the_log_events_of_the_docs_are_those_of_the_code() -> None:
    """Who alerts on an event finds it in the list, under its name."""
    in_code: dict[Event, set[str]] = {}
    sources: dict[Event, str] = {}
    for event, fields, source in list_log_calls():
        in_code.setdefault(event, set()).update(fields)
        sources.setdefault(event, source)
    rows = ROW.findall((ROOT / "docs" / "log-events.md").read_text())
    in_docs = {(name, level): set(re.findall(r"\w+|…", cell)) for name, level, cell in rows}
    wrong = [
        *(f"add {e[0]} ({e[1]}), logged in {sources[e]}" for e in in_code.keys() - in_docs.keys()),
        *(f"remove {e[0]} ({e[1]}), logged nowhere" for e in in_docs.keys() - in_code.keys()),
        *(
            f"{e[0]} has the fields {sorted(in_code[e])}, not {sorted(in_docs[e])}"
            for e in in_code.keys() & in_docs.keys()
            if in_code[e] != in_docs[e]
        ),
    ]
    assert not wrong, "docs/log-events.md: " + "; ".join(sorted(wrong))
    assert rows == sorted(rows)
