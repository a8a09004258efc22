"""Killing the workers of a deployment at random moments."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable

from tests.deployment import Deployment
from tests.support import wait_until


def kill_workers(
    deployment: Deployment,
    apps: list[str],
    times: int,
    still_useful: Callable[[], bool],
    signal_number: int = signal.SIGKILL,
) -> Counter[str]:
    """Kill each app's worker `times` times at random moments, each time a newly started one."""
    chance = random.Random(11)
    killed: Counter[str] = Counter()
    last: dict[str, int] = {}
    while sum(killed.values()) < times * len(apps):
        app = chance.choice([app for app in apps if killed[app] < times])

        def next_pid(app: str = app) -> bool:
            pid = deployment.worker_pid(app)
            return bool(pid) and pid != last.get(app)

        wait_until(next_pid, 60, f"the {app} was not started again")
        pause = threading.Event()
        pause.wait(chance.uniform(0.1, 1.6))
        pid = deployment.worker_pid(app)
        if pid and still_useful():
            os.kill(pid, signal_number)
            last[app] = pid
            killed[app] += 1
    return killed
