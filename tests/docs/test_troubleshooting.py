"""Each heading of docs/troubleshooting.md is a message of the code, with `…` for what varies."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADINGS = re.findall(
    r"^### (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE
)


def text_of(node: ast.AST) -> str | None:
    """Return the text of a string or f-string, `…` for each value; None for another node."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) or "" for part in parts)
        case ast.FormattedValue(value=ast.Name(id="PREFIX")):
            return "PURCHASES_"
        case ast.FormattedValue():
            return "…"
    return None


def messages() -> Iterator[str]:
    """Return each text in the code, whitespace as one space."""
    for package in ("streaming", "assets", "orchestration"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if text := text_of(node):
                    yield " ".join(text.split())


@pytest.fixture(scope="module")
def all_messages() -> list[str]:
    """All texts of the code."""
    return list(messages())


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_is_a_message_of_the_code(heading: str, all_messages: list[str]) -> None:
    """Who searches for a message finds it; a message that changed is changed here too."""
    pattern = re.compile(".*".join(re.escape(part) for part in heading.split("…")))
    assert any(pattern.search(message) for message in all_messages), (
        f"no message of the code reads {heading!r} (… is what varies);"
        " write the heading in docs/troubleshooting.md as the code says it now"
    )


def test_no_heading_comes_twice() -> None:
    """A message has one remedy."""
    assert len(HEADINGS) == len(set(HEADINGS))
