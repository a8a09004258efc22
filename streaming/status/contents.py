"""What the processor's workers found in the records: refusals, prices, unknown fields.

Pure: sums over the workers' status files, which `collect` has read.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from streaming.events.unknown_fields import field_meant
from streaming.runtime.counters import sum_unknown_fields
from streaming.runtime.status_file import WorkerStatus
from streaming.status.model import PriceShare, RefusalShare, UnknownField

FEWEST_RECORDS: Final = 20


def sum_refusals(workers: Sequence[WorkerStatus], limit: float) -> RefusalShare:
    """Return the share of refusals in the processor's workers' windows.

    The limit counts from `FEWEST_RECORDS` on: of ten records, one refusal is no finding.
    """
    reasons: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for worker in workers:
        reasons.update(worker.recent.reasons)
        keys.update(worker.recent.keys)
    records = sum(worker.recent.records for worker in workers)
    refused = sum(worker.recent.refused for worker in workers)
    share = refused / records if records else 0.0
    return RefusalShare(
        records=records,
        refused=refused,
        share=round(share, 6),
        limit=limit,
        exceeded=records >= FEWEST_RECORDS and share > limit,
        top_reason=next((reason for reason, _ in reasons.most_common(1)), None),
        top_key=next((key for key, _ in keys.most_common(1)), None),
    )


def sum_prices(workers: Sequence[WorkerStatus]) -> PriceShare:
    """Return the share of purchases without a price in the processor's workers' windows."""
    purchases = sum(worker.recent.records - worker.recent.refused for worker in workers)
    without = sum(worker.recent.without_price for worker in workers)
    return PriceShare(purchases, without, round(without / purchases, 6) if purchases else 0.0)


def list_unknown_fields(workers: Sequence[WorkerStatus]) -> tuple[UnknownField, ...]:
    """Return the unknown fields since the processor's workers started, most frequent first."""
    counts = sum_unknown_fields(worker.unknown_fields for worker in workers)
    return tuple(UnknownField(name, count, field_meant(name)) for name, count in counts.items())
