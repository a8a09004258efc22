"""ProducerApp: the program of the stream that sends purchases, generated or recorded.

How purchases are generated is in `generator`, how a recording is read in `replay`, and how
records are sent in `sender`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streaming.producer.sender import SendProgress
from streaming.settings import Settings
from streaming.system.shutdown import StopRequest

if TYPE_CHECKING:
    from streaming.producer.generator.records import ProduceRequest
    from streaming.producer.generator.run import ProduceResult
    from streaming.producer.replay.check import ReplayCheck
    from streaming.producer.replay.plan import ReplayRequest
    from streaming.producer.replay.run import ReplayResult


@dataclass(frozen=True)
class ProducerApp:
    """Sends to `purchases` until done, or until `stop` is set.

    `report` hears a few times a second how far sending has come.
    """

    settings: Settings
    stop: StopRequest
    report: Callable[[SendProgress], None]

    def produce(self, request: "ProduceRequest") -> "ProduceResult":
        """Send generated purchases; see `generator.run.produce`, also for what it raises."""
        from streaming.producer.generator.run import produce

        return produce(self.settings, request, self.stop, self.report)

    def check_replay(self, request: "ReplayRequest") -> "ReplayCheck":
        """Return what a recording would become, and send nothing; see `replay.check`."""
        from streaming.producer.replay.check import check_replay

        return check_replay(self.settings, request)

    def replay(self, request: "ReplayRequest") -> "ReplayResult":
        """Send the missing rows of a recording; see `replay.run.replay`."""
        # Loaded here, because it needs polars, which takes longer to load than `produce` to start.
        from streaming.producer.replay.run import replay

        return replay(self.settings, request, self.stop, self.report)
