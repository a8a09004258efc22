"""The launcher that hands Dagster's runs through Redis to the workers of several hosts.

What a worker does with them is in `run_worker`.
"""

from dagster_celery.launcher import CeleryRunLauncher


class HostsRunLauncher(CeleryRunLauncher):
    """Dagster's launcher by Celery, for which a run that a person terminates is canceled.

    To Dagster's own class it has failed, and is launched again.
    """

    def terminate(self, run_id: str) -> bool:
        """Cancel a run that has not ended; return whether there was one."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)
