"""Offsets that stay undecided: the processor ends what a broker forgot to end, and goes on.

A broker forgets it once in some dozens of kills (see docs/faults.md), too seldom for a test. Here
the processor is told once that the offsets are undecided, in the middle of the stream.
"""

import subprocess
import sys

import pytest

from tests.faults.test_workers import worker_of
from tests.pipeline import Deployment, Load, require_exactly_once, wait_until_quiet
from tests.support import wait_until

TOLD_ONCE = """
import sys
from confluent_kafka import KafkaError, KafkaException
from streaming import processor
def undecided(*_):
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
processor.GroupConsumer.committed = undecided
sys.exit(processor.main())
"""


@pytest.mark.timeout(180)
def test_ending_what_hangs_leaves_nothing_behind(deployment: Deployment) -> None:
    """What it writes to reach each partition nobody sees, and its offsets count for nothing."""
    deployment.succeed("db", "upgrade")
    with deployment.running("analyze"), Load(deployment, 500) as load:
        with deployment.running("process"):
            wait_until(lambda: deployment.count("analytics_event") > 500, 60, "nothing is stored")
            assert worker_of(deployment, "processor")
        told = subprocess.run(
            [sys.executable, "-c", TOLD_ONCE],
            env=deployment.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 1
        assert "aborting_what_hangs" in told.stderr
        assert "touching_failed" not in told.stderr
        with deployment.running("process"):
            before = deployment.count("analytics_event")
            wait_until(
                lambda: deployment.count("analytics_event") > before + 500, 60, "it does not go on"
            )
    with deployment.running("process"), deployment.running("analyze"):
        wait_until_quiet(deployment, load.sent)
        deployment.succeed("verify")
    require_exactly_once(deployment, load.sent)
