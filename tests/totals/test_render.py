"""Now on a terminal says what the page says."""

import time
from io import StringIO

from rich.console import Console

from streaming.settings import Settings
from streaming.totals.render import render
from streaming.totals.sampler import Sampler
from tests.assets.event_store import store_events
from tests.store.rows import event

HOSTILE = "\x1b[2Jlamp"


def rendered_text(settings: Settings) -> str:
    """Draw what a new look finds, on 140 columns."""
    console = Console(width=140, file=StringIO(), force_terminal=False)
    with console.capture() as captured:
        console.print(render(Sampler(settings).sample()))
    return captured.get()


def test_it_says_what_the_dashboard_says_and_nothing_steers_the_terminal(store: Settings) -> None:
    """Today's figures, all time, the rankings, the latest; an item's escape codes are escaped."""
    now = time.time_ns() // 1000
    store_events(store, [event(1, now, 3, item=HOSTILE), event(2, now, 1000, item="book")])
    text = rendered_text(store)
    assert "1,003" in text
    assert "2,507.50 GBP" in text
    assert "1,000 of book" in text
    assert "\x1b" not in text
    assert "x1b[2Jlamp" in text
    assert "█" in text


def test_without_a_purchase_today_it_says_which_day_it_shows(store: Settings) -> None:
    """And compares it with nothing."""
    assert "today" in rendered_text(store)
    store_events(store, [event(1, 1_704_103_200_000_000)])
    text = rendered_text(store)
    assert "on 2024-01-01, the last day with purchases" in text
    assert "%  on" not in text
