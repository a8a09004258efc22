"""What a deployment accepts as a purchase, by its settings; the rules are in `events.purchase`."""

from typing import TYPE_CHECKING

from streaming.events.purchase import Rules
from streaming.kafka.names import Names
from streaming.settings import Settings

if TYPE_CHECKING:
    from streaming.kafka.registry.schemas import SchemaCache


def purchase_rules(settings: Settings, schemas: "SchemaCache | None" = None) -> Rules:
    """Return the rules by which the processor of this deployment accepts or refuses.

    Framed values are read by those of `schemas` that were looked up when a record is judged.
    """
    return Rules(
        settings.currency,
        settings.history_start_time,
        settings.max_amount_micros,
        Names.of(settings).redrive,
        None if schemas is None else schemas.readers,
    )
