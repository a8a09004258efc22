"""A process of Dagster over this home: `webserver DAY PORT` or `daemon DAY`, the first partition.

It prepares the instance first, because this process has imported Dagster anyway and `up` has not.
"""

import os
import sys

from assets.tables.first_partition import FIRST_PARTITION
from orchestration.instance import dagster_environment, prepare_instance, read_instance_ref
from streaming.settings import load_settings
from streaming.system.log_rotation import rotate_own_log


def main(part: str, arguments: list[str]) -> None:
    """Run the webserver or the daemon until SIGTERM."""
    rotate_own_log()
    settings = load_settings()
    environment = dagster_environment(settings)
    # Without the secrets, which the webserver has read by now and its children must not have.
    os.environ.clear()
    os.environ.update(environment)
    first_partition, *more = arguments
    os.environ[FIRST_PARTITION] = first_partition
    prepare_instance(settings)
    if part == "webserver":
        from orchestration.local.webserver import serve_webserver

        serve_webserver(settings, int(more[0]))
    else:
        from dagster._daemon.cli import run_command
        from dagster_shared.serdes import serialize_value

        instance = ["--instance-ref", serialize_value(read_instance_ref(settings))]
        command = ["-m", "orchestration.definitions", *instance, "--log-level", "warning"]
        run_command(command, prog_name="dagster-daemon")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
