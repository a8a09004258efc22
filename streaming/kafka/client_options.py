"""Which options of a client file are taken, and which of these leave a connection open to others.

A file comes from whoever operates the cluster. It says where and how to connect, and tunes that. It
must not run code in our processes, so all other options are refused. Pure. What options mean for
exactly-once is in `config`.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from streaming.system.loopback import is_loopback

TAKEN: Final = re.compile(
    # Where, and by which protocol.
    r"bootstrap\.servers|security\.protocol|client\.(?:rack|dns\.lookup)"
    r"|broker\.address\.(?:family|ttl)|broker\.version\.fallback|api\.version\..*"
    # Who we are, and who they are. Kerberos is not built into the client.
    r"|sasl\.(?:mechanisms?|username|password)|sasl\.oauthbearer\.(?!config$).*"
    r"|ssl\.(?:ca|certificate|key|keystore|crl)\..*"
    r"|ssl\.(?:cipher\.suites|curves\.list|sigalgs\.list|endpoint\.identification\.algorithm)"
    r"|enable\.ssl\.certificate\.verification|https\.ca\..*"
    # How patient, and how much at once.
    r"|(?:socket|reconnect|retry|metadata|topic\.metadata|request|batch|fetch|queued)\..*"
    r"|queue\.buffering\..*|sticky\.partitioning\..*|(?:receive\.)?message\.max\.bytes"
    r"|connections\.max\.idle\.ms|max\.(?:in\.flight.*|poll\.interval\.ms)|retries"
    r"|message\.send\.max\.retries|message\.copy\.max\.bytes|compression\.level|check\.crcs"
    r"|enable\.metrics\.push"
).fullmatch
ALIASES: Final = frozenset(
    {"request.required.acks", "metadata.broker.list", "fetch.message.max.bytes"}
)
"""Other names of options, by which a value would pass over what is required of these."""
DANGEROUS: Final = {
    "plugin.library.paths": "loads code into every process",
    "interceptors": "loads code into every process",
    "ssl.engine.location": "loads code into every process",
    "ssl.engine.id": "loads code into every process",
    "ssl.providers": "loads code into every process",
    "sasl.kerberos.kinit.cmd": "runs a command in a shell",
    "debug": "fills the logs with the internals of every client",
    "enable.sasl.oauthbearer.unsecure.jwt": "logs in by a token that nobody signed",
}
"""The reason is said, because somebody may have meant it."""
CLEAR_MECHANISMS: Final = {"PLAIN": "password", "OAUTHBEARER": "token"}
"""What passes over the connection as it is. SCRAM sends a proof that nobody can use again."""
TOKEN_URL: Final = "sasl.oauthbearer.token.endpoint.url"  # noqa: S105 - the name of an option
UNVERIFIED: Final = {
    "enable.ssl.certificate.verification": {"false", "f", "0"},
    "ssl.endpoint.identification.algorithm": {"none"},
}
"""The values by which anybody can be the broker, although the connection is encrypted."""


def reason_to_refuse(name: str) -> str | None:
    """Return why the option is not taken, as a clause behind its name; None if it is taken."""
    if name in DANGEROUS:
        return f"which {DANGEROUS[name]}"
    if name in ALIASES or TAKEN(name) is None:
        return "which is no option that purchases takes from a file"
    return None


def exposed_secret(options: Mapping[str, object], bootstrap_servers: str) -> str | None:
    """Return which secret these options would send unencrypted off this host, and to whom."""
    # Either name counts, so a file that has both may mean either.
    named = {str(options.get(name, "")).upper() for name in ("sasl.mechanism", "sasl.mechanisms")}
    mechanism = next((one for one in CLEAR_MECHANISMS if one in named), None)
    protocol = str(options.get("security.protocol", "")).upper()
    if mechanism is not None and protocol == "SASL_PLAINTEXT":
        for server in bootstrap_servers.split(","):
            host = server.strip().rpartition("://")[2].rpartition(":")[0]
            if host and not is_loopback(host):
                return f"the {CLEAR_MECHANISMS[mechanism]} of {mechanism} to {host}"
    endpoint = urlsplit(str(options.get(TOKEN_URL, "")))
    if endpoint.scheme == "http" and not is_loopback(endpoint.hostname or ""):
        return f"the client's secret to {endpoint.hostname}"
    return None


def unverified_options(options: Mapping[str, object]) -> tuple[str, ...]:
    """Return the options, with values, by which the broker's certificate is not verified."""
    protocol = str(options.get("security.protocol", "")).upper()
    if protocol not in {"SSL", "SASL_SSL"}:
        return ()
    return tuple(
        f"{name} is {options[name]}"
        for name, values in UNVERIFIED.items()
        if str(options.get(name, "")).lower() in values
    )
