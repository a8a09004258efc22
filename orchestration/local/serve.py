"""`python -m orchestration.serve webserver|daemon`: one of Dagster's processes over this home.

It opens the instance first, in the process that has paid for importing Dagster anyway.
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
