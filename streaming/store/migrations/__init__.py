"""The one history of schema migrations, run by Alembic; how and when is `store/migrate.py`'s."""
