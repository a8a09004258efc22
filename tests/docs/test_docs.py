"""Each command and program in README and docs is run, in its order, in a home of its own.

What a page shows in a block `output` is compared with what the commands before it really print.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from inspect import signature
from pathlib import Path

import pytest

from streaming.settings import Settings
from streaming.system.home import Home
from tests.docs.pages import PAGES, ROOT, blocks, follow, is_run, new_home, run_command
from tests.kafka.secured import secured_broker

CLOUD_PAGE = "docs/how-to/connect-confluent-cloud.md"
HOSTS_PAGE = "docs/how-to/run-on-several-hosts.md"
README = "README.md"
"""It is followed in `test_readme`."""
TUTORIAL = "docs/tutorial.md"
MARKS = {
    # In short it is in `tests.kafka.test_cloud`.
    CLOUD_PAGE: [pytest.mark.faults],
    "docs/how-to/ask-in-sql.md": [pytest.mark.sqlite("SQL of SQLite")],
    "docs/how-to/back-up-and-restore.md": [pytest.mark.sqlite("a backup of the file")],
    "docs/how-to/export-figures.md": [pytest.mark.sqlite("other programs open the file")],
    "docs/how-to/read-the-columns.md": [pytest.mark.sqlite("the file has the list")],
    "docs/how-to/upgrade.md": [pytest.mark.sqlite("a backup of the file")],
}
LANGUAGES = {"console", "output", "python", "sql", "text"}
"""`sql` is for people with a server; the test that runs it names the page."""


@pytest.fixture(scope="module")
def deployment(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The deployment that the pages start from: it has purchases, and refused ones."""
    with new_home(jars, tmp_path_factory.mktemp("deployment")) as environment:
        for command in (
            "broker start",
            "topics create",
            "produce --rate max --count 2000 --seed 1 --start 2024-03-01 --bad-share 0.1",
            "process --until-caught-up",
            "analyze --until-caught-up",
        ):
            run_command(f"purchases {command}", environment)
        yield environment


@pytest.fixture
def cloud(jars: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the guide to Confluent Cloud starts from: a file, and no permission at all.

    The cluster is a broker with TLS, logins and permissions. Confluent's command line, which needs
    an account, is `tests.kafka.acl_commands`.
    """
    directory = tmp_path / "cluster"
    directory.mkdir()
    managed = shutil.which("javac") is not None
    with (
        secured_broker(jars, directory, managed=managed) as secured,
        new_home(jars, tmp_path) as environment,
    ):
        program = tmp_path / "bin" / "confluent"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.kafka.acl_commands "$@"\n')
        program.chmod(0o755)
        file = secured.file("python-with-registry", "sa-123456")
        yield environment | {
            "PURCHASES_KAFKA_CONFIG": str(file),
            "TESTS_PLAINTEXT": secured.plaintext,
        }


@pytest.fixture
def north(deployment: dict[str, str], postgres_settings: Settings) -> dict[str, str]:
    """One of several hosts: a home of its own on the Kafka of that deployment, and a server."""
    login = Home(Path(deployment["PURCHASES_HOME"])).broker_client_properties
    return deployment | {
        "PURCHASES_HOME": str(postgres_settings.home),
        "PURCHASES_KAFKA_CONFIG": str(login),
        "PURCHASES_DATABASE_URL": str(postgres_settings.database_url),
        "PURCHASES_HOST": "north",
    }


@pytest.fixture
def environment(page: str, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment of a page: most share a deployment; the tutorial begins with nothing."""
    if page == TUTORIAL:
        jars, home = request.getfixturevalue("jars"), request.getfixturevalue("tmp_path")
        with new_home(jars, home) as environment:
            yield environment
    else:
        special = {CLOUD_PAGE: "cloud", HOSTS_PAGE: "north"}
        yield request.getfixturevalue(special.get(page, "deployment"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=MARKS.get(page, []))
        for page in PAGES
        if is_run(page) and page != README
    ],
)
def test_what_a_page_shows_works(page: str, environment: dict[str, str]) -> None:
    """Console and Python blocks run in the order in which a reader meets them."""
    follow(page, environment)


def home_files() -> list[str]:
    """Return the files that docs/home.md names, as patterns below the home."""
    cells = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/home.md").read_text(), re.MULTILINE)
    return [re.sub(r"<\w+>", "*", name) for cell in cells for name in re.findall(r"`(.+?)`", cell)]


def test_every_file_that_is_in_a_home_is_in_the_reference(deployment: dict[str, str]) -> None:
    """Whoever finds a file in a home reads in docs/home.md what it is, and who needs it."""
    home = Path(deployment["PURCHASES_HOME"])
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    patterns = [*home_files(), "bin/*", "events.parquet"]
    unknown = {name for name in files if not any(fnmatch(name, one) for one in patterns)}
    assert not unknown, f"docs/home.md does not name {sorted(unknown)}"


@pytest.mark.parametrize(
    "name", [name for name in vars(Home) if not name.startswith(("_", "list_"))]
)
def test_every_path_of_the_code_is_in_the_reference(name: str) -> None:
    """A file or directory that the code names in a home is in docs/home.md."""
    home = Home(Path("home"))
    value = getattr(home, name)
    if callable(value):
        value = value(*("x" for _ in signature(value).parameters))
    path = str(value.relative_to(home.path))
    matching = [one for one in home_files() if fnmatch(path, one) or one.startswith(f"{path}/")]
    assert matching, f"docs/home.md does not name {path}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_says_what_it_is(page: str) -> None:
    """A block in another language would not be run, and so not be right for long."""
    assert {language for language, _ in blocks(page)} <= LANGUAGES


def test_make_run_is_the_demonstration() -> None:
    """`make run` sets up if needed and then runs `purchases up --demo`, and nothing else."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/.set-up", "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-3:] == [".venv/bin/purchases", "up", "--demo"]


def links(page: str) -> list[tuple[str, str]]:
    """Return a page's relative links: (file of the project, anchor or nothing) each."""
    targets = re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", (ROOT / page).read_text())
    folder = (ROOT / page).parent
    return [
        (os.path.relpath(folder / target, ROOT) if target else page, anchor)
        for target, anchor in targets
    ]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """A relative link names a file that is there, and a heading that it has."""
    for target, anchor in links(page):
        assert (ROOT / target).exists(), f"{page} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{page}: {target} has no #{anchor}"


@pytest.mark.parametrize("page", sorted(set(PAGES) - {"CHANGELOG.md"}))
def test_files_that_a_page_names_are_there(page: str) -> None:
    """The changelog alone tells of files that are gone."""
    named = re.findall(
        r"`((?:assets|benchmarks|orchestration|streaming|tests)/[\w/]+\.py)`",
        (ROOT / page).read_text(),
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_of_the_docs_is_reachable_from_their_index() -> None:
    """Whoever opens docs/README.md finds each page by following links."""
    reached, new = set[str](), {"docs/README.md"}
    while new:
        reached |= new
        new = {target for page in new for target, _ in links(page) if target in PAGES} - reached
    lost = {page for page in PAGES if page.startswith("docs/")} - reached
    assert not lost, f"no link from docs/README.md leads to {sorted(lost)}"
