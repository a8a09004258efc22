"""The job that backs the database up; how many backups stay is the setting `backup_keep`.

Whether the newest can be restored is an asset check.
"""

from dagster import JobDefinition, OpExecutionContext, in_process_executor, job, op

from streaming.settings import Settings
from streaming.store.backup import scheduled_backup


def backup_job(settings: Settings) -> JobDefinition:
    """Return the job that makes a backup and deletes the oldest."""

    @op(name="back_up")
    def back_up(context: OpExecutionContext) -> None:
        made = scheduled_backup(settings)
        context.log.info("no backup: PURCHASES_BACKUP_KEEP is 0" if made is None else str(made))

    @job(
        name="backup",
        executor_def=in_process_executor,
        description="Copies the database, and deletes the oldest scheduled copies.",
    )
    def backup_job_() -> None:
        back_up()

    return backup_job_
