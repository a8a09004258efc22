"""Each file that Confluent Cloud hands out, from no topic to figures that are verified."""

import shutil
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from streaming.kafka.acls import ROLES, rules_of
from streaming.kafka.topic_options import read_options
from tests.deployment import Deployment
from tests.kafka.client_files import FORMS
from tests.kafka.secured import PASSWORD, Secured

RECORDS = 50
SHORT = {"python", "java-oauth", "config.ini"}
"""One of each login, and of each kind of file; the others run with the long tests."""


@pytest.fixture
def cloud(secured: Secured, tmp_path: Path, namespace: str, form: str) -> Deployment:
    """A deployment by a file of this form, with the permissions of all roles."""
    more = {"PURCHASES_KAFKA_CONFIG": str(secured.file(form, "operator"))}
    deployment = Deployment(tmp_path, secured.secured, namespace, more)
    rules = [rule for role in ROLES for rule in rules_of(role, deployment.settings)]
    secured.grant("operator", dict.fromkeys(rules))
    return deployment


@pytest.mark.parametrize(
    "form",
    [f if f in SHORT else pytest.param(f, marks=pytest.mark.faults) for f in FORMS],
)
def test_a_file_works_from_nothing_to_verified_figures(cloud: Deployment, form: str) -> None:
    """Topics are created, purchases sent, processed and stored, and nothing differs."""
    created = cloud.run("topics", "create")
    assert created.returncode == 0, created.stderr
    sent = cloud.run("produce", "--rate", "max", "--count", str(RECORDS), "--seed", "1")
    assert sent.returncode == 0, sent.stderr
    cloud.process()
    cloud.analyze()
    assert cloud.count("analytics_event") == RECORDS
    verified = cloud.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    for done in (created, sent, verified):
        assert PASSWORD not in done.stdout + done.stderr, form


@pytest.mark.skipif(shutil.which("javac") is None, reason="the cluster's policy is Java")
@pytest.mark.parametrize("form", ["python"])
def test_a_topic_gets_the_next_best_of_what_a_managed_cluster_refuses(
    cloud: Deployment, secured: Secured
) -> None:
    """Of 16 MiB there are 8, and what was not refused stays: days, and the time of append."""
    done = cloud.run("topics", "create")
    assert done.returncode == 0, done.stderr
    dead_letters, purchases = cloud.topic("purchases.dlq"), cloud.topic("purchases")
    assert f"{dead_letters} has max.message.bytes=8388608 instead of 16777216: " in done.stderr
    assert f"{purchases} has compression.type=what the cluster chooses instead of" in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    admin = AdminClient({"bootstrap.servers": secured.plaintext})
    options = read_options(admin, [dead_letters, purchases])
    assert options[dead_letters]["max.message.bytes"].value == "8388608"
    assert options[dead_letters]["retention.ms"].value == str(30 * 86_400_000)
    assert options[purchases]["message.timestamp.type"].value == "LogAppendTime"
    assert options[purchases]["retention.ms"].value == str(7 * 86_400_000)
    assert "all topics exist." in cloud.succeed("topics", "create")
