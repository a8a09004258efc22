"""The words of code, docs and messages: those that a reader would have to translate are refused."""

import re
from collections.abc import Iterator

from tests.docs.test_docs import ROOT

REFUSED = re.compile(
    r"\bfor ever\b|\banew\b|\ball the same\b|\bwhat came of\b|\bis told\b|\bone cannot\b"
    r"|\blooked after\b|\bmade again\b|\bthe way out\b|\"\"\"(Give|Say|Tell|Look at) "
    r"|\b(wish|wished|workshop|strays)\b",
    re.IGNORECASE,
)
EXEMPT = {"tests/docs/test_style.py", "docs/glossary.md"}


def texts() -> Iterator[tuple[str, str]]:
    """Return each file of code, docs and the dashboard: its path and its text."""
    for folder in ("streaming", "assets", "orchestration", "tests", "benchmarks", "docs", "*.md"):
        for path in sorted([*(ROOT / folder).rglob("*"), *ROOT.glob(folder)]):
            if path.suffix in {".py", ".md", ".js", ".html"}:
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def test_code_and_docs_use_the_words_of_the_field() -> None:
    """No private word or form that the style rules out; docs/glossary.md has the terms."""
    found = [
        f"{path}: {match[0]}"
        for path, text in texts()
        if path not in EXEMPT
        for match in REFUSED.finditer(text)
    ]
    assert found == []
