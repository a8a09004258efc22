"""The store made ready for a start: its schema, its deployment, and the erasures of the home.

Each step is done elsewhere; here is only their order.
"""

from streaming.settings import Settings
from streaming.store.deployment import ensure_deployment
from streaming.store.erasure import apply_again
from streaming.store.schema import upgrade


def prepare_store(settings: Settings) -> str:
    """Bring the database to this schema and record the deployment; return its id.

    Raises `Mismatch` for a newer schema, another currency or another time zone.
    """
    # Imported late: SQLAlchemy takes longer to load than most commands need altogether.
    from streaming.store.engine import open_engine

    upgrade(settings)
    engine = open_engine(settings)
    try:
        deployment = ensure_deployment(engine, settings)
    finally:
        engine.dispose()
    apply_again(settings)
    return deployment.deployment_id
