"""The check of the backups: the newest is restored beside the database, and counted.

How a backup is made and restored is in `streaming.store`.
"""

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from assets.checks.finding import CheckContext, Finding
from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.backup import needed_bytes, newest_backup
from streaming.store.column_store import ARCHIVE_END
from streaming.store.connection import StoreConnection, read_store
from streaming.store.live_totals import live_figures
from streaming.store.restore import restore
from streaming.system.disk_space import free_bytes
from streaming.system.home import Home

OLD_HOURS: Final = 48.0
"""A nightly backup that failed twice."""


def check_restorable(_connection: StoreConnection, context: CheckContext) -> Finding:
    """Restore the newest backup into a home of its own, and count its events again."""
    settings = context.settings
    if not isinstance(settings.database, Path):
        return Finding(
            passed=True,
            description=f"Backups of {settings.database} are made by pg_dump, or by whoever runs"
            " the server; nothing is checked here.",
        )
    newest = newest_backup(settings)
    if newest is None:
        return Finding(
            passed=not settings.backup_keep,
            description="There is no backup yet.",
            is_warning=True,
        )
    # What a rehearsal left that was killed: it takes the room of this one.
    shutil.rmtree(Home(settings.home).rehearsal, ignore_errors=True)
    free, needed = free_bytes(newest.parent), needed_bytes(newest.stat().st_size)
    if free < needed:
        return Finding(
            passed=False,
            description=f"{newest.name} was not rehearsed: too little free disk."
            f" {newest.parent} has {free // 2**20:,} MiB left, and needs {needed // 2**20:,} MiB.",
            is_warning=True,
        )
    try:
        counted, recorded = _rehearse(settings, newest)
    except PurchasesError as error:
        return Finding(passed=False, description=f"{newest.name} cannot be restored: {error}")
    made = datetime.fromtimestamp(newest.stat().st_mtime, UTC)
    hours = context.now / 3.6e9 - made.timestamp() / 3600
    is_old = bool(settings.backup_keep) and hours > OLD_HOURS
    return Finding(
        passed=counted == recorded and not is_old,
        description=f"{newest.name}, {hours:.0f} h old, was restored: {counted} of its"
        f" {recorded} events are there.",
        numbers={"events": counted, "hours": hours},
        is_warning=counted == recorded,
    )


def _rehearse(settings: Settings, backup: Path) -> tuple[int, int]:
    """Restore a backup as `purchases db restore` does; return its events, counted and recorded."""
    scratch = Home(settings.home).rehearsal
    scratch.mkdir(parents=True)
    try:
        erasures = Home(settings.home).erasures
        if erasures.exists():
            # A restore erases again who was erased in its home.
            shutil.copy2(erasures, Home(scratch).erasures)
        # Neither the deployment's server nor its bucket: a rehearsal changes its own home only.
        copy = settings.model_copy(
            update={"home": scratch, "database_url": None, "columns_url": None}
        )
        _link_archive(settings, scratch)
        restore(copy, backup)
        with read_store(copy) as store:
            counted = store.execute(
                "SELECT (SELECT count(*) FROM analytics_event)"
                " + (SELECT count(*) FROM archived_event)"
            ).fetchone()[0]
            return int(counted), live_figures(store).events
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link_archive(settings: Settings, scratch: Path) -> None:
    """Put second names of the only copies of events into a home, which may remove its own."""
    home = Home(settings.home)
    for directory in (home.columns, home.kept_columns):
        for file in directory.rglob(f"*{ARCHIVE_END}"):
            link = Home(scratch).columns / file.relative_to(directory)
            link.parent.mkdir(parents=True, exist_ok=True)
            # A seal may move or remove it meanwhile.
            with suppress(FileNotFoundError):
                try:
                    link.hardlink_to(file)
                except OSError:
                    # It lies on another disk, or the disk has no second names.
                    shutil.copy2(file, link)
