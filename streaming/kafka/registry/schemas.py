"""The schemas by which framed values are read, looked up once by their ids.

How values are read by them is in `events`. An id is a producer's word: whoever names many costs the
registry a few questions a second, and the stream nothing.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final

from streaming.errors import Unavailable
from streaming.events.avro import UnreadableSchemaError, avro_reader
from streaming.events.framing import (
    SchemaId,
    SchemaReaders,
    ValueReader,
    read_framing,
    read_json_value,
)
from streaming.events.record import Record
from streaming.events.refusal import Reason, Refusal, excerpt
from streaming.kafka.registry.address import RegistryAddress, registry_address
from streaming.kafka.registry.client import (
    ANSWER_SECONDS,
    Answer,
    ask,
    require_registry,
    version_path,
)
from streaming.runtime.counters import SchemaLookups
from streaming.settings import Settings
from streaming.system.logs import RateLimitedLogger

REFUSED_SECONDS: Final = 60.0
"""After so long a schema that was refused is asked for again: it may be there now."""
ASKED_AT_ONCE: Final = 200
ASKED_PER_SECOND: Final = 2.0
"""How many questions: more than any deployment has schemas, and far below what hurts a registry."""
LEARN_SECONDS: Final = 5.0
"""After so long no further id is looked up before the caller had a turn."""
MAX_SCHEMAS: Final = 1_000
"""Of more the first ones are forgotten: a parsed schema takes some KiB."""
MAX_REFERENCES: Final = 20
MAX_PATH: Final = 1_000
"""Each schema that another refers to is one more question, and so is each of its own references."""
MAX_ID: Final = 2**31 - 1
"""A registry counts in 32 bits with a sign."""
AVRO: Final = "AVRO"
"""What a schema is of which the registry says nothing."""
EXTRA: Final = (
    "is Avro, which needs one more package: pip install 'purchases[avro]', start again, and redrive"
)


_Ask = Callable[[str], Answer]


class SchemaCache:
    """The schemas of a registry that were looked up.

    Those that it has are kept, because an id never changes its schema; a refusal is kept for a
    minute. Threads may share one. `clock` is in seconds.
    """

    def __init__(
        self, address: RegistryAddress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lookups = SchemaLookups()
        self._readers: dict[SchemaId, ValueReader | Refusal] = {}
        self._refused_at: dict[SchemaId, float] = {}
        self._address = address
        self._clock = clock
        self._lock = Lock()
        self._budget = float(ASKED_AT_ONCE)
        # None while records wait: what a slow registry takes to answer allows no more questions.
        self._done_at: float | None = None
        self._log = RateLimitedLogger()

    @property
    def readers(self) -> SchemaReaders:
        """The schemas by id, as they are now and after each `learn`."""
        return self._readers

    def learn(
        self, records: Iterable[Record], heartbeat: Callable[[], bool] = lambda: True
    ) -> None:
        """Look up the schemas that these records name, and that are not known yet.

        Those of most records come first. If there are more than may be asked for now, the others
        stay unknown. `heartbeat` is called before each question, and says whether to go on. Raises
        `Unavailable` if the registry does not answer, or not all in time; what was learnt stays.
        """
        framings = (read_framing(record) for record in records if _may_be_framed(record))
        named = Counter(f.schema for f in framings if f is not None and f.schema is not None)
        if not named:
            return
        # Its holder waits for the registry, so that this wait needs a bound of its own.
        if not self._lock.acquire(timeout=ANSWER_SECONDS):
            raise Unavailable(f"The schema registry {self._address.url} is slow; others wait too.")
        try:
            self._forget_old()
            # If the questions run out, they were asked for most of the records.
            self._look_up_all([one for one, _ in named.most_common()], heartbeat)
        finally:
            self._lock.release()

    def _look_up_all(self, ids: Iterable[SchemaId], heartbeat: Callable[[], bool]) -> None:
        new = [schema_id for schema_id in ids if schema_id not in self._readers]
        began = self._clock()
        for number, schema_id in enumerate(new):
            if self._budget < 1:
                self.lookups.unasked += len(new) - number
                self._log.warning("schemas_not_asked", ids=len(new) - number)
                break
            # Not between the questions of one schema, which would begin again each time.
            if self._clock() - began >= LEARN_SECONDS:
                raise Unavailable(
                    f"The schema registry {self._address.url} is slow: not all schemas of a batch"
                    f" came in {LEARN_SECONDS:g} s."
                )
            self._look_up(schema_id, heartbeat)
        self._done_at = self._clock()

    def _look_up(self, schema_id: SchemaId, heartbeat: Callable[[], bool]) -> None:
        def ask_next(path: str) -> Answer:
            if not heartbeat():
                raise Unavailable("The look-up of schemas was ended, because there is no time.")
            answer = ask(self._address, path)
            # Only now: while the registry is away there are no questions that it answers.
            self._budget -= 1
            return answer

        try:
            schema: ValueReader | Refusal = _read_schema(self._address, schema_id, ask_next)
            self.lookups.readable += 1
        except UnreadableSchemaError as error:
            schema = Refusal(Reason.UNKNOWN_SCHEMA, f"schema id {schema_id} {error}")
            self.lookups.refused += 1
            self._refused_at[schema_id] = self._clock()
        self._readers[schema_id] = schema

    def _forget_old(self) -> None:
        """Forget what was refused a minute ago, and the first of too many; allow new questions."""
        now = self._clock()
        if self._done_at is not None:
            allowed = self._budget + (now - self._done_at) * ASKED_PER_SECOND
            self._budget, self._done_at = min(allowed, ASKED_AT_ONCE), None
        old = [one for one, at in self._refused_at.items() if now - at >= REFUSED_SECONDS]
        # A dict is in the order of insertion: the first ones are the oldest.
        surplus = list(self._readers)[: max(len(self._readers) - MAX_SCHEMAS, 0)]
        for schema_id in (*old, *surplus):
            self._readers.pop(schema_id, None)
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


def _read_schema(address: RegistryAddress, schema_id: SchemaId, ask_next: _Ask) -> ValueReader:
    """Look a schema up, and return how its values are read.

    Raises `UnreadableSchemaError` if there is none, or none that is read here, and `Unavailable` if
    the registry does not say.
    """
    if isinstance(schema_id, int) and schema_id > MAX_ID:
        raise UnreadableSchemaError("is not in the schema registry: none counts so far")
    path = f"schemas/{'ids' if isinstance(schema_id, int) else 'guids'}/{schema_id}"
    content = _content(address, path, ask_next(path))
    kind = content.get("schemaType") or AVRO
    if kind == "JSON":
        return read_json_value
    if kind != AVRO:
        name = "Protobuf" if kind == "PROTOBUF" else excerpt(kind)
        raise UnreadableSchemaError(f"is {name}, which is not read; send JSON Schema or Avro")
    texts = [*_fetch_references(address, content, ask_next), content["schema"]]
    try:
        return avro_reader(texts)
    except ImportError:
        raise UnreadableSchemaError(EXTRA) from None


def _fetch_references(
    address: RegistryAddress, content: Mapping[str, Any], ask_next: _Ask
) -> list[str]:
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
            referenced = _content(address, path, ask_next(path))
            add_all(referenced.get("references"))
            texts[path] = referenced["schema"]

    add_all(content.get("references"))
    return list(texts.values())


def _content(address: RegistryAddress, path: str, answer: Answer) -> dict[str, Any]:
    """Return the registry's record of a schema, which has its text.

    Raises `UnreadableSchemaError` if it has none, and `Unavailable` if this is no registry.
    """
    content = answer.json()
    if not answer.ok:
        require_registry(address, path, answer)
        raise UnreadableSchemaError(f"is not in the schema registry ({answer.status} for {path})")
    if answer.body is None:
        raise UnreadableSchemaError("is too large to be read")
    if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
        require_registry(address, path, answer)
        raise UnreadableSchemaError("is no schema of text")
    return content
