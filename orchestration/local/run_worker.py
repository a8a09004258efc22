"""The worker of a host that executes Dagster's runs, which the daemon hands out through Redis.

Each run is in a process of its own, as without Redis. What a run does is in `assets`. Whether it
lives is known by the lock of its task, because Celery goes on to say that a killed one runs.
"""

import socket
from typing import Final

from celery import Task
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task

from assets.builds.locks import hold_task_lock
from orchestration.instance import open_instance
from streaming.errors import UsageError
from streaming.settings import Settings

OPTIONS: Final = ("--without-gossip", "--without-mingle", "--loglevel", "warning")
"""Workers need nothing of each other, and a task's result says nothing that Dagster does not."""


def serve_worker(settings: Settings) -> None:
    """Execute runs until SIGTERM, then end when those that run have ended.

    As many at a time as the queue lets out in all: a run that waited in Redis would count as one
    that does not start. Raises `UsageError` if `dagster.yaml` has another launcher.
    """
    with open_instance(settings) as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, CeleryRunLauncher):
            raise UsageError(
                f"{type(launcher).__name__} launches runs by dagster.yaml of {settings.home}, and"
                " no worker; remove its section run_launcher, and start again."
            )
        queue = instance.get_concurrency_config().run_queue_config
    app = launcher.celery
    app.Task = _locked_task(settings)
    create_execute_job_task(app)
    name = f"{settings.host or 'purchases'}@{socket.gethostname()}"
    # Without a limit as many as the host has cores, which is Celery's own choice.
    runs = queue.max_concurrent_runs if queue else 0
    limit = ["--concurrency", str(runs)] if runs > 0 else []
    queues = ["--queues", launcher.default_queue, "--hostname", name]
    app.worker_main(["worker", *queues, *limit, *OPTIONS])


def _locked_task(settings: Settings) -> type[Task]:
    """Return the class of tasks that hold a lock: whether a run lives is known on all hosts."""

    class LockedTask(Task):  # type: ignore[misc]  # it has no types
        def __call__(self, *args: object, **kwargs: object) -> object:
            with hold_task_lock(settings, self.request.id):
                return super().__call__(*args, **kwargs)

    return LockedTask
