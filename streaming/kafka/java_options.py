"""What a `client.properties` file made for Java says, as options of librdkafka; pure.

Which options are allowed here at all is in `config`, and how the file is read in `properties`.
"""

import re
from collections.abc import Mapping
from typing import Final

from streaming.errors import UsageError
from streaming.kafka.properties import Property

NOT_OURS: Final = re.compile(
    r"(?:key|value)\.(?:de)?serializer|schema\.registry\..*|basic\.auth\..*"
).fullmatch
"""Options of Java's serializers and of the schema registry's client, neither of which is used."""
TRUST_STORE: Final = "ssl.truststore."
NUMBER_NAMES: Final = re.compile(r"(?:.*\.)?(?:ms|k?bytes|messages|records|retries|max)").fullmatch
NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII).fullmatch
_LOGIN_MODULE = re.compile(
    r"\S*\.(?:PlainLoginModule|ScramLoginModule)\s+required\s(.*);\s*", re.DOTALL
)
_LOGIN_OPTION = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")


def translate_java_options(properties: Mapping[str, Property], source: str) -> dict[str, Property]:
    """Return the options as librdkafka knows them, each with the line it came from.

    Options of serializers are left out, a JAAS login becomes user and password, and a trust store
    in PEM the certificate authority. Raises `UsageError` naming `source` and line of a login or
    trust store of another kind, and of a number that is none.
    """
    options: dict[str, Property] = {}
    for name, found in properties.items():
        if name == "sasl.jaas.config":
            options = _login(found, source) | options
        elif name.startswith(TRUST_STORE):
            options |= _authority(name, properties, source)
        elif NUMBER_NAMES(name) and not NUMBER(found.value):
            # librdkafka takes `45s` for 45.
            raise UsageError(
                f"{source}:{found.line} sets {name}={found.value}, which is not a number."
            )
        elif not NOT_OURS(name):
            options[name] = found
    return options


def _login(found: Property, source: str) -> dict[str, Property]:
    """Return user and password of a JAAS login by PLAIN or SCRAM."""
    module = _LOGIN_MODULE.fullmatch(found.value.strip())
    pairs = _LOGIN_OPTION.findall(module[1]) if module else []
    login = {name: re.sub(r"\\(.)", r"\1", double or single) for name, double, single in pairs}
    if not {"username", "password"} <= login.keys():
        raise UsageError(
            f"{source}:{found.line} sets sasl.jaas.config without username and password of a"
            " PlainLoginModule or ScramLoginModule; set sasl.username and sasl.password instead."
        )
    return {f"sasl.{key}": Property(login[key], found.line) for key in ("username", "password")}


def _authority(name: str, properties: Mapping[str, Property], source: str) -> dict[str, Property]:
    """Return the authority that a trust store in PEM is; nothing for its other lines."""
    kind = properties.get(f"{TRUST_STORE}type", Property("JKS", 0)).value
    if kind.upper() != "PEM":
        raise UsageError(
            f"{source}:{properties[name].line} sets {name} of a Java trust store; export its"
            " certificates with `keytool -exportcert -rfc`, and name that file in ssl.ca.location."
        )
    return {"ssl.ca.location": properties[name]} if name == f"{TRUST_STORE}location" else {}
