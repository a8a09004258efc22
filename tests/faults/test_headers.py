"""A header whose name is not UTF-8, which Kafka carries and the Python client cannot read."""

import json
import uuid

import pytest

from tests.deployment import Deployment
from tests.faults.raw import send_with_header
from tests.faults.table import inject_fault

ODD = b"gr\xf6sse"


def purchase(user: str) -> bytes:
    """Return a good purchase."""
    event = {"event_id": str(uuid.uuid4()), "user": user, "item": "tea", "quantity": 2}
    return json.dumps({**event, "timestamp": "2011-03-27T10:15:00Z"}).encode()


@pytest.mark.faults
def test_a_header_name_that_is_not_utf_8_is_refused_and_all_behind_it_goes_on(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    """Nobody can say whether it is a redriven record; it is kept, told why, and can be redriven."""
    servers, value = deployment.bootstrap_servers, purchase("ada")
    deployment.more["PURCHASES_LOG_LEVEL"] = "debug"
    with inject_fault(deployment, request) as injection:
        injection.await_flow()
        send_with_header(servers, deployment.topic("purchases"), b"ada", value, ODD)
        injection.load.sent.bad.add(value)
        injection.strike(lambda: None, 60)
    ids = deployment.rows(
        "SELECT origin_topic_id || ':' || origin_partition || ':' || origin_offset"
        " FROM dead_letter WHERE reason = 'invalid_origin'"
    )
    assert len(ids) == 1
    shown = deployment.succeed("dlq", "show", str(ids[0][0]))
    assert "the headers are unreadable: one's name is not UTF-8" in shown
    deployment.succeed("dlq", "redrive", "--reason", "invalid_origin", "--yes")
    deployment.process()
    deployment.analyze()
    assert deployment.rows("""SELECT quantity FROM analytics_event WHERE "user" = 'ada'""") == [
        (2,)
    ]
    assert deployment.rows("SELECT DISTINCT state FROM dead_letter WHERE reason IS NULL") == []
    deployment.succeed("verify")


def test_others_records_with_such_a_header_in_our_topics_end_no_worker(
    deployment: Deployment,
) -> None:
    """On `analytics` it names the record and stops; among the dead letters it is passed over."""
    deployment.succeed("db", "upgrade")
    servers = deployment.bootstrap_servers
    send_with_header(servers, deployment.topic("purchases.dlq"), b"k", b"v", ODD)
    deployment.analyze()
    assert deployment.count("dead_letter") == 0
    deployment.succeed("verify")
