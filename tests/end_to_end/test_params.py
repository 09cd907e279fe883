"""`dvc.yaml` lists the parameters that each stage reads; every parameter has a comment."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from thorax.common.params import Params

ROOT = Path(__file__).parents[2]
PARAMS = ("params", "self.params", "load_params()")
SECTIONS = {field.name for field in dataclasses.fields(Params)} - {"recipes"}
"""Of the stages; recipes are settings of `dvc exp run`."""


def sections_read(source: str) -> set[str]:
    """Return the sections in ``params.<section>`` and alike; see `PARAMS`."""
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return {node.attr for node in attributes if ast.unparse(node.value) in PARAMS}


def listed(path: Path, stage: str) -> set[str]:
    return set(yaml.safe_load(path.read_text())["stages"][stage].get("params", []))


STAGES = {
    "phantom": ("data/phantom/dvc.yaml", "phantom"),
    **{name: ("dvc.yaml", name) for name in ("prepare", "train", "export", "predict", "evaluate")},
}

PASSED_TO = {"train": ("session", "provenance", "initial_weights")}
"""Modules of `thorax.training` to which the stage passes all parameters."""


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_reads_exactly_the_listed_parameters(module: str) -> None:
    files = [f"pipeline/{module}", *(f"training/{name}" for name in PASSED_TO.get(module, ()))]
    sources = [(ROOT / f"src/thorax/{file}.py").read_text() for file in files]
    path, stage = STAGES[module]
    assert set().union(*map(sections_read, sources)) & SECTIONS == listed(ROOT / path, stage)


def test_every_stage_is_in_the_test_above() -> None:
    modules = {path.stem for path in ROOT.glob("src/thorax/pipeline/[!_]*.py")}
    assert modules == {*STAGES, "report", "paths", "prediction_files", "source"}


def test_the_report_depends_on_all_parameters_except_those_of_the_phantom() -> None:
    assert listed(ROOT / "dvc.yaml", "report") == SECTIONS - {"phantom"}


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("params.seed + params.train.epochs", {"seed", "train"}),
        ("load_dataset(DATA / load_params().dataset)", {"dataset"}),
        ("self.params.network", {"network"}),
        ("f(params)", set()),
        ("index.dataset", set()),
    ],
)
def test_read_sections_are_detected_in_source(source: str, read: set[str]) -> None:
    assert sections_read(source) == read


def test_every_section_is_read_by_some_stage() -> None:
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    used = [listed(ROOT / path, stage) for path, stage in STAGES.values()]
    assert set(written) - {"recipes"} == set.union(*used) == SECTIONS


def test_every_value_has_a_comment() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    assert [
        line for line in lines if re.match(r"\s*\w+:\s+[^#\s]", line) and "# " not in line
    ] == []
