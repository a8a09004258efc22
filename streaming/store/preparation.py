"""The store made ready for a start: its schema, its deployment, and the erasures of the home.

Each step is done elsewhere; here is only their order.
"""

import time
from typing import Final

from streaming.settings import Settings
from streaming.store.deployment import ensure_deployment
from streaming.store.erasure import apply_again
from streaming.store.schema import UpgradeProgress, upgrade
from streaming.system.logs import get_logger

LOG_SECONDS: Final = 10.0
"""An upgrade of a large database takes minutes; its log shows that it goes on, and stays short."""


def prepare_store(settings: Settings) -> str:
    """Bring the database to this schema and record the deployment; return its id.

    Raises `Mismatch` for a newer schema, another currency or another time zone.
    """
    # Imported late: SQLAlchemy takes longer to load than most commands need altogether.
    from streaming.store.engine import open_engine

    upgrade(settings, log_progress())
    engine = open_engine(settings)
    try:
        deployment = ensure_deployment(engine, settings)
    finally:
        engine.dispose()
    apply_again(settings)
    return deployment.deployment_id


def log_progress() -> UpgradeProgress:
    """Return a function that logs how far an upgrade is, a line each ten seconds."""
    logged_at = time.monotonic()

    def log(what: str, done: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= LOG_SECONDS:
            logged_at = time.monotonic()
            get_logger().info("upgrading", step=what, done=done, total=total)

    return log
