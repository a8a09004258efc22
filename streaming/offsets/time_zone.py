"""The change of the time zone in which days are cut: of the database, and of what hosts compare.

The processor's offsets record the zone for all hosts of the namespace (`kafka.recorded_settings`),
the database records it for its home. How figures are computed again is in `store.rebuild`.
"""

from typing import Final

from streaming.errors import NotFound, PurchasesError, UsageError
from streaming.kafka.acls import reader_rules
from streaming.kafka.names import Names
from streaming.kafka.offsets import offset_at
from streaming.kafka.preflight import Cluster, preflight
from streaming.kafka.recorded_settings import (
    RecordedSettings,
    agreed_settings,
    offset_metadata,
    topic_id_in,
)
from streaming.offsets.reset import commit_for_processor, read_committed
from streaming.settings import PREFIX, Settings, is_time_zone
from streaming.store.archive import return_days
from streaming.store.backup import Progress
from streaming.store.connection import require_current_store, sentence_start, store_exists
from streaming.store.kept_columns import remove_unlisted
from streaming.store.rebuild import RebuildResult, backup_before, recompute
from streaming.store.restore import workers_stopped
from streaming.system.home import Home
from streaming.system.lease import holder

REASON: Final = "before-time-zone"
"""In the name of the backup."""


def change_time_zone(
    settings: Settings, timezone: str, progress: Progress | None = None
) -> RebuildResult:
    """Cut all days again in `timezone`, from the stored events, after a backup.

    If it is ended in between, everything that starts refuses one of the two zones, and the same
    command goes on. Raises `UsageError` for a zone that there is not, and `PurchasesError` while
    `up`, a worker or a run of this home, or a processor elsewhere, runs.
    """
    if not is_time_zone(timezone):
        raise UsageError(f"--timezone {timezone} must be an IANA time zone, such as Europe/London.")
    if not store_exists(settings):
        raise NotFound(
            f"{sentence_start(settings.database)} does not exist: if nothing is stored yet, set"
            f" {PREFIX}TIMEZONE={timezone} and start; else run this where the database is."
        )
    require_current_store(settings.database)
    if (pid := holder(Home(settings.home).up_lease)) is not None:
        raise PurchasesError(
            f"`up` runs as process {pid}; stop it first (`purchases down`): what it runs would go"
            " on to cut days in the old time zone."
        )
    names = Names.of(settings)
    with workers_stopped(settings):
        cluster = preflight(settings, reader_rules(names), optional=[names.redrive])
        # Before the backup, which then has all rows and needs no column file.
        return_days(settings)
        kept = backup_before(settings, REASON, progress)
        # Before the database, because Kafka refuses it while a processor runs on another host.
        _record_with_offsets(settings, cluster, timezone)
        done = recompute(settings, kept, timezone)
        remove_unlisted(settings)
    return done


def _record_with_offsets(settings: Settings, cluster: Cluster, timezone: str) -> None:
    """Commit the processor's offsets where they are, with the new zone beside them."""
    before = read_committed(settings, cluster)
    recorded = (agreed_settings(before) or RecordedSettings.of(settings))._replace(
        timezone=timezone
    )
    offsets = [
        offset_at(partition, at.offset, None, offset_metadata(topic_id_in(at.metadata), recorded))
        for partition, at in before.items()
    ]
    if offsets:
        commit_for_processor(settings, cluster, offsets)
