"""What a `client.properties` file made for Java says, as options of librdkafka; pure.

Which options are allowed here at all is in `config`, and how the file is read in `properties`.
"""

import re
from collections.abc import Mapping
from typing import Final

from streaming.errors import UsageError
from streaming.kafka.properties import Property

REGISTRY: Final = re.compile(r"(?:schema\.registry|basic\.auth|bearer\.auth)\..*").fullmatch
"""Options of the schema registry's client. They are in the same file, but not for Kafka."""
JAVA_ONLY: Final = re.compile(
    r"(?:key|value)\.(?:(?:de)?serializer|subject\.name\.strategy)(?:\..*)?"
    r"|auto\.register\.schemas|use\.latest\.version|specific\.avro\.reader"
    r"|default\.api\.timeout\.ms|max\.poll\.records|max\.block\.ms|buffer\.memory"
    r"|sasl\.login\..*|sasl\.oauthbearer\.jwt\.retriever\.class|org\.apache\.kafka\..*"
).fullmatch
"""Options of Java's serializers, memory and login, without which librdkafka does the same."""
TRUST_STORE: Final = "ssl.truststore."
AUTHORITY: Final = {"location": "ssl.ca.location", "certificates": "ssl.ca.pem"}
KEY_STORE_TYPE: Final = "ssl.keystore.type"
NUMBER_NAMES: Final = re.compile(r"(?:.*\.)?(?:ms|k?bytes|messages|records|retries|max)").fullmatch
NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII).fullmatch


PASSWORD_LOGIN: Final = {"username": "sasl.username", "password": "sasl.password"}
TOKEN_LOGIN: Final = {
    "clientId": "sasl.oauthbearer.client.id",
    "clientSecret": "sasl.oauthbearer.client.secret",
    "scope": "sasl.oauthbearer.scope",
}
MODULES: Final = {
    "PlainLoginModule": PASSWORD_LOGIN,
    "ScramLoginModule": PASSWORD_LOGIN,
    "OAuthBearerLoginModule": TOKEN_LOGIN,
}
"""The JAAS logins, and librdkafka's names of their options."""
EXTENSION: Final = "extension_"
_LOGIN = re.compile(r"(?:\S+\.)?(\w+)\s+required\b(.*);\s*", re.DOTALL)
_LOGIN_OPTION = re.compile(
    r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"';]+))""", re.DOTALL
)


def translate_java_options(properties: Mapping[str, Property], source: str) -> dict[str, Property]:
    """Return the options as librdkafka knows them, each with the line it came from.

    Options of the schema registry and what only Java needs are left out. A JAAS login becomes the
    options of a login here, and a trust store in PEM the certificate authority. Raises `UsageError`
    naming `source` and line of a login or store of another kind, and of a number that is none.
    """
    options: dict[str, Property] = {}
    for name, option in properties.items():
        where = f"{source}:{option.line} sets {name}"
        if name == "sasl.jaas.config":
            # An option with a line of its own goes before what the JAAS line says.
            options = _login(option, where) | options
        elif name.startswith(TRUST_STORE):
            options |= _authority(name, properties, where)
        elif name == KEY_STORE_TYPE:
            _require_pkcs12(option, where)
        elif REGISTRY(name) or JAVA_ONLY(name):
            continue
        elif NUMBER_NAMES(name) and not NUMBER(option.value):
            # librdkafka takes `45s` for 45.
            raise UsageError(f"{where}={option.value}, which is not a number.")
        else:
            options[name] = option
    return options


def _login(option: Property, where: str) -> dict[str, Property]:
    """Return the options of a JAAS login by PLAIN, SCRAM or OAUTHBEARER."""
    login = _LOGIN.fullmatch(option.value.strip())
    if login is None or login[1] not in MODULES or _LOGIN_OPTION.sub("", login[2]).strip():
        raise UsageError(
            f'{where}, but not as `{" | ".join(MODULES)} required name="value" …;`; set'
            " sasl.username and sasl.password, or the options sasl.oauthbearer.…, instead."
        )
    values = {
        name: re.sub(r"\\(.)", r"\1", double or single or bare, flags=re.DOTALL)
        for name, double, single, bare in _LOGIN_OPTION.findall(login[2])
    }
    module = MODULES[login[1]]
    options, extensions = {}, []
    for name, value in values.items():
        if name in module:
            options[module[name]] = value
        elif name.startswith(EXTENSION) and module is TOKEN_LOGIN:
            extensions.append(f"{name.removeprefix(EXTENSION)}={value}")
        else:
            raise UsageError(f"{where} with {name}, which only Java knows; remove it.")
    if module is PASSWORD_LOGIN and not module.keys() <= values.keys():
        raise UsageError(f"{where} without username and password of {login[1]}; add them.")
    # What a token's login lacks may stand beside it; else librdkafka says so.
    if module is TOKEN_LOGIN:
        options["sasl.oauthbearer.method"] = "oidc"
    if extensions:
        options["sasl.oauthbearer.extensions"] = ",".join(extensions)
    return {name: Property(value, option.line) for name, value in options.items()}


def _authority(name: str, properties: Mapping[str, Property], where: str) -> dict[str, Property]:
    """Return the authority that a trust store in PEM is; nothing for its other lines."""
    kind = properties.get(f"{TRUST_STORE}type", Property("JKS", 0)).value
    if kind.upper() != "PEM":
        raise UsageError(
            f"{where} of a Java trust store; export its certificates with"
            " `keytool -exportcert -rfc`, and name that file in ssl.ca.location."
        )
    translated = AUTHORITY.get(name.removeprefix(TRUST_STORE))
    return {translated: properties[name]} if translated else {}


def _require_pkcs12(option: Property, where: str) -> None:
    if option.value.upper() != "PKCS12":
        raise UsageError(
            f"{where}={option.value}, but only PKCS12 is known; name the PEM files of certificate"
            " and key in ssl.certificate.location and ssl.key.location."
        )
