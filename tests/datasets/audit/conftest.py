"""A small dataset of synthetic chests without problems, and its audit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.datasets.audit.audit import Audit, audit_dataset
from thorax.phantom import chest

FindFindings = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture(scope="session")
def clean_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of two patients without problems, every third voxel of each plane."""
    folder = tmp_path_factory.mktemp("clean") / "study"
    for number, name in enumerate(("ann", "bob")):
        phantom = chest(number, seed=0)
        for part, volume in (("scans", phantom.scan), ("masks", phantom.mask)):
            image = nibabel.as_closest_canonical(
                nibabel.Nifti1Image(volume.voxels, volume.grid.affine)
            )
            affine = image.affine @ np.diag([3, 3, 1, 1])
            path = folder / part / f"{name}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::3, ::3], affine), path)
    (folder / "dataset.yaml").write_text("regions:\n  lung: [1, 2, 3]\n  infection: [3]\n")
    return folder


@pytest.fixture(scope="session")
def clean_audit(clean_dataset: Path) -> Audit:
    """Return the audit of the clean dataset."""
    return audit_dataset(clean_dataset, context=3)


@pytest.fixture
def folder(clean_dataset: Path, tmp_path: Path) -> Path:
    """Return a copy of the clean dataset that a test may damage."""
    return Path(shutil.copytree(clean_dataset, tmp_path / "study"))


@pytest.fixture
def findings_of(clean_audit: Audit) -> FindFindings:
    """Return a function that audits a folder: severity, check and case of each finding."""
    cached = {facts.case: facts for facts in clean_audit.facts}

    def findings_of(folder: Path, **options: int) -> list[tuple[str, str, str]]:
        # Unchanged cases are not measured again, which is faster.
        audit = audit_dataset(folder, cached=cached, workers=1, **options)
        return [(finding.severity, finding.check, finding.case) for finding in audit.findings]

    return findings_of
