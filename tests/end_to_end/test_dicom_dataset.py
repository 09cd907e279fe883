"""A dataset of DICOM series and structure sets: added, trained on and scored."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from ..structure_sets import points_mm, save_ct, save_structure_set
from .project import SMALL, copy_of_the_working_tree

HEIGHTS_MM = tuple(30 + 2.5 * index for index in range(8))

LUNGS = {
    "Lung_R": [(6.5, 9.5), (13.5, 9.5), (13.5, 21.5), (6.5, 21.5)],
    "Lung_L": [(18.5, 9.5), (25.5, 9.5), (25.5, 21.5), (18.5, 21.5)],
}


def save_patient(folder: Path, seed: int) -> None:
    """Write a body of tissue with two lungs of 7 by 12 pixels in 6 of 8 slices, and contours."""
    rng = np.random.default_rng(seed)
    hu = np.full((8, 32, 32), -1000)
    hu[:, 4:28, 3:29] = rng.normal(40, 20, (8, 24, 26))
    for columns in (slice(7, 14), slice(19, 26)):
        hu[1:7, 10:22, columns] = rng.normal(-820, 20, (6, 12, 7))
    save_ct(folder / "study" / "ct", heights_mm=HEIGHTS_MM, hu=hu, SeriesNumber=seed)
    save_structure_set(
        folder / "study" / "contours" / "rtss.dcm",
        {
            name: [points_mm(points, height) for height in HEIGHTS_MM[1:7]]
            for name, points in LUNGS.items()
        },
    )


@pytest.mark.slow
def test_patients_with_contours_are_trained_on_and_scored(tmp_path: Path) -> None:
    for seed in range(1, 6):
        save_patient(tmp_path / "patients" / f"P-{seed}", seed)
    project = copy_of_the_working_tree(tmp_path / "project")
    names = ("--region", "lung=Lung_L,Lung_R")
    command = ("data", "add", str(tmp_path / "patients"), "--name", "contoured", *names)
    output = project.run(sys.executable, "-m", "thorax.cli", *command)
    assert "data/contoured: 5 cases" in output
    small = {key: value for key, value in SMALL.items() if not key.startswith("phantom")}
    project.set({**small, "train.epochs": 1, "dataset": "contoured", "evaluate.lesions": []})
    project.commit("Train on contours")
    project.dvc("repro", "evaluate")
    with (project.root / "reports" / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    assert {row["region"] for row in rows} == {"lung"}
    # 2 lungs of 7 by 12 pixels of 0.7 by 0.8 mm in 6 slices of 2.5 mm.
    volume_ml = 2 * 7 * 12 * 6 * 0.7 * 0.8 * 2.5 / 1000
    for row in rows:
        assert float(row["truth_ml"]) == pytest.approx(volume_ml, abs=1e-3)
