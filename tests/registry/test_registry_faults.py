"""A backlog of framed records, and a registry that is killed meanwhile: stored exactly once."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.apps import PROCESSOR
from streaming.runtime.status_file import read_status
from streaming.status.collect import collect_status
from tests.deployment import Deployment
from tests.registry.producers import avro_serializer, frame_purchase, json_serializer, send
from tests.registry.server import running_registry
from tests.registry.test_registry import a_sale, in_json, reasons
from tests.support import wait_until

RECORDS = 50_000


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_backlog_refused_without_a_registry_is_stored_exactly_with_one(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Redriven while the registry is away, they wait; nothing is refused, and nothing is twice.

    A schema that comes first while it is away again is waited for too.
    """
    directory = tmp_path / "registry"
    directory.mkdir()
    with running_registry(directory) as registry:
        avro = avro_serializer(registry)
        # Long before the registry is killed, which loses what it has just taken.
        late = frame_purchase(json_serializer(registry), deployment, in_json(a_sale()))
        quantities = [1 + number % 9 for number in range(RECORDS)]
        sales = [a_sale(event_id=str(uuid.uuid4()), quantity=number) for number in quantities]
        send(deployment, *(frame_purchase(avro, deployment, sale) for sale in sales))
        deployment.process()
        deployment.analyze()
        assert reasons(deployment) == {"malformed_json": RECORDS}

        with_registry = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url})
        judged = json.loads(with_registry.succeed("dlq", "redrive", "--json", timeout=300))
        assert judged["outcomes"] == {"stored": RECORDS}
        with_registry.succeed("dlq", "redrive", "--yes", timeout=300)
        registry.kill()
        refused = with_registry.run("dlq", "redrive", "--state", "redriven")
        assert refused.returncode == 1
        assert "does not answer" in refused.stderr
        with with_registry.running("process"), with_registry.running("analyze"):
            wait_until(lambda: is_paused(with_registry), 120, "the processor does not wait")
            section = collect_status(with_registry.settings, {}).sections["registry"]
            assert [problem.code for problem in section.problems] == ["registry_down"]
            registry.start()
            wait_until(lambda: with_registry.count("analytics_event") > 0, 120, "nothing is stored")
            registry.kill()
            # By a schema that was looked up values are read without it.
            wait_until(
                lambda: with_registry.count("analytics_event") == RECORDS, 300, "not all is stored"
            )
            send(with_registry, late)
            wait_until(lambda: is_paused(with_registry), 120, "the processor does not wait again")
            registry.start()
            wait_until(
                lambda: with_registry.count("analytics_event") == RECORDS + 1, 120, "not stored"
            )
        assert reasons(with_registry) == {}
        totals = json.loads(with_registry.succeed("totals", "--json"))
        assert totals["items_sold"] == sum(quantities) + 1
        assert totals["net_revenue_micros"] == 12_500_000 * (sum(quantities) + 1)
        with_registry.succeed("verify")


def is_paused(deployment: Deployment) -> bool:
    """Return whether the processor says that it waits for the registry."""
    status = read_status(deployment.home, PROCESSOR.name, 0)
    return status is not None and "does not answer" in status.detail
