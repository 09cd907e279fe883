"""What a stage reads of `params.yaml` is what `dvc.yaml` lists for it, and every key is told of."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from thorax.common.params import Params

ROOT = Path(__file__).parents[2]
SECTIONS = {field.name for field in dataclasses.fields(Params)}


def sections_read(source: str) -> set[str]:
    """Return the sections in ``params.<section>`` and ``load_params().<section>``."""
    read = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return {node.attr for node in read if ast.unparse(node.value) in ("params", "load_params()")}


def listed(path: Path, stage: str) -> set[str]:
    return set(yaml.safe_load(path.read_text())["stages"][stage].get("params", []))


STAGES = {
    "covid19": ("data/covid19/dvc.yaml", "download"),
    "phantom": ("data/phantom/dvc.yaml", "phantom"),
    **{name: ("dvc.yaml", name) for name in ("prepare", "train", "export", "predict", "evaluate")},
}


@pytest.mark.parametrize("module", STAGES)
def test_a_stage_reads_just_the_params_that_are_listed(module: str) -> None:
    source = (ROOT / f"src/thorax/pipeline/{module}.py").read_text()
    path, stage = STAGES[module]
    assert sections_read(source) & SECTIONS == listed(ROOT / path, stage)


def test_no_stage_is_left_out_of_the_test_above() -> None:
    modules = {path.stem for path in ROOT.glob("src/thorax/pipeline/[!_]*.py")}
    assert modules == {*STAGES, "report", "maps"}


def test_the_report_tells_of_all_settings_but_those_of_synthetic_chests() -> None:
    assert listed(ROOT / "dvc.yaml", "report") == SECTIONS - {"phantom"}


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("params.seed + params.train.epochs", {"seed", "train"}),
        ("load_dataset(DATA / load_params().dataset)", {"dataset"}),
        ("f(params)", set()),
        ("index.dataset", set()),
    ],
)
def test_reading_is_seen_in_the_source(source: str, read: set[str]) -> None:
    assert sections_read(source) == read


def test_every_section_is_read_by_some_stage() -> None:
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    used = [listed(ROOT / path, stage) for path, stage in STAGES.values()]
    assert set(written) == set.union(*used) == SECTIONS


def test_every_value_has_a_comment_beside_it() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    assert [
        line for line in lines if re.match(r"\s*\w+:\s+[^#\s]", line) and "# " not in line
    ] == []
