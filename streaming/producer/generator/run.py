"""`produce`: generated purchases as messages, sent at a rate.

The messages come from `generated`; here are the connection, the rate and the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from streaming.errors import PurchasesError, UsageError
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.producer.generator.messages import ProduceRequest, now_micros, timed
from streaming.producer.pace import Pace
from streaming.producer.sender import Progress, RecordSender
from streaming.settings import Settings
from streaming.system.shutdown import StopRequest
from streaming.units import MICROSECOND

AHEAD: Final = timedelta(hours=23)


@dataclass(frozen=True)
class ProduceResult:
    """What came of it; `seconds` is how long sending took.

    `unacknowledged` names the events of which one cannot say whether they are in the log.
    """

    sent: int
    seconds: float
    unacknowledged: list[str]
    failure: str | None


def produce(
    settings: Settings,
    request: ProduceRequest,
    stop: StopRequest,
    report: Callable[[Progress], None],
) -> ProduceResult:
    """Send generated purchases until `count` is reached or `stop` is set.

    Raises `UsageError` for a start that the processor would refuse, `PurchasesError` where there
    is no connection, or the generated time comes to lie in the future.
    """
    check_request(settings, request)
    topic = Names.of(settings).purchases
    cluster = preflight(settings, writes=[topic])
    config = producer_config(settings, cluster.bootstrap_servers, "producer")
    sender = RecordSender(config, topic, stop, report, request.count)
    pace = Pace(stop, sender.tick)
    source = timed(request, settings.zone)
    ahead = False
    for number in count() if request.count is None else range(request.count):
        if sender.failure or not pace.reached(number / request.rate if request.rate else 0.0):
            break
        micros, message = next(source)
        ahead = request.start is not None and micros > now_micros() + AHEAD // MICROSECOND
        if ahead:
            break
        if not sender.send(*message):
            break
    seconds = sender.progress().seconds
    result = ProduceResult(sender.sent, seconds, sender.finish(), sender.failure)
    if ahead:
        raise PurchasesError(
            f"The generated time has come to lie in the future, where purchases are refused;"
            f" {result.sent:,} were sent. Take an earlier --start or a smaller --count."
        )
    return result


def check_request(settings: Settings, request: ProduceRequest) -> None:
    """Refuse what makes no sense. Raises `UsageError` naming the option."""
    if request.rate is not None and not 0 < request.rate < float("inf"):
        raise UsageError(f"--rate {request.rate} must be over 0 events/s, or max.")
    if request.count is not None and request.count < 1:
        raise UsageError(f"--count {request.count} must be 1 at least.")
    if not 0 <= request.bad_share <= 1:
        raise UsageError(f"--bad-share {request.bad_share} must be from 0 to 1, such as 0.01.")
    if request.start is None:
        return
    if request.start > datetime.now(UTC):
        raise UsageError(f"--start {request.start.isoformat()} is in the future.")
    if request.start < settings.history_start_time:
        raise UsageError(
            f"--start {request.start.isoformat()} is before PURCHASES_HISTORY_START,"
            f" {settings.history_start}, so every purchase would be refused."
        )
