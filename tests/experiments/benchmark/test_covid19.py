"""The COVID-19 set is downloaded once, and its small files are given to git."""

import shutil
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.datasets.download import SOURCES
from thorax.experiments.benchmark import covid19
from thorax.experiments.benchmark.covid19 import provide_dataset
from thorax.experiments.benchmark.planning import OtherMaskOptions, plan_benchmark
from thorax.experiments.benchmark.protocols import DATASET, PROTOCOLS
from thorax.experiments.project import Project

from ..projects import commit, run, start_git

ROOT = Path(__file__).parents[3]

PARAMS = (ROOT / "params.yaml").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project under git without scans."""
    folder = tmp_path / "project"
    (folder / "data/covid19").mkdir(parents=True)
    for name in ("dataset.yaml", ".gitignore"):
        shutil.copy(ROOT / "data/covid19" / name, folder / "data/covid19")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").touch()
    start_git(folder)
    commit(folder)
    return Project(folder)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the download by one of a single case; return the names that were downloaded."""
    names: list[str] = []

    def download(name: str, root: Path) -> Path:
        names.append(name)
        folder = root / "data" / name
        for part in ("scans", "masks"):
            (folder / part).mkdir(exist_ok=True)
            (folder / part / "coronacases_001.nii.gz").touch()
            (folder / f"{part}.dvc").touch()
        return folder

    monkeypatch.setattr(covid19, "download_dataset", download)
    return names


def test_the_benchmark_uses_a_public_dataset() -> None:
    assert DATASET in SOURCES


def test_a_missing_dataset_is_downloaded_and_its_dvc_files_are_staged(
    project: Project, downloads: list[str]
) -> None:
    lines: list[str] = []
    dataset = provide_dataset(project, report=lines.append)
    assert [case.name for case in dataset.cases] == ["coronacases_001"]
    assert downloads == ["covid19"]
    assert lines[0] == "downloading covid19 to data/covid19, 1.1 GB"
    assert run(project.root, "git", "status", "--porcelain").splitlines() == [
        "A  data/covid19/masks.dvc",
        "A  data/covid19/scans.dvc",
    ]


def test_an_existing_dataset_is_not_downloaded_again(
    project: Project, downloads: list[str]
) -> None:
    provide_dataset(project, report=lambda line: None)
    lines: list[str] = []
    provide_dataset(project, report=lines.append)
    assert (downloads, lines) == (["covid19"], [])


def test_a_missing_part_is_downloaded(project: Project, downloads: list[str]) -> None:
    provide_dataset(project, report=lambda line: None)
    shutil.rmtree(project.root / "data/covid19/masks")
    provide_dataset(project, report=lambda line: None)
    assert downloads == ["covid19"] * 2


@pytest.mark.parametrize("override", ["split.folds=4", "train.epochs=none", "los=bce"])
def test_wrong_settings_are_refused_before_the_download(
    project: Project, downloads: list[str], override: str
) -> None:
    with pytest.raises(InputError, match=override.partition("=")[0]):
        plan_benchmark(
            project,
            PARAMS,
            PROTOCOLS["published"],
            [override],
            seeds=(),
            other=OtherMaskOptions(),
            report=lambda line: None,
        )
    assert downloads == []


def test_masks_are_refused_before_the_first_run(
    project: Project, downloads: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no name of"):
        plan_benchmark(
            project,
            PARAMS,
            PROTOCOLS["published"],
            [],
            seeds=(),
            other=OtherMaskOptions(masks=[f"tool={tmp_path}"]),
            report=lambda line: None,
        )
    assert downloads == ["covid19"]
