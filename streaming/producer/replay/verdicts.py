"""What the processor will make of the rows of a replay, by its own rules; pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from streaming.events.analytics import AnalyticsEvent
from streaming.events.fast_path import read_event_fast
from streaming.events.purchase import PurchaseEvent, Rules, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.producer.replay.rows import Row

NO_TOPIC_ID: Final = bytes(16)
"""Neither topic nor offset says anything about whether a row is valid: it has an event id."""


@dataclass
class Verdicts:
    """The rows that will be refused: how many by reason, and the first of each.

    `rules` are the deployment's, `appended_at` is the time of sending in ms.
    """

    rules: Rules
    appended_at: int
    judged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def judge(self, row: Row) -> AnalyticsEvent | PurchaseEvent | None:
        """Count a row that has a value; return its event, None if it will be refused."""
        self.judged += 1
        record = Record(
            "purchases", NO_TOPIC_ID, 0, row.number, self.appended_at, row.key, row.value
        )
        fast = read_event_fast(record, self.rules, "")
        if fast is not None:
            return fast[0]
        outcome = read_purchase(record, self.rules)[1]
        if not isinstance(outcome, Refusal):
            return outcome
        self.refused[outcome.reason] += 1
        self.examples.setdefault(outcome.reason, f"row {row.number + 1:,}: {outcome.detail}")
        return None

    def refusals(self) -> str:
        """Return what will be refused: `2 invalid_price (row 3: unit_price '12,50' …)`."""
        return ", ".join(
            f"{count:,} {reason} ({self.examples[reason]})"
            for reason, count in self.refused.most_common()
        )
