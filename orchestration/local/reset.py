"""`reset`: deletes what a demonstration left in a home, so that the next one starts from nothing.

Homes without a demonstration are refused: their events may be a shop's. Kafka's jars and `.env`
stay.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streaming.broker.embedded import broker_status
from streaming.errors import PurchasesError
from streaming.settings import DOTENV, Settings
from streaming.store.connection import read_store, store_exists
from streaming.store.live_totals import live_figures
from streaming.system.home import Home
from streaming.system.lease import holder

KEPT: Final = frozenset({DOTENV, "broker"})
"""Names in a home that are not deleted as a whole; of the broker only the jars stay."""


@dataclass(frozen=True)
class Leftovers:
    """What a demonstration left: stored events, backups, and the paths that are to be deleted."""

    events: int
    backups: int
    paths: tuple[Path, ...]


def find_leftovers(settings: Settings) -> Leftovers:
    """Return what there is to delete.

    Raises `PurchasesError` for a home in which no demonstration ran, in which something runs, or
    whose broker is a cluster of others.
    """
    home = Home(settings.home)
    if not home.feeder_lease.exists() or not settings.embedded_broker:
        raise PurchasesError(
            f"No demonstration ran in {settings.home} with the embedded broker, so it may hold what"
            " cannot be generated again. docs/how-to/reset-and-uninstall.md says how to delete it."
        )
    leases = (home.up_lease, *home.list_supervisor_leases(), *home.list_worker_leases())
    if any(map(holder, leases)) or broker_status(settings.home).pid:
        raise PurchasesError(f"Something runs in {settings.home}; end it with `purchases down`.")
    events = 0
    if store_exists(settings):
        with read_store(settings) as store:
            events = live_figures(store).events
    jars = home.jars.name
    paths = [path for path in settings.home.iterdir() if path.name not in KEPT]
    if home.broker.is_dir():
        paths += [path for path in home.broker.iterdir() if path.name != jars]
    return Leftovers(events, len(list(home.backups.glob("*.db"))), tuple(sorted(paths)))


def delete(leftovers: Leftovers) -> None:
    """Delete the paths that are left over; a link is deleted, and not what it names."""
    for path in leftovers.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
