"""The table of docs/confluent.md: each test that it names is there."""

import ast
import re

import pytest

from tests.docs.pages import ROOT

NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", (ROOT / "docs" / "confluent.md").read_text())))


@pytest.mark.parametrize("named", NAMED)
def test_a_named_test_is_there(named: str) -> None:
    """It is a file or directory of tests, or a function in one."""
    file, _, function = named.partition("::")
    assert (ROOT / file).exists()
    if function:
        statements = ast.parse((ROOT / file).read_text()).body
        assert function in {each.name for each in statements if isinstance(each, ast.FunctionDef)}


def test_the_page_names_tests_of_each_of_the_four() -> None:
    """Schemas, connectors, SQL and monitoring are tables of their own, with tests in each."""
    page = (ROOT / "docs" / "confluent.md").read_text()
    _, *parts = re.split(r"^## ", page, flags=re.MULTILINE)
    assert len(parts) == 4
    assert all(len(re.findall("`tests/", part)) > 5 for part in parts)
