"""A small clean dataset of synthetic chests, and what an audit says of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.datasets.audit.audit import Audit, audit_dataset
from thorax.phantom import chest

Found = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of two patients without a fault, every third voxel of each plane."""
    folder = tmp_path_factory.mktemp("clean") / "study"
    for number, name in enumerate(("ann", "bob")):
        made = chest(number, seed=0)
        for part, volume in (("scans", made.scan), ("masks", made.mask)):
            image = nibabel.as_closest_canonical(
                nibabel.Nifti1Image(volume.voxels, volume.grid.affine)
            )
            thin = image.affine @ np.diag([3, 3, 1, 1])
            path = folder / part / f"{name}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::3, ::3], thin), path)
    (folder / "dataset.yaml").write_text("regions:\n  lung: [1, 2, 3]\n  infection: [3]\n")
    return folder


@pytest.fixture(scope="session")
def clean_audit(clean: Path) -> Audit:
    """Return the audit of the clean dataset."""
    return audit_dataset(clean, context=3)


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    """Return a copy of the clean dataset, to plant a fault in."""
    return Path(shutil.copytree(clean, tmp_path / "study"))


@pytest.fixture
def found(clean_audit: Audit) -> Found:
    """Return a function that audits a folder: weight, check and case of each finding."""
    known = {facts.case: facts for facts in clean_audit.facts}

    def findings(folder: Path, **options: int) -> list[tuple[str, str, str]]:
        # What was not changed is not measured again, which is quicker.
        audit = audit_dataset(folder, known=known, workers=1, **options)
        return [(finding.severity, finding.check, finding.case) for finding in audit.findings]

    return findings
