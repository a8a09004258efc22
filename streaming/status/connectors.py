"""The section `connectors` of the status: the tasks of the shop's Kafka Connect, by its own REST.

Connect keeps a failed task failed until somebody starts it again, and calls its connector running
meanwhile. Which connectors there are, and what they do, is the shop's matter.
"""

from collections.abc import Iterator
from http.client import HTTPException
from typing import Final
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import msgspec
from msgspec import Struct

from streaming.status.model import Problem, Section

CONNECT_SECONDS: Final = 0.5
"""Meanwhile the broker is asked, which takes up to 0.8 s."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""A failed task comes with a stack of some 5 kB."""
MAX_PROBLEMS: Final = 3
"""Failed tasks that are named; all of them are counted."""
MOST_CHARACTERS: Final = 300
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


def read_connectors_section(url: str) -> Section:
    """Ask the Connect at `url` for the tasks of all its connectors; what failed is a problem.

    Without an answer that is the problem. Waits up to half a second, and raises nothing.
    """
    try:
        # No proxy of the environment: it is the shop's own, near by.
        opener = build_opener(ProxyHandler({}))
        with opener.open(
            f"{url.rstrip('/')}/connectors?expand=status", timeout=CONNECT_SECONDS
        ) as answer:
            states = [each.status for each in _decode(answer.read(MOST_BYTES)).values()]
    except (OSError, HTTPException, ValueError) as error:
        return Section({"answers": False}, (_silent(url, error),))
    tasks = [task for state in states for task in state.tasks]
    failures = [problem for state in states for problem in _failures(state, url)]
    figures = {"connectors": len(states), "tasks": len(tasks), "failed_tasks": len(failures)}
    return Section({"answers": True, **figures}, tuple(failures[:MAX_PROBLEMS]))


def _failures(state: _State, url: str) -> Iterator[Problem]:
    failed = [(f"Task {task.id}", task.trace) for task in state.tasks if task.state == FAILED]
    if state.connector.state == FAILED:
        failed.append(("The connector", state.connector.trace))
    for what, trace in failed:
        reason = trace.strip().partition("\n")[0][:MOST_CHARACTERS] or "it names no reason"
        path = f"connectors/{quote(state.name, safe='')}/restart?includeTasks=true&onlyFailed=true"
        yield Problem(
            "connector_failed",
            f"{what} of {state.name!r} in Kafka Connect has failed: {reason}",
            f"Correct what it names, then start it again: curl -X POST '{url.rstrip('/')}/{path}'.",
        )


def _silent(url: str, error: Exception) -> Problem:
    return Problem(
        "connect_down",
        f"Kafka Connect does not say at {url} how its connectors are: {error}.",
        "Start its worker, or correct PURCHASES_CONNECT_URL. It goes on where it was.",
    )
