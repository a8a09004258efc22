"""PostgreSQL as the tests use it."""

import psycopg


def test_a_database_is_empty_and_of_its_own(postgres: str) -> None:
    """A test gets a database on a real server that holds no table."""
    with psycopg.connect(postgres) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()
        assert tables == (0,)
        assert connection.info.server_version >= 15_00_00
