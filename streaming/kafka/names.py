"""The names of topics, groups and transactional ids of one deployment, by its namespace."""

from dataclasses import dataclass

from streaming.apps import ANALYTICS, PROCESSOR, App, worker_name
from streaming.settings import Settings


@dataclass(frozen=True)
class Names:
    """Every name that this deployment has on its cluster, prefixed if there is a namespace.

    With the name of a `host`, ids of its slots are of that host alone.
    """

    namespace: str = ""
    host: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Names":
        """Return the names of the deployment that `settings` describe."""
        return cls(settings.namespace, settings.host)

    @property
    def purchases(self) -> str:
        """The topic of raw purchases."""
        return self._add_namespace("purchases")

    @property
    def redrive(self) -> str:
        """The topic of redriven purchases, where alone the headers `origin.*` count."""
        return self._add_namespace("purchases.redrive")

    @property
    def analytics(self) -> str:
        """The topic of valid, enriched events."""
        return self._add_namespace("analytics")

    @property
    def dead_letters(self) -> str:
        """The topic of refused records."""
        return self._add_namespace("purchases.dlq")

    @property
    def topics(self) -> list[str]:
        """All topics, in the order in which a purchase meets them."""
        return [self.purchases, self.redrive, self.analytics, self.dead_letters]

    @property
    def processor_group(self) -> str:
        """The processor's consumer group."""
        return self._add_namespace(PROCESSOR.group)

    def analytics_group(self, deployment_id: str) -> str:
        """Return the consumer group of one database, so that each receives everything."""
        return f"{self.analytics_groups}{deployment_id[:8]}"

    @property
    def analytics_groups(self) -> str:
        """What the consumer groups of all databases begin with."""
        return self._add_namespace(f"{ANALYTICS.group}-")

    def transactional_id(self, slot: int) -> str:
        """Return the static transactional id of a processor slot."""
        return self._add_namespace(worker_name(PROCESSOR.name, self.host, slot))

    @property
    def transactional_ids(self) -> str:
        """What the transactional ids of all processor slots begin with, on all hosts."""
        return self._add_namespace(f"{PROCESSOR.name}-")

    def read_by(self, app: App) -> list[str]:
        """Return the topics that an app reads."""
        return [self._add_namespace(topic) for topic in app.reads]

    def _add_namespace(self, name: str) -> str:
        return f"{self.namespace}.{name}" if self.namespace else name
