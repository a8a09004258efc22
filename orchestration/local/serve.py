"""`python -m orchestration.local.serve webserver|daemon`: a process of Dagster over this home.

It prepares the instance first, because this process has imported Dagster anyway and `up` has not.
"""

import os
import sys
from typing import Final

from orchestration.instance import dagster_environment, prepare_instance
from streaming.settings import load_settings

CODE: Final = ["-m", "orchestration.definitions"]


def main(part: str, arguments: list[str]) -> None:
    """Run the webserver or the daemon until SIGTERM."""
    settings = load_settings()
    os.environ.update(dagster_environment(settings))
    prepare_instance(settings)
    if part == "webserver":
        from dagster_webserver.cli import dagster_webserver

        quiet = ["--log-level", "warning", "--dagster-log-level", "warning"]
        dagster_webserver([*CODE, *quiet, *arguments], prog_name="dagster-webserver")
    else:
        from dagster._daemon.cli import run_command

        run_command([*CODE, "--log-level", "warning", *arguments], prog_name="dagster-daemon")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
