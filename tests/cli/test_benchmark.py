"""`thorax benchmark`: options, errors, and its output with runs that do not train."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import benchmark as command
from thorax.cli import main
from thorax.datasets.published_folds import COVID19_FOLDS
from thorax.experiments.benchmark.protocols import PROTOCOLS
from thorax.experiments.project import Project

ROOT = Path(__file__).parents[2]

CASES = sorted(case for fold in COVID19_FOLDS for case in fold)

TRUTH = np.zeros((12, 6, 4), np.uint8)
TRUTH[1:5, 1:5, 1:3], TRUTH[7:11, 1:5, 1:3], TRUTH[9:11, 1:5, 1:3] = 1, 2, 3


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with all cases, whose runs have fixed scores: 0.5, or 0.75 in the lung."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "data/covid19/scans").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copy(ROOT / "data/covid19/dataset.yaml", folder / "data/covid19")
    for case in CASES:
        (folder / f"data/covid19/scans/{case}.nii.gz").touch()
        save(folder / f"data/covid19/masks/{case}.nii.gz", TRUTH)
    for words in (
        ("init", "--quiet"),
        ("config", "user.name", "thorax"),
        ("config", "user.email", "thorax@example.org"),
        ("add", "params.yaml"),
        ("commit", "--quiet", "--message", "Start"),
    ):
        subprocess.run(("git", *words), cwd=folder, check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Project, "scores", scores)
    monkeypatch.setattr(command, "execute", lambda *_, **__: "")
    return folder


def scores(_: Project, name: str, *, table: str = "scores.csv") -> str:
    """Return the tables of a run, which has the cases of the fold in its name."""
    match = re.search(r"fold(\d)", name)
    assert match
    cases = COVID19_FOLDS[int(match[1])]
    values = "0.5,0.25,0.5,10,10"
    if table == "sides.csv":
        rows = [f"{case},lung,{side},{values}" for case in cases for side in ("right", "left")]
        return "\n".join(["case,region,side,dice,iou,nsd,truth_ml,predicted_ml", *rows, ""])
    rows = [f"{case},lung,0.75,0.5,0.5,10,10\n{case},infection,{values}" for case in cases]
    return "\n".join(["case,region,dice,iou,nsd,truth_ml,predicted_ml", *rows, ""])


def test_the_choices_are_the_protocols() -> None:
    (option,) = (it for it in command.covid19.params if it.name == "protocol")
    assert tuple(option.type.choices) == tuple(PROTOCOLS)


def test_an_unknown_protocol_is_refused() -> None:
    result = thorax("benchmark", "covid19", "--protocol", "mine")
    assert result.exit_code == 2
    assert "'mine' is not one of 'published', 'swapped', 'patients'" in result.stderr


def test_outside_a_project_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = thorax("benchmark", "covid19")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: runs must start in the top folder of a project")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-S", "split.method=random"], "protocol `published` sets dataset, split.method, "),
        (["--masks", "tool"], "--masks must be NAME=FOLDER, got `tool`"),
        (["--masks", "tool=gone"], "--masks must name a folder of masks, but there is no gone"),
        (
            ["--masks", "tool=some"],
            "19 of 20 true masks have no prediction in some (coronacases_002, coronacases_003, ",
        ),
        (
            ["--masks", "tool=some", "--allow-missing", "--predicted-region", "lung=1"],
            "label values [2, 3] belong to no region: ",
        ),
    ],
)
def test_wrong_options_are_one_line(project: Path, options: list[str], message: str) -> None:
    save(project / "some/coronacases_001.nii.gz", TRUTH)
    result = thorax("benchmark", "covid19", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    *_, last = result.stderr.splitlines()
    assert last.startswith(f"Error: {message}")


def test_failed_runs_are_described_without_a_table(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "execute", lambda *_, **__: "2 of 5 runs failed")
    result = thorax("benchmark", "covid19")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: 2 of 5 runs failed\n"


def test_the_runs_get_the_options(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, Mapping[str, Any]]] = []

    def execute(plans: Any, *_: object, **options: Any) -> str:
        calls.append((plans, options))
        return ""

    monkeypatch.setattr(command, "execute", execute)
    options = ("--protocol", "swapped", "--seeds", "3,4", "--jobs", "2", "-S", "loss=bce")
    assert thorax("benchmark", "covid19", *options).exit_code == 0
    ((plans, given),) = calls
    assert given == {"jobs": 2, "cluster": None}
    assert [(plan.params.seed, plan.params.split.fold) for plan in plans] == [
        (seed, fold) for seed in (3, 4) for fold in range(5)
    ]
    assert {(plan.params.split.method, plan.params.loss) for plan in plans} == {
        ("covid19_swapped", "bce")
    }


def test_tables_go_to_the_terminal_and_to_a_file(project: Path) -> None:
    result = thorax("benchmark", "covid19", "--csv", "ours.csv")
    assert result.exit_code == 0, result.stderr
    assert "\nthorax  lung           20  0.7500  0.0000" in result.stdout
    assert "\nthorax  left lung      20  0.5000" in result.stdout
    assert "Note: folds 2 and 4: training uses other scans of radiopaedia_10" in result.stdout
    assert "published, same protocol" in result.stdout
    lines = (project / "ours.csv").read_text().splitlines()
    assert lines[0] == "seed,fold,case,region,dice,iou,nsd,truth_ml,predicted_ml"
    assert lines[1] == "0,0,coronacases_007,lung,0.75,0.5,0.5,10,10"
    assert len(lines) == 1 + 80
    assert thorax("compare", "ours.csv", "same=ours.csv").exit_code == 0


def test_masks_of_other_tools_are_compared_as_json(project: Path) -> None:
    """They are the truth, with the labels of a tool that numbers the right lung 1."""
    for case in CASES:
        save(project / f"other/{case}.nii.gz", np.array([0, 2, 1, 1], np.uint8)[TRUTH])
    labels = [("--predicted-region", it) for it in ("lung=1,2", "left_lung=2", "right_lung=1")]
    result = thorax("benchmark", "covid19", "--json", "--masks", "tool=other", *sum(labels, ()))
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert len(content["masks"]["tool"]) == 60
    assert {(it["region"], it["difference"]) for it in content["comparison"]["comparisons"]} == {
        ("lung", 0.25),
        ("left lung", 0.5),
        ("right lung", 0.5),
    }
