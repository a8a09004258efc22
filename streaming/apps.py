"""The apps that run as workers: the one list of what each is called and what it reads.

Only their names; what an app does is in its package, its topics' full names are in `kafka.names`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from streaming.settings import Settings

AppName = Literal["processor", "analytics"]


@dataclass(frozen=True)
class App:
    """One app: its name, and under which names its parts are found.

    `module` is started for each worker, `command` by people. `reads` are topics and `group` is the
    consumer group, both before the namespace; the consumer's group gets the database's id too.
    """

    name: AppName
    title: str
    module: str
    command: str
    group: str
    reads: tuple[str, ...]

    def slots(self, settings: "Settings") -> int:
        """Return how many slots the deployment gives to this app."""
        return settings.processor_slots if self is PROCESSOR else settings.analytics_slots


PROCESSOR: Final = App(
    name="processor",
    title="PurchaseProcessorApp",
    module="streaming.processor.app",
    command="process",
    group="purchase-processor",
    reads=("purchases", "purchases.redrive"),
)
ANALYTICS: Final = App(
    name="analytics",
    title="AnalyticsConsumerApp",
    module="streaming.analytics.app",
    command="analyze",
    group="analytics-consumer",
    reads=("analytics", "purchases.dlq"),
)
APPS: Final = (PROCESSOR, ANALYTICS)


def worker_name(app: str, host: str, slot: int) -> str:
    """Return the name of a slot's worker, which no other one of the deployment has.

    Its ids on Kafka are made of it. Without a name of the host, there is one host.
    """
    return "-".join(part for part in (app, host, str(slot)) if part)


def app_named(name: str) -> App | None:
    """Return the app of that name; None if there is none."""
    return next((app for app in APPS if app.name == name), None)
