"""What holds of statements so that PostgreSQL takes them as SQLite does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.docs.pages import ROOT

STATEMENT = re.compile(r"\b(SELECT|UPDATE|INSERT|WHERE|FROM|SET)\b")
BARE_USER = re.compile(r"""(?<![".'\w])user(?!["'\w])""")


def test_no_statement_names_the_user_without_quotes(postgres: str) -> None:
    """A bare `user` is a keyword, and counts the session's user in every row without an error."""
    with psycopg.connect(postgres) as connection:
        connection.execute('CREATE TABLE event ("user" TEXT)')
        connection.execute("INSERT INTO event VALUES ('ann'), ('bob'), (NULL)")
        counted = connection.execute('SELECT count(DISTINCT user), count("user") FROM event')
        assert counted.fetchone() == (1, 2)
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for package in ("assets", "orchestration", "streaming")
        for path in sorted((ROOT / package).rglob("*.py"))
        # Migrations of SQLite's files stay as they were run.
        if "versions" not in path.parts
        for line, text in texts(path)
        if STATEMENT.search(text) and BARE_USER.search(text)
    ]
    assert not bare


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each text of a module with its line; what is computed inside of it is left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value for part in node.values if isinstance(part, ast.Constant))
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
