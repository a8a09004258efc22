"""What a deployment accepts as a purchase, by its settings; the rules are in `events.purchase`."""

from streaming.events.purchase import Rules
from streaming.kafka.names import Names
from streaming.settings import Settings


def purchase_rules(settings: Settings) -> Rules:
    """Return the rules by which the processor of this deployment accepts or refuses."""
    return Rules(
        settings.currency,
        settings.history_start_time,
        settings.max_amount_micros,
        Names.of(settings).redrive,
    )
