"""The section `connectors` of the status: the tasks of the shop's Kafka Connect, by its own REST.

Connect keeps a failed task failed until somebody starts it again, and calls its connector running
meanwhile. Which connectors there are, and what they do, is the shop's matter.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from streaming.errors import Unavailable
from streaming.formatting import printable_text
from streaming.settings import Settings
from streaming.status.model import Problem, Section
from streaming.system.http_exchange import HttpRequest, exchange

CONNECT_SECONDS: Final = 0.8
"""As long as the broker is waited for, which is asked meanwhile."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""A failed task comes with a stack of some 5 kB."""
MAX_PROBLEMS: Final = 3
"""Failed tasks that are named; all of them are counted."""
MOST_CHARACTERS: Final = 300
"""Of the first line of a stack, which may quote a whole record."""
NO_REASON: Final = "it names no reason"
FAILED: Final = "FAILED"


class _Task(Struct):
    id: int
    state: str
    trace: str = ""


class _Connector(Struct):
    state: str
    trace: str = ""


class _State(Struct):
    name: str
    connector: _Connector
    tasks: list[_Task]


class _Expanded(Struct):
    status: _State


_decode = msgspec.json.Decoder(dict[str, _Expanded]).decode


def read_connectors_section(settings: Settings) -> Section | None:
    """Ask the shop's Connect for the tasks of all its connectors; what failed is a problem.

    None if none is named. Its silence is a problem; nothing is raised.
    """
    url = settings.connect_url
    if url is None:
        return None
    try:
        states = _read_states(url)
    except Unavailable as error:
        return Section({"answers": False}, (_connect_down(url, error),))
    tasks = [task for state in states for task in state.tasks]
    failures = [problem for state in states for problem in _failures(state, url)]
    figures = {"connectors": len(states), "tasks": len(tasks), "failed_tasks": len(failures)}
    return Section({"answers": True, **figures}, tuple(failures[:MAX_PROBLEMS]))


def _read_states(url: str) -> list[_State]:
    """Read the states of all connectors. Raises `Unavailable` without such an answer in time."""
    request = HttpRequest(f"{url.rstrip('/')}/connectors?expand=status")
    answer = exchange(request, CONNECT_SECONDS, MOST_BYTES)
    if answer.status != HTTPStatus.OK:
        raise Unavailable(f"it answers with {answer.status}.")
    if answer.body is None:
        raise Unavailable(f"its answer has over {MOST_BYTES:,} bytes.")
    try:
        return [each.status for each in _decode(answer.body).values()]
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"its answer is not Connect's: {error}.") from None


def _failures(state: _State, url: str) -> Iterator[Problem]:
    failed = [(f"Task {task.id}", task.trace) for task in state.tasks if task.state == FAILED]
    if state.connector.state == FAILED:
        failed.append(("The connector", state.connector.trace))
    for what, trace in failed:
        # The rest of it is Java's stack.
        reason = printable_text(trace.strip().partition("\n")[0][:MOST_CHARACTERS]) or NO_REASON
        path = f"connectors/{quote(state.name, safe='')}/restart?includeTasks=true&onlyFailed=true"
        yield Problem(
            "connector_failed",
            f"{what} of {state.name!r} in Kafka Connect has failed: {reason}",
            f"Correct what it names, then start it again: curl -X POST '{url.rstrip('/')}/{path}'.",
        )


def _connect_down(url: str, error: Unavailable) -> Problem:
    return Problem(
        "connect_down",
        f"Kafka Connect does not say at {url} how its connectors are: {error}",
        "Start its worker, or correct PURCHASES_CONNECT_URL. It goes on where it was.",
    )
