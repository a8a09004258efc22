"""Two hosts: each a home of its own in which `up` runs, with the same brokers and database."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

import psutil

from streaming.apps import APPS
from streaming.runtime.status_file import WorkerStatus, read_status
from streaming.system.home import Home
from streaming.system.lease import holder
from tests.deployment import Deployment
from tests.orchestration.home import HomeRunner

SLOTS: Final = 2


class Host:
    """A host on which `up` runs, that may be lost and come back."""

    def __init__(self, name: str, seen: Deployment, directory: Path, more: dict[str, str]) -> None:
        home = directory / f"host-{name}"
        home.mkdir()
        of_host = {
            "PURCHASES_HOST": name,
            "PURCHASES_PROCESSOR_SLOTS": str(SLOTS),
            "PURCHASES_ANALYTICS_SLOTS": str(SLOTS),
        }
        self.name = name
        self.runner = HomeRunner(home)
        self.deployment = replace(seen.whole(), home=home, more={**seen.more, **of_host, **more})
        self.run_processes: set[int] = set()
        self._running = ExitStack()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._remember_runs, name=f"runs of {name}")

    def __enter__(self) -> Self:
        self._watch.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join(60)
        self._running.close()
        self.lose()

    def start(self) -> None:
        """Run `up`."""
        self._running.enter_context(self.deployment.running("up"))

    def lose(self) -> None:
        """Kill all that runs there, as a power failure does."""
        while processes := self.runner.processes():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, 30)

    def kill_run_worker(self) -> None:
        """Kill the Celery worker with the runs that it executes; `up` starts another one."""
        for process in self._run_worker():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def workers(self, app: str) -> Sequence[WorkerStatus]:
        """Return what the live workers of an app say of themselves."""
        home = self.deployment.home
        statuses = [read_status(home, app, slot) for slot in range(SLOTS)]
        alive = [self.deployment.worker_pid(app, slot) for slot in range(SLOTS)]
        return [one for one in statuses if one is not None and one.pid in alive]

    def has_worked(self) -> bool:
        """Return whether the workers of each app, since they were started, have stored records."""
        return all(sum(one.stored for one in self.workers(app.name)) for app in APPS)

    def _run_worker(self) -> list[psutil.Process]:
        """Return the Celery worker and the processes of its runs; empty while there is none."""
        leader = holder(Home(self.deployment.home).service_lease("worker"))
        try:
            worker = psutil.Process(leader) if leader else None
            return [worker, *worker.children(recursive=True)] if worker else []
        except psutil.NoSuchProcess:
            return []

    def _remember_runs(self) -> None:
        """Remember the processes of runs: each has its own, and Dagster records its id alone."""
        while not self._ended.wait(0.5):
            self.run_processes |= {process.pid for process in self._run_worker()[1:]}
