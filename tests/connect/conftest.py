"""A shop's database and a deployment, and a worker of Kafka Connect between them; of each file."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.connect.worker import CONFIGURATION, Worker, unpack_plugins
from tests.deployment import Deployment
from tests.postgres import PostgresServer
from tests.support import Broker, unique_namespace, wait_until

USER = """CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'of-the-outbox';
    GRANT SELECT ON outbox TO {role}"""
OURS = "FROM pg_replication_slots WHERE database = current_database()"
ACTIVE = f"SELECT 1 {OURS} AND active"
DROP_SLOTS = f"SELECT pg_drop_replication_slot(slot_name) {OURS}"


@pytest.fixture(scope="module")
def deployment(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment with topics."""
    made = Deployment(tmp_path_factory.mktemp("home"), broker.bootstrap_servers, unique_namespace())
    made.create_topics()
    return made


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> Iterator[psycopg.Connection]:
    """A connection to a shop's database, which has the outbox of docs/connect.

    Debezium's user has the database's name, and what docs/connectors.md says that it needs.
    """
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.conninfo(name), autocommit=True) as database:
        database.execute((CONFIGURATION / "outbox.sql").read_bytes())
        database.execute(USER.format(role=name).encode())
        yield database
        # A database cannot be dropped while it has a slot, nor a slot while it is used.
        wait_until(lambda: database.execute(ACTIVE).fetchone() is None, 60, "the slot is in use")
        database.execute(DROP_SLOTS)
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def worker(
    jars: Path,
    deployment: Deployment,
    shop: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
) -> Worker:
    """What runs both connectors between the shop's database and the deployment's topics."""
    directory = tmp_path_factory.mktemp("connect")
    unpack_plugins(directory / "plugins")
    where = conninfo_to_dict(shop.info.dsn, password=shop.info.password)
    url = f"jdbc:postgresql://{where['host']}:{where['port']}/{where['dbname']}"
    return Worker(
        jars,
        directory,
        {
            "KAFKA_BOOTSTRAP_SERVERS": deployment.bootstrap_servers,
            "SHOP_HOST": str(where["host"]),
            "SHOP_PORT": str(where["port"]),
            "SHOP_DATABASE": str(where["dbname"]),
            "SHOP_USER": str(where["dbname"]),
            "SHOP_PASSWORD": "of-the-outbox",
            "FIGURES_URL": url,
            "FIGURES_USER": str(where["user"]),
            "FIGURES_PASSWORD": str(where["password"]),
        },
        {
            "shop-outbox": {
                "slot.name": f"outbox_{where['dbname']}",
                "transforms.outbox.route.topic.replacement": deployment.topic("purchases"),
            },
            "analytics-to-postgres": {"topics": deployment.topic("analytics")},
        },
    )
