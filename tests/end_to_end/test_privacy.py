"""No output of the pipeline contains patient data from headers."""

import nibabel
import numpy as np
import pytest

from ..planted import decoded, leaks, planted
from .project import Project

pytestmark = pytest.mark.slow


def test_no_output_of_the_pipeline_has_patient_data(project: Project) -> None:
    for path in sorted((project.root / "data/phantom").glob("*/*.nii.gz")):
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj).astype(image.get_data_dtype())
        path.unlink()
        nibabel.save(planted(nibabel.Nifti1Image(voxels, image.affine)), path)
    assert leaks(project.root / "data/phantom", "")
    stages = ("prepare", "train", "export", "predict", "evaluate", "report")
    log = project.dvc("repro", "--force", "--single-item", *stages)
    assert all(f"Running stage '{stage}'" in log for stage in stages)
    page = (project.root / "reports/report.html").read_text()
    for folder in ("data/audit", "data/records", "data/predictions", "models", "reports"):
        assert leaks(project.root / folder, log + decoded(page)) == []
