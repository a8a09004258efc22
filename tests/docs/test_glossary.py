"""The glossary is a list that one can look a word up in."""

from pathlib import Path

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_each_term_of_the_glossary_has_one_meaning_in_alphabetical_order() -> None:
    """A term that stands twice, or out of order, is found by nobody."""
    lines = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    terms = [row[0].lower() for row in rows]
    assert all(len(row) == 3 and row[1].endswith(".") for row in rows)
    assert terms == sorted(set(terms))
