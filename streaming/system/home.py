"""The files of a home: one place that names each path. Nothing is read or written here."""

from pathlib import Path


def supervisor_path(home: Path, app: str) -> Path:
    """Give the path of the lease that a supervisor of `app` holds."""
    return home / "workers" / f"{app}.supervisor.lock"


def status_path(home: Path, app: str, slot: int) -> Path:
    """Give the path of a slot's status file."""
    return home / "workers" / f"{app}-{slot}.json"


def lease_path(home: Path, app: str, slot: int) -> Path:
    """Give the path of a slot's lease."""
    return home / "workers" / f"{app}-{slot}.lock"


def supervisor_status_path(home: Path, app: str) -> Path:
    """Give the path of the file in which the supervisor of `app` says how its slots do."""
    return home / "workers" / f"{app}.supervisor.json"


def wish_path(home: Path, app: str) -> Path:
    """Give the path of an app's keep-alive file."""
    return home / "workers" / f"{app}.wanted"


def log_path(home: Path, app: str) -> Path:
    """Give the path of the log of an app's detached supervisor and its workers."""
    return home / "workers" / f"{app}.log"
