"""A process of Dagster over this home: `webserver DAY PORT`, `daemon DAY`, or `worker`.

`DAY` is the first partition; a worker knows all of history, as runs of any day come to it.

It prepares the instance first, because this process has imported Dagster anyway and `up` has not.
"""

import os
import sys

from assets.builds.locks import hold_daemon_lock
from assets.tables.first_partition import FIRST_PARTITION
from orchestration.instance import (
    dagster_environment,
    open_instance,
    prepare_instance,
    read_instance_ref,
)
from streaming.settings import Settings, load_settings
from streaming.system.log_rotation import rotate_own_log


def main(part: str, arguments: list[str]) -> None:
    """Run the webserver, the daemon or the worker until SIGTERM."""
    rotate_own_log()
    settings = load_settings()
    environment = dagster_environment(settings)
    # Without the secrets, which the webserver has read by now and its children must not have.
    os.environ.clear()
    os.environ.update(environment)
    if arguments:
        os.environ[FIRST_PARTITION] = arguments[0]
    prepare_instance(settings)
    if part == "webserver":
        from orchestration.local.webserver import serve_webserver

        serve_webserver(settings, int(arguments[1]))
    elif part == "worker":
        from orchestration.local.run_worker import serve_worker

        serve_worker(settings)
    else:
        _serve_daemon(settings)


def _serve_daemon(settings: Settings) -> None:
    """Run Dagster's daemon; with a database that several hosts share, the only one of all."""
    from dagster._daemon.cli import run_command
    from dagster_shared.serdes import serialize_value

    from orchestration.automation.dead_runs import report_earlier_runs

    instance = ["--instance-ref", serialize_value(read_instance_ref(settings))]
    command = ["-m", "orchestration.definitions", *instance, "--log-level", "warning"]
    with hold_daemon_lock(settings):
        # Dead ones would keep slots of the queue for six hours.
        with open_instance(settings) as opened:
            report_earlier_runs(settings, opened)
        run_command(command, prog_name="dagster-daemon")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
