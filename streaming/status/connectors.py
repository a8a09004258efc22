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

from streaming.formatting import printable
from streaming.status.model import Problem, Section
from streaming.system.deadline import Deadline

CONNECT_SECONDS: Final = 0.5
"""For each part of an answer. Meanwhile the broker is asked, which takes up to 0.8 s."""
ANSWER_SECONDS: Final = 1.0
"""For the body of an answer, which may come in many parts."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""A failed task comes with a stack of some 5 kB."""
PART_BYTES: Final = 64 * 1024
MAX_PROBLEMS: Final = 3
"""Failed tasks that are named; all of them are counted."""
MOST_CHARACTERS: Final = 300
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


def read_connectors_section(url: str) -> Section:
    """Ask the Connect at `url` for the tasks of all its connectors; what failed is a problem.

    Without an answer that is the problem. Waits half a second for its beginning, and a second for
    its body. Raises nothing.
    """
    try:
        states = [each.status for each in _decode(_read(url)).values()]
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        return Section({"answers": False}, (_silent(url, error),))
    tasks = [task for state in states for task in state.tasks]
    failures = [problem for state in states for problem in _failures(state, url)]
    figures = {"connectors": len(states), "tasks": len(tasks), "failed_tasks": len(failures)}
    return Section({"answers": True, **figures}, tuple(failures[:MAX_PROBLEMS]))


def _read(url: str) -> bytes:
    """Read the states of all connectors; raises `ValueError` for an answer that is too long."""
    # No proxy of the environment: it is the shop's own, near by.
    opener = build_opener(ProxyHandler({}))
    path, body = f"{url.rstrip('/')}/connectors?expand=status", b""
    with opener.open(path, timeout=CONNECT_SECONDS) as answer:
        deadline = Deadline.after(ANSWER_SECONDS)
        while part := answer.read1(PART_BYTES):
            body += part
            if len(body) > MOST_BYTES:
                raise ValueError(f"its answer has over {MOST_BYTES:,} bytes")
            if deadline.is_over():
                raise TimeoutError(f"its answer is not there after {ANSWER_SECONDS:g} s")
    return body


def _failures(state: _State, url: str) -> Iterator[Problem]:
    failed = [(f"Task {task.id}", task.trace) for task in state.tasks if task.state == FAILED]
    if state.connector.state == FAILED:
        failed.append(("The connector", state.connector.trace))
    for what, trace in failed:
        reason = printable(trace.strip().partition("\n")[0][:MOST_CHARACTERS]) or NO_REASON
        path = f"connectors/{quote(state.name, safe='')}/restart?includeTasks=true&onlyFailed=true"
        yield Problem(
            "connector_failed",
            f"{what} of {state.name!r} in Kafka Connect has failed: {reason}",
            f"Correct what it names, then start it again: curl -X POST '{url.rstrip('/')}/{path}'.",
        )


def _silent(url: str, error: Exception) -> Problem:
    return Problem(
        "connect_down",
        f"Kafka Connect does not say at {url} how its connectors are: {printable(str(error))}.",
        "Start its worker, or correct PURCHASES_CONNECT_URL. It goes on where it was.",
    )
