"""One of three brokers killed under a load, with SASL_SSL and permissions, into PostgreSQL."""

from dataclasses import replace
from pathlib import Path

from streaming.store.schema import upgrade
from tests.cluster.brokers import SecuredCluster
from tests.deployment import Deployment
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.postgres import PostgresServer
from tests.support import wait_until


def test_a_killed_broker_costs_nothing(
    cluster: SecuredCluster, server: PostgresServer, tmp_path: Path
) -> None:
    """Its partitions are led by others at once, and each purchase counts once."""
    home = tmp_path / "home"
    home.mkdir()
    store = {"PURCHASES_DATABASE_URL": server.url(server.create_database())}
    seen = Deployment(home, cluster.access.plaintext, "c", store)
    cluster.grant_roles(seen.settings)
    operator, processor, consumer = (
        replace(seen, more={**store, "PURCHASES_KAFKA_CONFIG": cluster.file(user)})
        for user in ("operator", "processor", "consumer")
    )
    operator.create_topics()
    upgrade(seen.settings)
    with (
        processor.running("process", "--slots", "2"),
        consumer.running("analyze", "--slots", "2"),
    ):
        with Load(seen, 500, options=cluster.producer_options) as load:
            wait_until(lambda: seen.count("analytics_event") > 1_000, 90, "nothing is stored")
            node = cluster.brokers.leader_of(seen.topic("purchases"))
            node.kill()
            sent = load.count
            wait_until(lambda: seen.count("analytics_event") > sent, 60, "it did not go on")
            node.start()
            wait_until(cluster.brokers.serves, 60, "the broker does not come back")
        wait_until_quiet(seen, load.sent, 90)
        operator.succeed("verify")
    require_exactly_once(seen, load.sent)
