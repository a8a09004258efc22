"""Column files that no row names any more: removed, or set aside if they have whole rows.

Such a file was the only copy of events, and a backup may need it. One that names somebody who was
erased is kept for no backup. Which files a row names is in `column_files`.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.archive import list_archive
from streaming.store.column_store import ARCHIVE_END, DirectoryStore, open_column_store
from streaming.store.connection import StoreConnection, schema_version, write_store
from streaming.store.pseudonyms import KINDS, Pseudonyms, read_erasure_list
from streaming.store.sqlite import connect, store_errors
from streaming.system.files import replace_file, sync_directory
from streaming.system.home import Home

ARCHIVE_VERSION: Final = 15
"""The first schema version in which events may be in column files only."""
KEPT_SECONDS: Final = 7 * 86_400
"""How long a file is kept that no backup of the home needs: one elsewhere may, and so may the
database, if the settings named another one for a while."""


def remove_unlisted(settings: Settings) -> int:
    """Remove the column files that no row names; return how many.

    Those with whole rows are set aside instead, see `prune_kept`. Raises what `write_store` and
    `ColumnStore` do.
    """
    home, column_store = Home(settings.home), open_column_store(settings)
    # Before the write lock, because a bucket may take its time.
    there = column_store.sizes()
    # Nobody can name a file meanwhile: a seal looks for its files in the transaction that does.
    with write_store(settings) as store:
        unlisted = there.keys() - _list_names(store)
        kept = _drop_files_of_erased(
            home, {name for name in unlisted if name.endswith(ARCHIVE_END)}
        )
        for name in kept:
            _move(home.columns / name, home.kept_columns / name)
        column_store.remove(unlisted - kept)
    prune_kept(home)
    return len(unlisted - kept)


def prune_kept(home: Home) -> None:
    """Remove the files that were set aside a week ago, and that no backup of the home needs.

    If a backup cannot be read, it may need any of them.
    """
    kept, before = DirectoryStore(home.kept_columns), time.time() - KEPT_SECONDS
    old = {name for name in kept.sizes() if _set_aside_at(home.kept_columns / name) < before}
    if old and (needed := _needed_by_backups(home.backups)) is not None:
        kept.remove(old - needed)


def put_back(home: Home, names: Iterable[str]) -> None:
    """Put files back that were set aside, as far as they are there."""
    for name in names:
        if (home.kept_columns / name).exists():
            _move(home.kept_columns / name, home.columns / name)


def destroy_named(store: StoreConnection, home: Home, pseudonyms: Pseudonyms) -> int:
    """Remove the files with whole rows that name who was erased; return how many.

    In the transaction of an erasure, before it commits: who is killed has it to do again. Files
    that a row names have no such name then, or they would have been brought back.
    """
    listed, destroyed = _list_names(store), 0
    for directory in (home.columns, home.kept_columns):
        for path in sorted(directory.rglob(f"*{ARCHIVE_END}")):
            is_listed = path.relative_to(directory).as_posix() in listed
            if not is_listed and _names_erased(path, pseudonyms):
                path.unlink(missing_ok=True)
                sync_directory(path.parent)
                destroyed += 1
    return destroyed


def _list_names(store: StoreConnection) -> set[str]:
    return {name for (name,) in store.execute("SELECT name FROM column_file")}


def _drop_files_of_erased(home: Home, names: set[str]) -> set[str]:
    """Return the files that do not name who was erased."""
    # Read under the write lock, so that no erasure comes in between.
    erasures = read_erasure_list(home.erasures) if names else None
    if erasures is None:
        return names
    pseudonyms = erasures.all_pseudonyms()
    return {name for name in names if not _names_erased(home.columns / name, pseudonyms)}


def _needed_by_backups(backups: Path) -> set[str] | None:
    """Return the files that are the only copy of events of a backup; None if one is unreadable."""
    needed = set[str]()
    for path in backups.glob("*.db"):
        try:
            with closing(connect(path, read_only=True)) as content, store_errors(path):
                # An older schema has no archive.
                if schema_version(content, path) >= ARCHIVE_VERSION:
                    needed |= {file.name for file in list_archive(content)}
        except PurchasesError:
            return None
    return needed


def _names_erased(path: Path, pseudonyms: Pseudonyms) -> bool:
    """Return whether a file with whole rows has an erased user or order, or cannot be read."""
    import polars as pl

    try:
        names = pl.read_parquet(path, columns=list(KINDS))
    except FileNotFoundError:
        return False
    except pl.exceptions.PolarsError:
        # It serves no backup, and may hold the name.
        return True
    return any(
        pseudonyms.of_erased(kind, name) is not None
        for column, kind in KINDS.items()
        for name in names[column].drop_nulls().unique()
    )


def _set_aside_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _move(source: Path, target: Path) -> None:
    """Move a file, also to another disk; somebody else may have moved or removed it before."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Its time is then that of the move.
    with suppress(FileNotFoundError):
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with source.open("rb") as content, replace_file(target, durable=True) as copy:
                shutil.copyfileobj(content, copy)
            source.unlink()
        os.utime(target)
    sync_directory(target.parent)
