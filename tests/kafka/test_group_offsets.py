"""Committed offsets are asked safely while the coordinator of a group is not ready."""

from functools import partial
from pathlib import Path

from streaming.broker.embedded import start_broker, stop_broker
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.config import Config, common_config
from streaming.kafka.offsets import committed_offsets
from streaming.kafka.retry import answer
from streaming.settings import Settings
from tests.conftest import bring_jars

GROUPS = 20


def test_offsets_of_groups_are_asked_of_a_broker_that_has_just_started(
    jars: Path, tmp_path: Path
) -> None:
    """The coordinator is still loading its log: the answer comes later, and no process dies."""
    bring_jars(jars, tmp_path)
    start_broker(tmp_path, print)
    settings = Settings(home=tmp_path)
    common: Config = common_config(settings, bootstrap_servers(settings), "test")
    try:
        for number in range(GROUPS):
            ask = partial(committed_offsets, common, f"group-{number}", [("purchases", 0)])
            assert answer(ask) == {}
    finally:
        stop_broker(tmp_path)
