"""How tabs follow the events: many share one stream while one is seen, and a slow one skips."""

import pytest
from playwright.sync_api import Page, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from streaming.dashboard.access import read_access
from streaming.dashboard.app import Extension, build_dashboard
from streaming.settings import Settings
from tests.browser import browser
from tests.dashboard.server import serve_app
from tests.support import wait_until

HIDE = """seen => {
  Object.defineProperty(document, "visibilityState", { value: seen, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Chromium without a screen takes every tab for a seen one."""

DRAWN_UNTIL_CURRENT = """async () => {
  let drawn = 0;
  const asOf = document.getElementById("as-of");
  const shownSecond = () => Number(asOf.textContent.match(/\\d:\\d\\d:(\\d\\d)/)[1]);
  const before = shownSecond();
  new MutationObserver((changes) => (drawn += changes.length)).observe(asOf, { childList: true });
  const end = performance.now() + 6_000;
  while (performance.now() < end);
  while ((shownSecond() - before + 60) % 60 < 4) await new Promise(requestAnimationFrame);
  return drawn;
}"""
"""For 6 s the tab does nothing else, and two events a second come. Then it draws again."""


class CountedStreams:
    """An application of which is counted how many streams of events it sends at the moment."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_stream = scope.get("path") == "/events"
        self.open += is_stream
        try:
            await self._app(scope, receive, send)
        finally:
            self.open -= is_stream


@pytest.mark.parametrize("count", [4, pytest.param(30, marks=pytest.mark.faults)])
def test_tabs_share_one_stream_which_ends_when_none_is_seen(store: Settings, count: int) -> None:
    """Browsers allow six connections to a host: with one stream each, the seventh never loads."""
    _, app = build_dashboard(store, read_access(store), Extension())
    counted = CountedStreams(app)
    with serve_app(counted) as base, browser(base) as (page, errors, _):
        tabs = [page, *(page.context.new_page() for _ in range(count - 1))]
        for tab in tabs[1:]:
            tab.goto(base, wait_until="commit")
        for tab in tabs:
            expect(tab.locator("#as-of")).to_contain_text("as of")
        assert counted.open == 1
        see(tabs, "hidden")
        wait_until(lambda: counted.open == 0, 30, "the stream goes on")
        expect(page.locator("body")).not_to_have_class("stale")
        see(tabs[:2], "visible")
        tabs[0].close()
        wait_until(lambda: counted.open == 1, 30, "there is no stream")
        tabs[1].evaluate("document.getElementById('as-of').textContent = ''")
        expect(tabs[1].locator("#as-of")).to_contain_text("as of")
        assert errors == []


def see(tabs: list[Page], state: str) -> None:
    """Make tabs think that they are seen, or not."""
    for tab in tabs:
        tab.evaluate(HIDE, state)


@pytest.mark.faults
def test_a_slow_tab_draws_the_newest_events_and_skips_the_others(quiet_dashboard: str) -> None:
    """Drawn one by one they would queue up, and the figures that it shows get older and older."""
    with browser(quiet_dashboard) as (page, errors, _):
        expect(page.locator("#as-of")).to_contain_text("as of")
        assert page.evaluate(DRAWN_UNTIL_CURRENT) <= 4
        assert errors == []
