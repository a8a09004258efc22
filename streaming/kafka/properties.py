"""The `client.properties` file of a Kafka cluster, read as Java reads it.

Which options of it we use, and which would break exactly-once, is in `config`.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from streaming.errors import UsageError
from streaming.settings import PREFIX

HEADING: Final = re.compile(r"\s*\[(\w+)\]\s*").fullmatch
OWN_SECTION: Final = "default"
"""The section of a `config.ini` that is for every program; others are for its quick start's."""


class Property(NamedTuple):
    """An option's value, and the number of the line where it begins."""

    value: str
    line: int


def read_properties(path: Path) -> dict[str, Property]:
    """Read a `.properties` file in UTF-8: the last of two values for one name counts.

    Of a `config.ini` only the section `[default]` is read, and `;` begins a comment too. Raises
    `UsageError` naming the file, and the line that has no value or a broken escape.
    """
    # Imported here, because it takes 40 ms that a worker without such a file need not spend.
    from javaproperties import InvalidUEscapeError, KeyValue, parse

    try:
        # A file that was saved on Windows may begin with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{PREFIX}KAFKA_CONFIG: {path} cannot be read: {error}.") from None
    properties: dict[str, Property] = {}
    line, section = 1, OWN_SECTION
    try:
        for entry in parse(text):
            if heading := HEADING(entry.source):
                section = heading[1].lower()
            elif (
                isinstance(entry, KeyValue)
                and section == OWN_SECTION
                and not entry.key.startswith(";")
            ):
                # Java takes a lone word for a name with an empty value; for Kafka it is a mistake.
                if not entry.value and entry.source.split() == [entry.key]:
                    raise UsageError(f"{PREFIX}KAFKA_CONFIG: {path}:{line} is not name=value.")
                properties[entry.key] = Property(entry.value, line)
            line += entry.source.count("\n")
    except InvalidUEscapeError as error:
        raise UsageError(f"{PREFIX}KAFKA_CONFIG: {path}:{line}: {error}.") from None
    return properties
