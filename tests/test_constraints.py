"""The pinned versions are within the ranges of `setup.cfg`."""

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pins() -> dict[str, Version]:
    """Return the version of each package in `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def ranges() -> list[Requirement]:
    """Return all requirements of `setup.cfg`, with extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    requirements = [
        Requirement(line) for text in lists for line in text.split("\n") if line.strip()
    ]
    # Some extras contain another extra of the package itself.
    return [requirement for requirement in requirements if requirement.name != "thorax"]


@pytest.mark.parametrize("requirement", ranges(), ids=lambda requirement: requirement.name)
def test_each_package_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_each_range_has_an_upper_bound() -> None:
    open_ended = {item.name for item in ranges() if "<" not in str(item.specifier)}
    assert {name for name in open_ended if not name.startswith("types-")} == set()
