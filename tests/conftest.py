"""Shared fixtures: small NIfTI files, a dataset, and real scans if available."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import nibabel
import numpy as np
import pytest
from numpy.typing import ArrayLike

from thorax.datasets.dataset import Dataset, load_dataset

# Deterministic examples, so that all machines run the same ones.
hypothesis.settings.register_profile(
    "thorax", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("thorax")

SaveNifti = Callable[..., Path]


@pytest.fixture
def save_nifti(tmp_path: Path) -> SaveNifti:
    """Return a function that writes voxels with nibabel and returns the path."""

    def save(
        name: str, voxels: ArrayLike, affine: ArrayLike | None = None, *, header: Any = None
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        grid = np.diag([0.8, 0.8, 2.5, 1.0]) if affine is None else np.asarray(affine)
        nibabel.save(nibabel.Nifti1Image(np.asarray(voxels), grid, header), path)
        return path

    return save


@pytest.fixture
def study(tmp_path: Path, save_nifti: SaveNifti) -> Path:
    """Return a dataset folder with three cases of two patients, 8×6×3 voxels each."""
    for number, name in enumerate(("anna-1", "anna-2", "ben-1")):
        ct = np.full((8, 6, 3), -1000 + number, np.int16)
        ct[2:6, 1:5] = 40
        mask = np.zeros((8, 6, 3), np.uint8)
        mask[2:4, 1:5] = 1
        mask[4:6, 1:3, number] = 2
        save_nifti(f"chests/scans/{name}.nii.gz", ct)
        save_nifti(f"chests/masks/{name}.nii.gz", mask)
    (tmp_path / "chests" / "dataset.yaml").write_text(
        "regions:\n  lung: [1, 2]\n  infection: [2]\npatient: '([a-z]+)-'\n"
    )
    return tmp_path / "chests"


@pytest.fixture
def dataset(study: Path) -> Dataset:
    return load_dataset(study)


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """Return the folder of real CT scans, which only developers have."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"there are no real scans in {folder}")
    return folder
