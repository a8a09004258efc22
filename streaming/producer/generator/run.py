"""`produce`: generated purchases, sent at a rate.

The records come from `records`; here are the connection, the rate and the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from streaming.errors import PurchasesError, UsageError
from streaming.kafka.acls import producer_rules
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.kafka.recorded_settings import require_recorded_settings
from streaming.producer.generator.records import ProduceRequest, generate_records, now_micros
from streaming.producer.pace import Pace
from streaming.producer.sender import RecordSender, SendProgress
from streaming.settings import Settings
from streaming.system.shutdown import StopRequest
from streaming.units import MICROSECOND

# Below the 24 h ahead from which the processor refuses a purchase.
MAX_AHEAD: Final = timedelta(hours=23)


@dataclass(frozen=True)
class ProduceResult:
    """The result; `seconds` is how long sending took.

    `unacknowledged` has the ids of events that may be in the log or not.
    """

    sent: int
    seconds: float
    unacknowledged: list[str]
    failure: str | None


def produce(
    settings: Settings,
    request: ProduceRequest,
    stop: StopRequest,
    report: Callable[[SendProgress], None],
) -> ProduceResult:
    """Send generated purchases until `count` is reached or `stop` is set.

    Raises `UsageError` for a start that the processor would refuse, `PurchasesError` if there is no
    connection, if the processor was started with other settings, or if the generated time reaches
    the future.
    """
    check_request(settings, request)
    names = Names.of(settings)
    cluster = preflight(settings, producer_rules(names))
    require_recorded_settings(settings)
    config = producer_config(settings, cluster.bootstrap_servers, "producer")
    sender = RecordSender(config, names.purchases, stop, report, request.count)
    pace = Pace(stop, sender.tick)
    behind = (datetime.now(UTC) - request.since).total_seconds() if request.since else 0.0
    source = generate_records(request, settings.zone)
    ahead = False
    for number in count() if request.count is None else range(request.count):
        # What lies between `since` and now is due at once, and from now on the rate counts.
        due = max(number / request.rate - behind, 0.0) if request.rate else 0.0
        if sender.failure or not pace.wait_until(due):
            break
        # Generated after the wait, because its time may be that of the call.
        micros, record = next(source)
        ahead = request.start is not None and micros > now_micros() + MAX_AHEAD // MICROSECOND
        if ahead:
            break
        if not sender.send(*record):
            break
    seconds = sender.progress().seconds
    result = ProduceResult(sender.sent, seconds, sender.finish(), sender.failure)
    if ahead:
        raise PurchasesError(
            "The generated time now lies in the future, where purchases are refused;"
            f" {result.sent:,} were sent. Choose an earlier --start or a smaller --count."
        )
    return result


def check_request(settings: Settings, request: ProduceRequest) -> None:
    """Raise `UsageError` naming an option whose value is out of range."""
    if request.rate is not None and not 0 < request.rate < float("inf"):
        raise UsageError(f"--rate {request.rate} must be over 0 events/s, or max.")
    if request.count is not None and request.count < 1:
        raise UsageError(f"--count {request.count} must be at least 1.")
    if not 0 <= request.bad_share <= 1:
        raise UsageError(f"--bad-share {request.bad_share} must be from 0 to 1, such as 0.01.")
    if request.since is not None and (request.start is not None or request.rate is None):
        raise UsageError("--since needs a --rate in purchases per second, and no --start.")
    option, first = ("--since", request.since) if request.since else ("--start", request.start)
    if first is None:
        return
    if first > datetime.now(UTC):
        raise UsageError(f"{option} {first.isoformat()} is in the future; choose an earlier one.")
    if first < settings.history_start_time:
        raise UsageError(
            f"{option} {first.isoformat()} is before PURCHASES_HISTORY_START,"
            f" {settings.history_start}: every purchase would be refused. Choose a later one."
        )
