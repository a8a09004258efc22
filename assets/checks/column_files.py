"""Checks of the column files, inside the caller's snapshot; each returns a `Finding`.

How a problem is found is in `assets.builds.column_proof`.
"""

from collections.abc import Mapping

from assets.builds.column_proof import find_problems
from assets.checks.finding import EXAMPLES, CheckContext, Finding
from streaming.errors import Unavailable
from streaming.settings import Settings
from streaming.store.column_files import read_column_files
from streaming.store.column_store import has_column_files, open_column_store
from streaming.store.connection import StoreConnection, read_store


def check_files(
    store: StoreConnection,
    settings: Settings,
    earlier: Mapping[str, str] | None = None,
    *,
    contents: bool = False,
) -> Finding:
    """Compare the files with their list and the ledger; with `contents` by their digests.

    `earlier` are problems of days that were seen before, by day.
    """
    if not has_column_files(settings):
        return Finding(
            passed=True,
            description="None: of several hosts each reads rows, until PURCHASES_COLUMNS_URL names"
            " a bucket.",
        )
    try:
        problems = find_problems(
            store, open_column_store(settings), settings.zone, contents=contents
        )
    except Unavailable as error:
        return Finding(passed=False, description=f"{error} Builds read the rows meanwhile.")
    # This snapshot is old by now: a correction or a join may have removed files that it lists.
    with read_store(settings) as now:
        listed = _list_names(store) & _list_names(now)
    problems = {name: why for name, why in problems.items() if name in listed}
    files = len(listed)
    sentences = [*(earlier or {}).values(), *(f"{name}: {why}." for name, why in problems.items())]
    return Finding(
        passed=not sentences,
        description=f"{files - len(problems)} column files are sound, {len(problems)} are not."
        + (" Run `purchases db columns rebuild`." if sentences else ""),
        numbers={"sound": files - len(problems), "unsound": len(problems)},
        examples=tuple(sentences[:EXAMPLES]),
    )


def _list_names(store: StoreConnection) -> set[str]:
    return {file.name for of_day in read_column_files(store).values() for file in of_day}


def check_unchanged_files(store: StoreConnection, context: CheckContext) -> Finding:
    """Compare the digest of each column file with the one that was sealed."""
    return check_files(store, context.settings, contents=True)
