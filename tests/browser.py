"""Debian's Chromium, as tests and screenshots open pages in it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Page, expect, sync_playwright

expect.set_options(timeout=30_000)

Scheme = Literal["light", "dark"]


@contextmanager
def browser(
    url: str,
    scheme: Scheme = "light",
    width: int = 1400,
    height: int = 1000,
    flags: Sequence[str] = (),
) -> Iterator[tuple[Page, list[str], list[str]]]:
    """Open a page in Chromium; yield it, its console errors, and its requests to others.

    Chromium gets `flags` beside those that a container needs.
    """
    chromium = shutil.which("chromium")
    assert chromium, "Debian's chromium is missing: make test installs it"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-dev-shm-usage", *flags],
        )
        page = opened.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}
        ).new_page()
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
        opened.close()
