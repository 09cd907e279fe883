"""One pipeline run on a small phantom; tests that change files get a copy."""

import shutil
from pathlib import Path

import pytest

from .project import SMALL, Project, copy_of_the_working_tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project after `dvc repro`; tests must not change it."""
    fresh = copy_of_the_working_tree(tmp_path_factory.mktemp("pipeline") / "project")
    fresh.set(SMALL)
    fresh.commit("Start small")
    return Project(fresh.root, log=fresh.dvc("repro"))


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """Return a copy of the finished project."""
    return Project(Path(shutil.copytree(finished.root, tmp_path / "project", symlinks=True)))


@pytest.fixture
def untrained(project: Project) -> Project:
    """Return a copy with records but without outputs of training and later stages."""
    for path in ("models/segmenter", "data/predictions", "reports/overlays", ".dvc/cache/runs"):
        shutil.rmtree(project.root / path)
    for name in ("history.csv", "scores.csv", "metrics.json"):
        (project.root / "reports" / name).unlink()
    return project
