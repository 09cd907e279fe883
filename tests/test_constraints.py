"""The versions that are installed by default lie within the ranges that are promised."""

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
    found = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in found}


def ranges() -> list[Requirement]:
    """Return all that `setup.cfg` asks for, extras too."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    return [Requirement(line) for text in lists for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("wanted", ranges(), ids=lambda wanted: wanted.name)
def test_each_package_is_pinned_within_its_range(wanted: Requirement) -> None:
    assert pins()[canonicalize_name(wanted.name)] in wanted.specifier


def test_each_range_has_both_ends() -> None:
    open_ended = {wanted.name for wanted in ranges() if "<" not in str(wanted.specifier)}
    assert {name for name in open_ended if not name.startswith("types-")} == set()
