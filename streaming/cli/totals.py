"""`totals`: the present figures, as text, as JSON, or refreshed in place.

What is printed is made in `totals.report`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.cli.watch import refresh

if TYPE_CHECKING:
    from streaming.settings import Settings
    from streaming.totals.report import Report

Watch = Annotated[
    bool,
    typer.Option("--watch", help="Show what the dashboard's Now shows, refreshed every second."),
]


def totals(as_json: AsJson = False, watch: Watch = False) -> None:
    """Print what was sold: items, revenue, the most popular product, customers, orders.

    Orders and customers are counted from the events, everything else is always at hand. Not yet
    counted are records that are not in these figures, and the age of the oldest of them.

    Example: purchases totals --json
    """
    from streaming.settings import load_settings

    settings = load_settings()
    if watch:
        _watch(settings, as_json=as_json)
    else:
        _print_once(settings, as_json=as_json)


def _print_once(settings: "Settings", *, as_json: bool) -> None:
    from streaming.totals.report import read_report

    report, unknown = read_report(settings, distinct=True)
    _print(report, unknown, as_json=as_json)
    if as_json and unknown:
        print_text(f"The lag is unknown: {unknown}", err=True)


def _print(report: "Report", unknown: str, *, as_json: bool) -> None:
    from streaming.totals.report import text_lines

    if as_json:
        print_json(report)
    else:
        print_text(text_lines(report, unknown))


def _watch(settings: "Settings", *, as_json: bool) -> None:
    """Show on a terminal what the dashboard's Now shows, else the totals without the counts."""
    from streaming.totals.render import render
    from streaming.totals.report import read_report
    from streaming.totals.sampler import Sampler

    sampler = Sampler(settings)

    def print_totals() -> None:
        report, unknown = read_report(settings, distinct=False)
        _print(report, unknown, as_json=as_json)

    refresh(lambda: render(sampler.sample()), print_totals, as_json=as_json)
