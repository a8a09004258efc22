"""The names of topics, groups and transactional ids of one deployment, by its namespace."""

from dataclasses import dataclass

from streaming.settings import Settings


@dataclass(frozen=True)
class Names:
    """Every name that this deployment has on its cluster, prefixed where there is a namespace."""

    namespace: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Names":
        """Give the names of the deployment that `settings` describe."""
        return cls(settings.namespace)

    @property
    def purchases(self) -> str:
        """The topic of raw purchases."""
        return self._prefixed("purchases")

    @property
    def analytics(self) -> str:
        """The topic of valid, enriched events."""
        return self._prefixed("analytics")

    @property
    def dead_letters(self) -> str:
        """The topic of refused records."""
        return self._prefixed("purchases.dlq")

    @property
    def processor_group(self) -> str:
        """The processor's consumer group."""
        return self._prefixed("purchase-processor")

    def analytics_group(self, deployment_id: str) -> str:
        """Give the consumer group of one database, so that each receives everything."""
        return self._prefixed(f"analytics-consumer-{deployment_id[:8]}")

    def transactional_id(self, slot: int) -> str:
        """Give the static transactional id of a processor slot."""
        return self._prefixed(f"processor-{slot}")

    def _prefixed(self, name: str) -> str:
        return f"{self.namespace}.{name}" if self.namespace else name


def targets_of(settings: Settings, app: str) -> list[str]:
    """Give the topics that an app reads."""
    names = Names.of(settings)
    if app == "processor":
        return [names.purchases]
    return [names.analytics, names.dead_letters]
