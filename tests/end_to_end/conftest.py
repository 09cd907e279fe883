"""The pipeline, run once on a small phantom; tests that change something get a copy."""

import shutil
from pathlib import Path

import pytest

from .project import SMALL, Project, copy_of_the_working_tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project that has run; no test changes it."""
    fresh = copy_of_the_working_tree(tmp_path_factory.mktemp("pipeline") / "project")
    fresh.set(SMALL)
    fresh.commit("Start small")
    return Project(fresh.root, log=fresh.dvc("repro"))


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """Return a project of one's own that has run."""
    return Project(Path(shutil.copytree(finished.root, tmp_path / "project", symlinks=True)))


@pytest.fixture
def untrained(project: Project) -> Project:
    """Return a project with records, in which nothing tells of a training that has been."""
    for path in ("models/segmenter", "data/predictions", "reports/overlays", ".dvc/cache/runs"):
        shutil.rmtree(project.root / path)
    for name in ("history.csv", "scores.csv", "metrics.json"):
        (project.root / "reports" / name).unlink()
    return project
