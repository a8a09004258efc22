"""Wrong settings on one host are refused by what the first start recorded, wherever that was."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.dashboard.ingest import PurchaseIngest
from streaming.dashboard.ingest_records import IngestBatch
from streaming.errors import Unavailable
from streaming.events.identifiers import topic_id_text
from streaming.events.record import TopicPartition
from streaming.kafka import recorded_settings
from streaming.kafka.acls import Rule
from streaming.kafka.config import Config
from streaming.kafka.offsets import commit_offsets, committed_offsets, offset_at
from streaming.kafka.preflight import preflight
from streaming.kafka.recorded_settings import (
    RecordedSettings,
    offset_metadata,
    settings_in,
    topic_id_in,
)
from streaming.store.connection import store_exists
from tests.deployment import Deployment

REPLAY = (
    *("replay", "examples/my_sales.csv", "--map", "user=customer", "--map", "item=article"),
    *("--map", "timestamp=sold_at", "--map", "quantity=pieces", "--map", "unit_price=price"),
    *("--map", "order_id=receipt", "--map", "country=country"),
)
STARTED_WITH = RecordedSettings("GBP", "UTC")
PROCESS = ("process", "--until-caught-up")
PRODUCE = ("produce", "--rate", "max", "--count", "10")


@pytest.fixture(autouse=True)
def _ask_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command asks for two seconds, and a loaded broker may need longer to know the group."""
    monkeypatch.setattr(recorded_settings, "ANSWER_SECONDS", 60.0)


def refusal(deployment: Deployment, *arguments: str, more: Mapping[str, str]) -> str:
    """Return what a command that must fail with 1 says, with other settings."""
    done = replace(deployment, more=dict(more)).run(*arguments)
    assert done.returncode == 1, done.stdout
    return done.stderr


def offsets_of(deployment: Deployment) -> dict[TopicPartition, PartitionOffset]:
    """Return the processor's committed offsets on `purchases`."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    topic = deployment.topic("purchases")
    numbers = admin.list_topics(timeout=60).topics[topic].partitions
    common: Config = {"bootstrap.servers": deployment.bootstrap_servers}
    return committed_offsets(
        common, deployment.topic("purchase-processor"), [(topic, n) for n in numbers], 30
    )


def read_recorded(deployment: Deployment) -> set[RecordedSettings | None]:
    """Return the settings in the metadata of the processor's offsets."""
    return {settings_in(offset.metadata) for offset in offsets_of(deployment).values()}


def test_metadata_of_an_older_release_has_no_settings() -> None:
    """It is the topic's id alone, which is read as before; so is what another tool committed."""
    assert (topic_id_in("id"), settings_in("id")) == ("id", None)
    assert (topic_id_in(None), settings_in(None)) == ("", None)
    metadata = offset_metadata("id", STARTED_WITH)
    assert (topic_id_in(metadata), settings_in(metadata)) == ("id", STARTED_WITH)


def test_other_settings_are_refused_on_a_host_without_the_database(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Each part names the setting, both values, and the one that is right, and writes nothing."""
    deployment.succeed(*PRODUCE)
    deployment.process()
    assert read_recorded(deployment) == {STARTED_WITH}
    home = tmp_path / "other"
    home.mkdir()
    other = replace(deployment, home=home)
    for name, given, right in (("CURRENCY", "EUR", "GBP"), ("TIMEZONE", "Asia/Tokyo", "UTC")):
        for arguments in (PRODUCE, REPLAY, PROCESS, ("analyze", "--until-caught-up")):
            said = refusal(other, *arguments, more={f"PURCHASES_{name}": given})
            assert f"PURCHASES_{name} is {given} here" in said, arguments
            assert f"started with {right}" in said
            assert f"set PURCHASES_{name}={right}" in said
            assert len(said.splitlines()) == 1
    assert not store_exists(other.settings)
    assert other.run(*PRODUCE).returncode == 0
    deployment.process()
    deployment.succeed("db", "upgrade")
    deployment.analyze()
    assert deployment.count("analytics_event") == 20


@pytest.mark.parametrize(
    "arguments", [PROCESS, ("offsets", "reset", "processor", "--to", "earliest", "--yes")]
)
def test_of_two_recorded_settings_those_of_the_lowest_partition_count(
    deployment: Deployment, arguments: tuple[str, ...]
) -> None:
    """So hosts that start for the first time at once name the same right one, which then stays."""
    deployment.succeed("produce", "--rate", "max", "--count", "200")
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    topic = deployment.topic("purchases")
    described = preflight(deployment.settings, [Rule("topic", topic, "READ")]).topics[topic]
    metadata = [
        offset_metadata(topic_id_text(described.topic_id), STARTED_WITH._replace(currency=currency))
        for currency in ("GBP", "EUR")
    ]
    offsets = [offset_at((topic, number), 0, None, metadata[number]) for number in range(2)]
    assert commit_offsets(admin, deployment.topic("purchase-processor"), offsets, 30) is None
    said = refusal(deployment, *PROCESS, more={"PURCHASES_CURRENCY": "EUR"})
    assert "set PURCHASES_CURRENCY=GBP" in said
    deployment.succeed(*arguments)
    assert read_recorded(deployment) == {STARTED_WITH}


def test_http_ingest_takes_nothing_in_another_currency(deployment: Deployment) -> None:
    """It answers as if Kafka were away, because only the operator can mend it."""
    deployment.succeed(*PRODUCE)
    deployment.process()
    more = {"PURCHASES_CURRENCY": "EUR", "PURCHASES_HTTP_IN": "on"}
    ingest = PurchaseIngest(replace(deployment, more=more).settings)
    with pytest.raises(Unavailable, match="set PURCHASES_CURRENCY=GBP"):
        ingest.send(IngestBatch([], []))


def test_settings_that_differ_from_the_database_of_the_home_are_refused(
    deployment: Deployment,
) -> None:
    """Times without an offset would be read in the wrong zone, and days be cut elsewhere."""
    deployment.succeed("db", "upgrade")
    deployment.analyze()
    wrong = {"PURCHASES_TIMEZONE": "Europe/London"}
    for arguments in (PRODUCE, REPLAY, PROCESS, ("dashboard",)):
        said = refusal(deployment, *arguments, more=wrong)
        assert "PURCHASES_TIMEZONE is Europe/London" in said, arguments
        assert "set PURCHASES_TIMEZONE=UTC" in said
