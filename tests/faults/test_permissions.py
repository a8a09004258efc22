"""Writing to the dead-letter topic forbidden, before the start and while it runs."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.kafka.acls import Rule, processor_rules
from streaming.kafka.names import Names
from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.faults.table import keep
from tests.faults.test_workers import worker_of
from tests.kafka.secured import Secured, secured_broker
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until

LACKS = "lacks the permission WRITE on the topic f.purchases.dlq; grant it."
RULE = ("processor", "TOPIC", "f.purchases.dlq", "WRITE")


@pytest.fixture
def secured(jars: Path, tmp_path: Path) -> Iterator[Secured]:
    """A broker with permissions, of which the processor lacks one."""
    directory = tmp_path / "secured"
    directory.mkdir()
    with secured_broker(jars, directory) as made:
        lacking = Rule("topic", "f.purchases.dlq", "WRITE")
        made.grant("processor", [rule for rule in processor_rules(Names("f")) if rule != lacking])
        yield made


def waits(deployment: Deployment, pid: int | None = None) -> bool:
    """Return whether the processor (of another process id than given) waits for the permission."""
    status = read_status(deployment.home, "processor", 0)
    return (
        status is not None
        and status.pid != pid
        and status.state == "paused"
        and "topic f.purchases.dlq" in status.detail
        and "grant it" in status.detail
    )


def withdraw(secured: Secured) -> Callable[[], None]:
    """Take the permission away; give how to give it back."""
    secured.remove_rule("ALLOW", *RULE)
    return lambda: secured.rule("ALLOW", *RULE)


def deny(secured: Secured) -> Callable[[], None]:
    """Forbid it beside the permission, which weighs more; give how to lift that."""
    secured.rule("DENY", *RULE)
    return lambda: secured.remove_rule("DENY", *RULE)


@pytest.mark.faults
@pytest.mark.parametrize("forbid", [withdraw, deny])
def test_writing_dead_letters_is_forbidden(
    secured: Secured,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    forbid: Callable[[Secured], Callable[[], None]],
) -> None:
    """The processor waits before it skips one, says for what, and goes on when it is given."""
    deployment = Deployment(tmp_path, secured.plaintext, "f")
    deployment.create_topics()
    deployment.succeed("db", "upgrade")
    file = str(secured.properties("processor", "processor"))
    processing = replace(deployment, more={"PURCHASES_KAFKA_CONFIG": file})
    refused = processing.run("process", "--until-caught-up")
    assert refused.returncode == 1
    assert LACKS in refused.stderr
    secured.rule("ALLOW", *RULE)
    with processing.running("process"), deployment.running("analyze"):
        with Load(deployment, 300, bad_share=0.2) as load:
            wait_until(lambda: deployment.count("dead_letter") > 20, 60, "no refusals")
            permit = forbid(secured)
            wait_until(lambda: waits(deployment), 60, "it does not wait")
            pid = worker_of(deployment, "processor")
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: waits(deployment, pid), 60, "a new one does not wait")
            permit()
            bad = len(load.sent.bad)
            wait_until(lambda: deployment.count("dead_letter") > bad, 60, "it does not go on")
        wait_until_quiet(deployment, load.sent)
    require_exactly_once(deployment, load.sent)
    assert LACKS in (deployment.home / "process.log").read_text()
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), [])
