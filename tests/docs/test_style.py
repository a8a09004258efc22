"""The words of code, docs and messages: those that a reader would have to translate are refused."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.docs.pages import ROOT

REFUSED = re.compile(
    r"\bfor ever\b|\banew\b|\ball the same\b|\bwhat came of\b|\bis told\b|\bone cannot\b"
    r"|\blooked after\b|\bmade again\b|\"\"\"(Give|Say|Tell|Look at) |\bwished\b",
    re.IGNORECASE,
)
# Words that have another, usual meaning, or stand in a name that is a contract: nobody but a reader
# sees which is meant.
EVERYDAY: Final = re.compile(
    r"asked for|begun|board|connection|counted|detached|forgotten|found|give up|hold|letter|look"
    r"|memory|moment|move|page|parity|parts|place|plain|question|reading|recorded|rejection|repeat"
    r"|restarts|rhythm|said|sent|shown|source|standing|taken|told|truth|until|upkeep|verdict"
    r"|waiting|wanted|way|written"
)
# A name says what it holds, and a position in Kafka is an offset, a position or a topic partition.
VAGUE: Final = re.compile(
    r"\b(?<!not )(?<!dead )(?<!in )(?<!decimal )(?:found|known|wanted|told|places?|letters?)\b"
)
# Nobody sees from `_copied` whether something is copied, or was: a verb or a noun says it.
PARTICIPLE: Final = re.compile(r"_*[a-z]+(?<!e)ed")
WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
GLOSSARY: Final = "docs/glossary.md"
EXEMPT = {"tests/docs/test_style.py", GLOSSARY}


def texts() -> Iterator[tuple[str, str]]:
    """Return each file of code, docs and the dashboard: its path and its text."""
    for folder in ("streaming", "assets", "orchestration", "tests", "benchmarks", "docs", "*.md"):
        for path in sorted([*(ROOT / folder).rglob("*"), *ROOT.glob(folder)]):
            if path.suffix in {".py", ".md", ".js", ".html"}:
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def find_refused(pattern: re.Pattern[str]) -> list[str]:
    """Return each match outside of the exempt files, with its path."""
    return [
        f"{path}: {match[0]}"
        for path, text in texts()
        if path not in EXEMPT
        for match in pattern.finditer(text)
    ]


def replaced_words() -> set[str]:
    """Return the glossary's column "not", but for what has a condition in brackets."""
    rows = [line for line in (ROOT / GLOSSARY).read_text().splitlines() if line.startswith("| ")]
    cells = [row.strip("|").rpartition("|")[2].strip() for row in rows[1:]]
    words = {word for cell in cells for word in re.split(r", (?![^(]*\))", cell)}
    return {word for word in words if word and "(" not in word}


def test_code_and_docs_use_the_words_of_the_field() -> None:
    """No private word or form that the style rules out; docs/glossary.md has the terms."""
    assert find_refused(REFUSED) == []


def test_no_word_that_a_term_of_the_glossary_replaces_is_used() -> None:
    """Nor as a part of a name; a word with another meaning is listed, and only as long as it is."""
    words = replaced_words()
    assert words >= set(EVERYDAY.pattern.split("|"))
    refused = "|".join(re.escape(word) for word in words if not EVERYDAY.fullmatch(word))
    assert find_refused(re.compile(rf"(?<![a-z])(?:{refused})s?(?![a-z])", re.IGNORECASE)) == []


def names(code: str) -> set[str]:
    """Return all names in Python, but for those of tests, which are sentences."""
    fields = ("id", "attr", "arg", "name", "asname")
    values = {getattr(node, field, None) for node in ast.walk(ast.parse(code)) for field in fields}
    return {value for value in values if isinstance(value, str) and not value.startswith("test_")}


def test_names_say_what_they_hold() -> None:
    """No name is `found` or `place`, or has such a word as a part."""
    vague = [
        f"{path}: {name}"
        for path, text in texts()
        if path.endswith(".py") and path not in EXEMPT
        for name in names(text)
        if VAGUE.search(" ".join(WORD.findall(name)).lower())
    ]
    assert vague == []


def functions(code: str) -> set[str]:
    """Return the names of all functions, but for fixtures, which are what they provide."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    return {
        node.name
        for node in nodes
        if not any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def test_no_function_is_named_by_a_participle_alone() -> None:
    """It is named by what it does, or by what it returns."""
    participles = [
        f"{path}: {name}"
        for path, text in texts()
        if path.endswith(".py")
        for name in functions(text)
        if PARTICIPLE.fullmatch(name)
    ]
    assert participles == []
