"""docs/benchmarks.md and docs/scale.md against what was measured."""

from benchmarks.results import page, read_results
from benchmarks.scale import SCALE, scale_page
from tests.docs.pages import ROOT


def test_both_pages_have_the_figures_that_were_measured() -> None:
    """So that no figure of one page, nor what is worked out from it, differs from the other's."""
    results = read_results()
    assert (ROOT / "docs" / "benchmarks.md").read_text() == page(results)
    assert SCALE.read_text() == scale_page(results)
