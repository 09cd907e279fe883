"""Inputs that a copy of the project lacks, and impossible splits, are reported before the runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from thorax.common.errors import InputError
from thorax.common.params import check_params
from thorax.experiments.inputs import check_inputs
from thorax.experiments.project import Project, open_project
from thorax.experiments.runs import RunPlan

from .projects import commit, run, start_git

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
STUDY = check_params({**PARAMS, "dataset": "study"}, source="params.yaml")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a committed dataset of six cases; DVC is not started."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").touch()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / ".gitignore").write_text("scans/\nmasks/\n")
    start_git(root)
    add_dataset(root, 6)
    commit(root)
    monkeypatch.setattr(Project, "check_data", lambda self, datasets: None)
    return root


def add_dataset(root: Path, cases: int, name: str = "study") -> None:
    folder = root / "data" / name
    for part in ("scans", "masks"):
        (folder / part).mkdir(parents=True)
        (folder / f"{part}.dvc").touch()
        for number in range(cases):
            (folder / part / f"case_{number}.nii.gz").touch()
    (folder / "dataset.yaml").write_text("regions: {lung: [1]}\n")


def check(root: Path, **changes: Any) -> None:
    project = open_project(root)
    plan = RunPlan("cv-1", (), {}, params=replace(STUDY, **changes))
    check_inputs([plan], project, project.snapshot())


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as refused:
        check(root, **changes)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Datasets


def test_a_dataset_under_git_is_accepted_also_before_its_commit(root: Path) -> None:
    check(root)
    add_dataset(root, 6, "ward")
    run(root, "git", "add", "data/ward")
    check(root, dataset="ward")


def test_a_dataset_that_git_does_not_track_is_refused(root: Path) -> None:
    add_dataset(root, 6, "ward")
    assert refusal(root, dataset="ward") == (
        "runs use files under git, but data/ward/dataset.yaml, data/ward/scans.dvc, "
        "data/ward/masks.dvc are not; run `git add data/ward`"
    )
    run(root, "git", "add", "data/ward/scans.dvc", "data/ward/masks.dvc")
    assert refusal(root, dataset="ward") == (
        "runs use files under git, but data/ward/dataset.yaml is not; run `git add data/ward`"
    )


def test_a_dataset_that_dvc_does_not_track_is_refused(root: Path) -> None:
    add_dataset(root, 6, "ward")
    for part in ("scans", "masks"):
        (root / f"data/ward/{part}.dvc").unlink()
    assert refusal(root, dataset="ward") == (
        "runs use data under DVC, but data/ward/scans data/ward/masks are not; run `dvc add "
        "data/ward/scans data/ward/masks` and `git add data/ward`"
    )
    # Git can also track the scans themselves.
    run(root, "git", "add", "--force", "data/ward")
    check(root, dataset="ward")


def test_a_dataset_that_dvc_tracks_as_a_folder_is_accepted(root: Path) -> None:
    (root / "data/ward.dvc").touch()
    run(root, "git", "add", "data/ward.dvc")
    check(root, dataset="ward")


def test_a_dataset_that_does_not_exist_is_refused(root: Path) -> None:
    assert refusal(root, dataset="wrad") == (
        "a dataset must have data/wrad/dataset.yaml; `thorax data list` lists datasets"
    )


def test_a_public_dataset_that_was_not_downloaded_is_named_with_the_command(root: Path) -> None:
    (root / "data/covid19").mkdir()
    (root / "data/covid19/dataset.yaml").write_text("regions: {lung: [1]}\n")
    assert refusal(root, dataset="covid19") == (
        "runs need the scans of covid19; run `thorax data download covid19`"
    )


# Other files


def custom(path: object) -> dict[str, Any]:
    return {"augmentation": replace(STUDY.augmentation, custom=str(path))}


def test_a_custom_augmentation_must_be_in_the_copy(root: Path, tmp_path: Path) -> None:
    (root / "flips.json").touch()
    assert refusal(root, **custom("flips.json")) == (
        "runs use files under git, but flips.json is not; run `git add flips.json`"
    )
    run(root, "git", "add", "flips.json")
    check(root, **custom("flips.json"))
    check(root, **custom(root / "flips.json"))
    (tmp_path / "outside.json").touch()
    check(root, **custom(tmp_path / "outside.json"))
    assert refusal(root, **custom("../outside.json")) == (
        "a run works in a copy, which lacks ../outside.json; move it to models/initial"
    )
    assert refusal(root, **custom("gone.json")) == (
        "a run needs gone.json, which does not exist; check the path"
    )
    unused = replace(STUDY.augmentation, custom="gone.json", level="none")
    check(root, augmentation=unused)


def test_initial_weights_are_copied_without_git_but_must_exist(root: Path) -> None:
    changes = {"network": replace(STUDY.network, initial_weights="segmenter")}
    assert refusal(root, **changes) == (
        "a run needs models/initial/spec.json, which does not exist; copy a trained model there"
    )
    (root / "models/initial").mkdir(parents=True)
    (root / "models/initial/spec.json").touch()
    check(root, **changes)


@pytest.mark.parametrize("folder", ["resnet", "../resnet"])
def test_a_preset_must_be_in_the_copy(root: Path, folder: str) -> None:
    (root / folder).mkdir()
    (root / folder / "config.json").touch()
    changes = {"network": replace(STUDY.network, initial_weights=folder)}
    assert refusal(root, **changes) == (
        f"a run works in a copy, which lacks {folder}/config.json; move {folder} to models/initial"
    )
    check(root, network=replace(STUDY.network, initial_weights=str(root / folder)))


def test_presets_that_are_copied_are_accepted(root: Path) -> None:
    (root / "models/initial/resnet").mkdir(parents=True)
    (root / "models/initial/resnet/config.json").touch()
    for origin in ("models/initial/resnet", "resnet_18_imagenet", "random", ""):
        check(root, network=replace(STUDY.network, initial_weights=origin))


# Splits


def test_splits_that_do_not_exist_are_refused(root: Path) -> None:
    few = replace(STUDY.split, folds=7)
    assert refusal(root, split=few).startswith("`folds: 7` needs as many patients, but there are 6")
    wrong = replace(STUDY.split, test=["case_6"])
    assert refusal(root, split=wrong) == ("`split.test` must name cases of the dataset, got case_6")


def test_the_phantom_has_as_many_patients_as_the_parameters_state(root: Path) -> None:
    (root / "data/phantom").mkdir()
    (root / "data/phantom/dataset.yaml").write_text("regions: {lung: [1]}\n")
    (root / "data/phantom/dvc.yaml").write_text("stages: {}\n")
    commit(root)
    check(root, dataset="phantom")
    few = refusal(root, dataset="phantom", phantom=replace(STUDY.phantom, cases=2))
    assert few.startswith("`folds: 5` needs as many patients, but there are 2")


def test_data_that_were_not_pulled_have_no_known_split(root: Path) -> None:
    for part in ("scans", "masks"):
        for path in (root / "data/study" / part).iterdir():
            path.unlink()
        (root / "data/study" / part).rmdir()
    check(root, split=replace(STUDY.split, folds=7))
