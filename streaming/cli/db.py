"""`db`: the database's schema, backups, and rebuilding its figures.

The work is done in `store.schema`, `store.backup`, `store.restore`, `store.rebuild` and
`offsets.time_zone`.
"""

import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streaming.store.backup import Progress
    from streaming.store.schema import UpgradeProgress

app = typer.Typer(
    name="db",
    help="The database: schema, backups, and figures computed again from the events.",
    no_args_is_help=True,
)

columns = typer.Typer(
    name="columns",
    help="Copies of past days in Parquet files, which builds read instead of rows.",
    no_args_is_help=True,
)
app.add_typer(columns, short_help="Copies of past days in Parquet files.")


@app.command(short_help="Bring the database to this version's schema.")
def upgrade(as_json: AsJson = False) -> None:
    """Create the database, or bring an older one to this version's schema after a backup.

    Example: purchases db upgrade
    """
    from streaming.settings import load_settings
    from streaming.store.connection import SCHEMA_VERSION, sentence_start
    from streaming.store.schema import upgrade as upgrade_store

    settings = load_settings()
    with _upgrade_progress() as progress:
        kept = upgrade_store(settings, progress)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "kept": _path_text(kept)})
        return
    print_text(f"OK: {sentence_start(settings.database)} has schema version {SCHEMA_VERSION}.")
    if kept is not None:
        print_text(f"The older database is kept in {kept}.")


@app.command(short_help="Copy the database, and check the copy.")
def backup(
    path: Annotated[
        Path | None, typer.Argument(help="A new file, or a directory; default: backups/ at home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database, also while the stream runs, and check the copy.

    Example: purchases db backup /mnt/safe/purchases-monday.db
    """
    from streaming.settings import load_settings
    from streaming.store.backup import backup as make_backup

    with _progress("Copying") as progress:
        copy = make_backup(load_settings(), path, progress)
    if as_json:
        print_json({"backup": str(copy)})
    else:
        print_text(f"OK: the backup is {copy}.")


@app.command(short_help="Put a backup in place of the database.")
def restore(
    path: Annotated[Path, typer.Argument(help="The backup.")], as_json: AsJson = False
) -> None:
    """Put a backup in the place of the database, which is kept; the workers must be stopped.

    What came after the backup is read from Kafka again, as far back as it still holds it. Who was
    erased since then is erased again.

    Example: purchases db restore .purchases/backups/purchases-20260301T101500.000000Z-backup.db
    """
    from streaming.settings import load_settings
    from streaming.store import restore

    settings = load_settings()
    with _progress("Restoring") as progress:
        done = restore.restore(settings, path, progress)
    if as_json:
        again = [erasure.id for erasure in done.erasures]
        print_json({"restored": str(path), "kept": _path_text(done.kept), "erased_again": again})
        return
    print_text(f"OK: {settings.database_path} is restored from {path}.")
    if done.kept is not None:
        print_text(f"What was there is kept in {done.kept}.")
    for erasure in done.erasures:
        print_text(
            f"Erased again, because the backup is older: {erasure.events:,} events of the erasure"
            f" {erasure.id}."
        )


@app.command(short_help="Compute the figures again from the events.")
def rebuild(
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Cut the days in this time zone from now on."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute live totals, item totals and day ledger again from the events, after a backup.

    The stream may go on meanwhile; the batch half then builds its tables again. With --timezone
    everything but the broker must be stopped, on all hosts.

    Example: purchases db rebuild --timezone Europe/Berlin
    """
    from streaming.offsets.time_zone import change_time_zone
    from streaming.settings import PREFIX, load_settings
    from streaming.store.rebuild import rebuild as rebuild_store

    settings = load_settings()
    with _progress("Backing up") as progress:
        if timezone is None:
            done = rebuild_store(settings, progress)
        else:
            done = change_time_zone(settings, timezone, progress)
    if as_json:
        print_json({**asdict(done), "backup": _path_text(done.backup), "timezone": timezone})
        return
    if timezone is None:
        print_text(
            f"OK: rebuilt from {done.events:,} events."
            f" {done.changed_days:,} days and {done.changed_items:,} items had other figures."
        )
    else:
        print_text(
            f"OK: {done.events:,} events are cut in days of {timezone};"
            f" {done.changed_days:,} days have other figures."
        )
        print_text(f"Set {PREFIX}TIMEZONE={timezone} on all hosts, and start again.")
    if done.backup is not None:
        print_text(f"The database as it was is kept in {done.backup}.")
    if done.forgotten_builds:
        print_text(f"{done.forgotten_builds:,} partitions of the tables are to be built again.")


@app.command(short_help="Copy all to PostgreSQL, or back to a file.")
def move(
    to: Annotated[
        str, typer.Option(metavar="URL", help="The database to fill, as PURCHASES_DATABASE_URL.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the database from a file of SQLite to PostgreSQL or back, and prove the copy.

    The workers must be stopped, on all hosts. The target must be empty, and this database stays as
    it is. If it is ended in between, the same command goes on.

    Example: purchases db move --to postgresql+psycopg://purchases@db.example.com/purchases
    """
    from streaming.settings import PREFIX, load_settings
    from streaming.store.connection import sentence_start
    from streaming.store.move import move as move_store

    settings = load_settings()
    with _upgrade_progress() as progress:
        done = move_store(settings, to, progress)
    if as_json:
        print_json(asdict(done))
        return
    resumed = ", going on from an earlier try" if done.resumed else ""
    print_text(
        f"OK: {sum(done.tables.values()):,} rows of {len(done.tables)} tables, of them"
        f" {done.tables['analytics_event']:,} events, are in {done.target}{resumed}."
        " Each table was compared, and is equal."
    )
    print_text(
        f"Set {PREFIX}DATABASE_URL to it on all hosts, start again, and prove it against Kafka:"
        " `purchases verify`."
    )
    print_text(f"{sentence_start(settings.database)} stays as it is. Delete it then.")


def _path_text(path: Path | None) -> str | None:
    return None if path is None else str(path)


@columns.command("rebuild", short_help="Throw the column files away; they come again.")
def rebuild_columns(as_json: AsJson = False) -> None:
    """Throw the column files away: builds read the database's rows until the next seal.

    Dagster seals all days again within the hour. No figure changes, and the stream may go on. Files
    that are the only copy of events stay, and are read again if they were put back. Those that
    a backup may need are kept beside it.

    Example: purchases db columns rebuild
    """
    from streaming.settings import load_settings
    from streaming.store.archive import count_archived
    from streaming.store.column_files import forget_all
    from streaming.store.connection import write_store
    from streaming.store.kept_columns import remove_unlisted

    settings = load_settings()
    with write_store(settings) as store:
        forgotten, archived = forget_all(store), count_archived(store)
    removed = remove_unlisted(settings)
    if as_json:
        print_json({"forgotten": forgotten, "removed": removed, "archived_events": archived})
        return
    print_text(
        f"OK: {forgotten:,} column files forgotten, {removed:,} removed."
        " Dagster's seal_schedule writes them again within the hour."
    )
    if archived:
        print_text(f"Those with the only copy of {archived:,} events stay.")


@contextmanager
def _progress(what: str) -> "Iterator[Progress]":
    """Show on stderr, if it is a terminal, pages done and pages in all."""
    with _bar() as show:
        yield lambda done, total: show(what, done, total)


@contextmanager
def _upgrade_progress() -> "Iterator[UpgradeProgress]":
    """Show on stderr how far the upgrade is: a bar, or off a terminal a line each ten seconds."""
    from streaming.store.preparation import log_progress

    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield log_progress()


@contextmanager
def _bar() -> "Iterator[UpgradeProgress]":
    from rich.progress import Progress as Bar

    from streaming.cli.console import PrintableConsole

    console = PrintableConsole(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )
