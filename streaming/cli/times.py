"""Times as they are typed: with an offset, or in the deployment's time zone."""

from datetime import datetime
from typing import TYPE_CHECKING

from streaming.errors import UsageError

if TYPE_CHECKING:
    from streaming.settings import Settings


def read_time(option: str, text: str | None, settings: "Settings") -> datetime | None:
    """Read the time of an option; without an offset it is in the deployment's time zone.

    Raises `UsageError` naming the option if the text is no time.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text} is not a time, such as 2024-03-01 or 2024-03-01T08:00:00Z."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=settings.zone)
