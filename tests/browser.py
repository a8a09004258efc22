"""Debian's Chromium, as tests and screenshots open pages in it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

TIMEOUT_MILLISECONDS = 180_000
"""Six processes of tests share two cores: a tab may have to wait for its turn for minutes."""

expect.set_options(timeout=TIMEOUT_MILLISECONDS)

Scheme = Literal["light", "dark"]


@contextmanager
def chromium(flags: Sequence[str] = ()) -> Iterator[Browser]:
    """Run Chromium, with `flags` beside those that a container needs.

    Until it ends, `asyncio.run` does not work in this thread.
    """
    program = shutil.which("chromium")
    assert program, "Debian's chromium is missing: make test installs it"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage", *flags],
            timeout=TIMEOUT_MILLISECONDS,
        )
        yield running
        running.close()


@contextmanager
def open_page(
    running: Browser,
    url: str,
    scheme: Scheme = "light",
    width: int = 1400,
    height: int = 1000,
) -> Iterator[tuple[Page, list[str], list[str]]]:
    """Open a page; yield it, its console errors, and its requests to others."""
    context = running.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    page = context.new_page()
    errors: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((url, "data:")) else foreign.append(r.url),
    )
    page.goto(url)
    yield page, errors, foreign
    context.close()


@contextmanager
def browser(
    url: str,
    scheme: Scheme = "light",
    width: int = 1400,
    height: int = 1000,
    flags: Sequence[str] = (),
) -> Iterator[tuple[Page, list[str], list[str]]]:
    """Open a page in a Chromium of its own, as `chromium` and `open_page` do."""
    with chromium(flags) as running, open_page(running, url, scheme, width, height) as opened:
        yield opened
