"""Checks of the column files, inside the caller's snapshot; each returns a `Finding`.

How a problem is found is in `assets.builds.column_proof`.
"""

from collections.abc import Mapping

from assets.builds.column_proof import find_problems
from assets.checks.finding import EXAMPLES, CheckContext, Finding
from streaming.settings import Settings
from streaming.store.column_files import read_column_files
from streaming.store.connection import StoreConnection
from streaming.system.home import Home


def check_files(
    store: StoreConnection,
    settings: Settings,
    found: Mapping[str, str] | None = None,
    *,
    contents: bool = False,
) -> Finding:
    """Compare the files with their list and the ledger; with `contents` by their digests.

    `found` are problems of days that were found before, by day.
    """
    directory = Home(settings.home).columns
    problems = find_problems(store, directory, settings.zone, contents=contents)
    files = sum(len(of_day) for of_day in read_column_files(store).values())
    sentences = [*(found or {}).values(), *(f"{name}: {why}." for name, why in problems.items())]
    return Finding(
        passed=not sentences,
        description=f"{files - len(problems)} column files are sound, {len(problems)} are not."
        + (" Run `purchases db columns rebuild`." if sentences else ""),
        numbers={"sound": files - len(problems), "unsound": len(problems)},
        examples=tuple(sentences[:EXAMPLES]),
    )


def check_unchanged_files(store: StoreConnection, context: CheckContext) -> Finding:
    """Compare the digest of each column file with the one that was sealed."""
    return check_files(store, context.settings, contents=True)
