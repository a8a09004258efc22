"""The section `registry` of the status: whether the schema registry answers, and what was asked.

The figures are the workers' own. Looking schemas up is in `kafka.registry`.
"""

from collections.abc import Sequence
from typing import Final

from streaming.errors import PurchasesError
from streaming.kafka.registry.address import RegistryAddress, registry_address
from streaming.kafka.registry.client import TYPES, ask, no_registry
from streaming.runtime.status_file import WorkerStatus
from streaming.settings import Settings
from streaming.status.model import Problem, Section

REGISTRY_SECONDS: Final = 0.8
"""As long as the broker is waited for, which is asked meanwhile."""


def read_registry_section(settings: Settings, workers: Sequence[WorkerStatus]) -> Section | None:
    """Ask the registry whether it answers, and sum the look-ups of the processor's workers.

    None if no registry is named. Its silence is a problem; nothing is raised.
    """
    problems: tuple[Problem, ...] = ()
    try:
        address = registry_address(settings)
        if address is None:
            return None
        _require_answer(address)
    except PurchasesError as error:
        problems = (_registry_down(error),)
    lookups = [worker.lookups for worker in workers if worker.lookups is not None]
    return Section(
        {
            "answers": not problems,
            "schemas_found": sum(one.readable for one in lookups),
            "schemas_refused": sum(one.refused for one in lookups),
            "schemas_not_asked": sum(one.unasked for one in lookups),
        },
        problems,
    )


def _require_answer(address: RegistryAddress) -> None:
    """Raise `Unavailable` if no registry answers there in time."""
    answer = ask(address, TYPES, seconds=REGISTRY_SECONDS)
    # Who may not see the types is refused by a registry all the more.
    if not answer.is_refusal and not isinstance(answer.json(), list):
        raise no_registry(address, TYPES, answer.status)


def _registry_down(error: PurchasesError) -> Problem:
    return Problem(
        "registry_down",
        str(error),
        "Start it, or correct its address or user. Purchases of schemas that are known go on; at"
        " the first one of another schema the processor waits, and refuses nothing.",
    )
