"""How long it takes until everything is current: the stream, and the tables of all past days."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from assets.tables.models import DAY_TABLE_NAMES
from streaming.events.identifiers import pack_event_id
from tests.deployment import Deployment
from tests.load import Load, Sent
from tests.support import wait_until

CURRENT_SECONDS: Final = 180.0
"""Promised on a machine of its own. On a busy one send fewer purchases (`TESTS_RATE`)."""
BEHIND: Final = """
SELECT count(*) FROM day_ledger l CROSS JOIN (VALUES {tables}) AS t (name)
LEFT JOIN table_build b ON b.table_name = t.name AND b.partition = CAST(l.day AS TEXT)
WHERE CAST(l.day AS TEXT) <= '{last}' AND coalesce(b.version, 0) <> l.version
"""


class Recoveries:
    """The recoveries of a test under a load; each is a row of the table that is printed."""

    def __init__(self, seen: Deployment, load: Load, node: pytest.Item) -> None:
        self._seen, self._load, self._node = seen, load, node

    def wait(self, after: str, started: float, within: float = CURRENT_SECONDS) -> None:
        """Wait until all is current that was acknowledged by now; `started` is monotonic (s).

        Fails `within` so many seconds from then. Today's tables follow the load all the time.
        """
        last = last_ids(self._load.sent)
        due = count_acknowledged(self._load.sent)
        end = started + within
        wait_until(
            lambda: count_stored(self._seen, last) == len(last),
            end - time.monotonic(),
            f"the stream is behind after: {after}",
            factor=1,
        )
        streamed = time.monotonic() - started
        yesterday = str((datetime.now(UTC) - timedelta(1)).date())
        wait_until(
            lambda: count_behind(self._seen, yesterday) == 0,
            end - time.monotonic(),
            f"past days are behind after: {after}",
            factor=1,
        )
        took = time.monotonic() - started
        row = (after, f"{due:,}", f"{streamed:.1f}", f"{took:.1f}")
        self._node.user_properties.append(("recovery", row))


def count_acknowledged(sent: Sent) -> int:
    """Return how many purchases Kafka has acknowledged."""
    return len(sent.good) + len(sent.bad)


def last_ids(sent: Sent) -> list[bytes]:
    """Return the id of the last purchase of each user that Kafka has acknowledged.

    Where these are stored all are, because a user's purchases are stored in their order.
    """
    # A copy in one step, because the sender's thread adds to it meanwhile.
    last = {user: event_id for event_id, user in sent.good.copy().items()}
    return [pack_event_id(event_id) for event_id in last.values()]


def count_stored(seen: Deployment, ids: Sequence[bytes]) -> int:
    """Count the events that are stored of those with these ids."""
    marks = ", ".join("?" * len(ids))
    statement = f"SELECT count(*) FROM analytics_event WHERE event_id IN ({marks})"
    return int(str(seen.rows(statement, *ids)[0][0]))


def count_behind(seen: Deployment, last: str) -> int:
    """Count the days up to `last` that are not built from all their events, by table."""
    tables = ", ".join(f"('{table}')" for table in DAY_TABLE_NAMES)
    return int(str(seen.rows(BEHIND.format(tables=tables, last=last))[0][0]))
