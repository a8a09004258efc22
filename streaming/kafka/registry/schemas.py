"""The schemas by which framed values are read, looked up once by their ids.

How values are read by them is in `events`. An id is a producer's word: whoever names many costs the
registry a few questions a second, and the stream nothing.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from streaming.events.avro import UnreadableSchemaError, avro_reader
from streaming.events.framing import (
    KnownSchemas,
    SchemaId,
    ValueReader,
    read_framing,
    read_json_value,
)
from streaming.events.record import Record
from streaming.events.refusal import Reason, Refusal, excerpt
from streaming.kafka.registry.address import RegistryAddress, registry_address
from streaming.kafka.registry.client import TYPES, Answer, ask, no_registry, version_path
from streaming.runtime.counters import SchemaLookups
from streaming.settings import Settings
from streaming.system.logs import RateLimitedLogger

REFUSED_SECONDS: Final = 60.0
"""After so long a schema that was refused is asked for again: it may be there now."""
ASKED_AT_ONCE: Final = 200
ASKED_PER_SECOND: Final = 2.0
"""How many ids are looked up: more than any deployment has, and far below what hurts a registry."""
MAX_KNOWN: Final = 1_000
"""Of more the first ones are forgotten: a parsed schema takes some KiB."""
MAX_REFERENCES: Final = 20
MAX_PATH: Final = 1_000
MAX_ID: Final = 2**31 - 1
"""A registry counts in 32 bits with a sign."""
AVRO: Final = "AVRO"
"""What a schema is of which the registry says nothing."""
EXTRA: Final = (
    "is Avro, which needs one more package: pip install 'purchases[avro]', start again, and redrive"
)


class SchemaCache:
    """The schemas of a registry that were looked up.

    Those that it has are kept, because an id never changes its schema; a refusal is kept for a
    minute. `clock` is in seconds.
    """

    def __init__(
        self, address: RegistryAddress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lookups = SchemaLookups()
        self._known: dict[SchemaId, ValueReader | Refusal] = {}
        self._refused_at: dict[SchemaId, float] = {}
        self._address = address
        self._clock = clock
        self._budget, self._filled_at = float(ASKED_AT_ONCE), clock()
        self._log = RateLimitedLogger()

    @property
    def known(self) -> KnownSchemas:
        """The schemas by id, as they are now and after each `learn`."""
        return self._known

    def learn(
        self, records: Iterable[Record], heartbeat: Callable[[], object] = lambda: None
    ) -> None:
        """Look up the schemas that these records name, and that are not known yet.

        Those of most records come first. If there are more than may be asked for now, the others
        stay unknown. `heartbeat` is called before each question. Raises `Unavailable` if the
        registry does not answer; what was learnt stays.
        """
        framings = (read_framing(record) for record in records if _may_be_framed(record))
        named = Counter(f.schema for f in framings if f is not None and f.schema is not None)
        if not named:
            return
        self._forget_old()
        new = [schema_id for schema_id, _ in named.most_common() if schema_id not in self._known]
        for number, schema_id in enumerate(new):
            if self._budget < 1:
                self.lookups.unasked += len(new) - number
                self._log.warning("schemas_not_asked", ids=len(new) - number)
                break
            heartbeat()
            self._budget -= 1
            self._look_up(schema_id)

    def _look_up(self, schema_id: SchemaId) -> None:
        try:
            schema: ValueReader | Refusal = _read_schema(self._address, schema_id)
            self.lookups.found += 1
        except UnreadableSchemaError as error:
            schema = Refusal(Reason.UNKNOWN_SCHEMA, f"schema id {schema_id} {error}")
            self.lookups.refused += 1
            self._refused_at[schema_id] = self._clock()
        self._known[schema_id] = schema

    def _forget_old(self) -> None:
        """Forget what was refused a minute ago, and the first of too many; allow new questions."""
        now = self._clock()
        allowed = self._budget + (now - self._filled_at) * ASKED_PER_SECOND
        self._budget, self._filled_at = min(allowed, ASKED_AT_ONCE), now
        old = [one for one, at in self._refused_at.items() if now - at >= REFUSED_SECONDS]
        surplus = list(self._known)[: max(len(self._known) - MAX_KNOWN, 0)]
        for schema_id in (*old, *surplus):
            self._known.pop(schema_id, None)
            self._refused_at.pop(schema_id, None)


def schema_cache(settings: Settings) -> SchemaCache | None:
    """Return a cache of the deployment's registry, empty; None without a registry.

    Raises `UsageError` as `registry_address` does.
    """
    address = registry_address(settings)
    return None if address is None else SchemaCache(address)


def _may_be_framed(record: Record) -> bool:
    """Return whether it is worth a closer look: hardly any record of most topics is."""
    return bool(record.headers) or bool(record.value and not record.value[0])


def _read_schema(address: RegistryAddress, schema_id: SchemaId) -> ValueReader:
    """Look a schema up, and return how its values are read.

    Raises `UnreadableSchemaError` if there is none, or none that is read here, and `Unavailable` if
    the registry does not say.
    """
    if isinstance(schema_id, int) and schema_id > MAX_ID:
        raise UnreadableSchemaError("is not in the schema registry: none counts so far")
    path = f"schemas/{'ids' if isinstance(schema_id, int) else 'guids'}/{schema_id}"
    content = _content(address, path, ask(address, path))
    kind = content.get("schemaType") or AVRO
    if kind == "JSON":
        return read_json_value
    if kind != AVRO:
        name = "Protobuf" if kind == "PROTOBUF" else excerpt(kind)
        raise UnreadableSchemaError(f"is {name}, which is not read; send JSON Schema or Avro")
    texts = [*_referenced(address, content), content["schema"]]
    try:
        return avro_reader(texts)
    except ImportError:
        raise UnreadableSchemaError(EXTRA) from None


def _referenced(address: RegistryAddress, content: Mapping[str, Any]) -> list[str]:
    """Return the schemas that one refers to, each behind those that it refers to itself."""
    texts: dict[str, str] = {}
    asked: set[str] = set()

    def add_all(references: Any) -> None:  # noqa: ANN401 - JSON of any form
        for reference in references if isinstance(references, list) else ():
            path = version_path(reference)
            if path in asked:
                continue
            asked.add(path)
            if len(asked) > MAX_REFERENCES or len(path) > MAX_PATH:
                raise UnreadableSchemaError("refers to too many others, or by too long names")
            found = _content(address, path, ask(address, path))
            add_all(found.get("references"))
            texts[path] = found["schema"]

    add_all(content.get("references"))
    return list(texts.values())


def _content(address: RegistryAddress, path: str, answer: Answer) -> dict[str, Any]:
    """Return the registry's record of a schema, which has its text.

    Raises `UnreadableSchemaError` if it has none, and `Unavailable` if this is no registry.
    """
    content = answer.json()
    if not answer.ok:
        if not answer.is_refusal:
            _require_registry(address, path, answer.status)
        raise UnreadableSchemaError(f"is not in the schema registry ({answer.status} for {path})")
    if answer.body is None:
        raise UnreadableSchemaError("is too large to be read")
    if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
        _require_registry(address, path, answer.status)
        raise UnreadableSchemaError("is no schema of text")
    return content


def _require_registry(address: RegistryAddress, path: str, status: int) -> None:
    """Raise `Unavailable` if what answers there is another program, as a mistyped address has."""
    types = ask(address, TYPES)
    if not types.ok or not isinstance(types.json(), list):
        raise no_registry(address, path, status)
