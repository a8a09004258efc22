"""Limits in time that depend on one another are in their order."""

from streaming.kafka import missing_offsets, standby
from streaming.kafka.config import CONSUMER, TRANSACTIONAL
from streaming.runtime import limits
from streaming.store.sqlite import LOCK_SECONDS


def test_each_call_ends_before_its_watchdog_and_that_before_the_supervisor() -> None:
    """So the innermost limit acts first, and a worker that waits is not taken for stuck."""
    assert limits.STATUS_SECONDS < limits.CALL_SECONDS < limits.WATCHDOG_SECONDS
    assert standby.PROBE_SECONDS + limits.CALL_SECONDS < limits.WATCHDOG_SECONDS
    assert limits.OFFSETS_SECONDS < limits.OFFSETS_WATCHDOG_SECONDS < limits.WATCHDOG_SECONDS
    assert limits.COORDINATOR_REQUEST_SECONDS > limits.SILENT_SECONDS
    assert LOCK_SECONDS < limits.WRITE_WATCHDOG_SECONDS < limits.SILENT_SECONDS
    assert limits.RECOVERY_WATCHDOG_SECONDS < limits.SILENT_SECONDS < limits.START_SECONDS
    assert limits.WATCHDOG_SECONDS < limits.SUSPECT_SECONDS < limits.SILENT_SECONDS


def test_a_recovery_fits_into_its_limit() -> None:
    """Six calls over hanging transactions; the look for published records, and its settling."""
    assert 6 * limits.RECOVERY_CALL_SECONDS < limits.RECOVERY_WATCHDOG_SECONDS
    looking = missing_offsets.READING_SECONDS + missing_offsets.SETTLING_SECONDS
    assert looking + 4 * missing_offsets.CALL_SECONDS < limits.RECOVERY_WATCHDOG_SECONDS


def test_a_transaction_outlives_its_commit_and_a_stuck_worker() -> None:
    """Kafka aborts none that is being committed, and ends that of a dead processor soon after."""
    commit = limits.OFFSETS_WATCHDOG_SECONDS + limits.CALL_SECONDS
    assert max(commit, limits.WATCHDOG_SECONDS) < limits.TRANSACTION_SECONDS
    assert TRANSACTIONAL["transaction.timeout.ms"] == limits.TRANSACTION_SECONDS * 1000
    assert TRANSACTIONAL["delivery.timeout.ms"] == limits.TRANSACTION_SECONDS * 1000


def test_a_worker_that_is_started_again_comes_back_to_its_partitions() -> None:
    """Its session lasts longer than the longest delay, and takes three lost heartbeats to end."""
    assert limits.LONGEST_DELAY_SECONDS < limits.SESSION_SECONDS
    assert 3 * limits.GROUP_HEARTBEAT_SECONDS <= limits.SESSION_SECONDS
    assert CONSUMER["session.timeout.ms"] == limits.SESSION_SECONDS * 1000
    assert CONSUMER["heartbeat.interval.ms"] == limits.GROUP_HEARTBEAT_SECONDS * 1000
