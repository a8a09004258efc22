"""docs/architecture.md against the tree: it names every package, and the layout stays small."""

import re

import pytest

from tests.docs.pages import ROOT

PACKAGES = ("streaming", "assets", "orchestration")
ROW = re.compile(r"^\| `([a-z_/]+)/` \| (.+) \|$", re.MULTILINE)


def test_the_architecture_names_every_package_and_no_other() -> None:
    """A reader finds each package of the tree in the tables, and nothing that is gone."""
    packages = {
        str(init.parent.relative_to(ROOT))
        for package in PACKAGES
        for init in (ROOT / package).glob("*/**/__init__.py")
    }
    named = [path for path, _ in ROW.findall((ROOT / "docs" / "architecture.md").read_text())]
    assert sorted(named) == sorted(packages)


@pytest.mark.parametrize(
    ("package", "packages", "modules"),
    [("streaming", 17, 5), ("assets", 4, 4), ("orchestration", 3, 3)],
)
def test_a_package_has_few_packages_and_modules(package: str, packages: int, modules: int) -> None:
    """What is new goes into a package that exists, so that the picture stays readable."""
    names = [path.stem for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")]
    assert len(list((ROOT / package).glob("*/__init__.py"))) <= packages
    assert len(names) <= modules, names
