"""Files from Maven Central that only tests need, each used only if its sum is the recorded one.

They are kept in the user's cache, beside the broker's jars, so that one run fetches them for all.
"""

from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from streaming.broker.jars import sha256_of, user_cache


def fetch_files(sums: Path) -> list[Path]:
    """Return the files of a list, in its order; those that the cache lacks are fetched.

    Each line has the SHA-256 and the coordinates, `group:artifact:version[:classifier:packaging]`.
    Raises `AssertionError` for a file that is not the recorded one.
    """
    kafka = user_cache()
    cache = (kafka.parent if kafka else Path(gettempdir())) / "tests"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of many processes of tests one fetches.
    with (cache / "fetching.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        return [_fetch(cache, *line.split()) for line in sums.read_text().splitlines()]


def _fetch(cache: Path, expected: str, coordinates: str) -> Path:
    group, artifact, version, classifier, packaging = (*coordinates.split(":"), "", "jar")[:5]
    name = "-".join(filter(None, (artifact, version, classifier)))
    file = cache / f"{name}.{packaging}"
    if sha256_of(file) != expected:
        # Not at the top: the package is of the extra `broker`, and takes long to load.
        from jgo.maven import MavenContext

        with TemporaryDirectory(dir=cache) as directory:
            project = MavenContext(repo_cache=Path(directory), timeout=120).project(group, artifact)
            fetched = project.at_version(version).artifact(classifier, packaging).resolve()
            assert sha256_of(fetched) == expected, f"{coordinates} is not the recorded file"
            fetched.replace(file)
    return file
