"""Arrays whose orientation contradicts their header, as users of other tools reported them."""

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from thorax.cli import main
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..chests import make_chest
from ..learning import pointwise

TURNS = {
    "front_back": np.s_[:, ::-1],
    "head_feet": np.s_[:, :, ::-1],
    "left_right": np.s_[::-1],
}
"""Reversals of an array with axes along R, A and S."""

PROBLEMS = {
    "untouched": "",
    "front_back": "front and back seem to be swapped (the spine is in front)",
    "head_feet": "head and feet seem to be swapped (the diaphragm is above the lungs)",
    "left_right": "left and right seem to be swapped (the liver is on the left, the heart is not)",
    "rotated_90": "the patient seems to be turned by a quarter in the axial plane (one lung is in "
    "front of the other, the spine is on the right)",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model for which everything darker than -500 HU is lung."""
    folder = tmp_path_factory.mktemp("models")
    spec = ModelSpec(32, "none", 0, (-1000, 0), {"lung": (1,)})
    save_trained(folder / "segmenter", pointwise([[-80]], [40], canvas=32), spec)
    export_model(folder / "segmenter", folder / "segmenter.onnx")
    return folder / "segmenter.onnx"


def write_turned(hu: NDArray[np.int16], affine: NDArray[np.float64], folder: Path) -> None:
    """Write a scan untouched and turned, always with the same affine."""
    folder.mkdir()
    arrays = {name: hu[turn] for name, turn in TURNS.items()}
    arrays |= {"untouched": hu, "rotated_90": np.rot90(hu)}
    for name, array in arrays.items():
        image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
        nibabel.save(image, folder / f"{name}.nii.gz")


def warnings_by_name(scans: Path, masks: Path, model: Path) -> dict[str, str]:
    """Segment a folder; return the quality warnings in the manifest."""
    result = CliRunner().invoke(
        main, ["predict", str(scans), str(masks), "--model", str(model)], prog_name="thorax"
    )
    assert result.exit_code == 0
    with (masks / "manifest.csv").open(newline="") as stream:
        return {row["case"]: row["quality_warnings"] for row in csv.DictReader(stream)}


def test_a_turned_array_gets_a_quality_warning(model: Path, tmp_path: Path) -> None:
    """TotalSegmentator#229, MOOSE#232: slices stored mirrored or turned, with a wrong header."""
    write_turned(make_chest(), np.diag([8.0, 8.0, 8.0, 1.0]), tmp_path / "scans")
    warnings = warnings_by_name(tmp_path / "scans", tmp_path / "masks", model)
    assert sorted(warnings) == sorted(PROBLEMS)
    assert "orientation" not in warnings["untouched"]
    for name, problem in PROBLEMS.items():
        assert problem in warnings[name]


def test_a_real_scan_that_was_turned(real_scans: Path, model: Path, tmp_path: Path) -> None:
    """TotalSegmentator#229, MOOSE#232: the same with a scan of a patient, at half resolution."""
    image = nibabel.as_closest_canonical(nibabel.load(real_scans / "lctsc/scans/S1-201.nii.gz"))
    hu = np.asarray(image.dataobj[::2, ::2, ::2]).astype(np.int16)
    write_turned(hu, image.affine @ np.diag([2, 2, 2, 1]), tmp_path / "scans")
    warnings = warnings_by_name(tmp_path / "scans", tmp_path / "masks", model)
    assert "orientation" not in warnings["untouched"]
    for name, problem in PROBLEMS.items():
        assert problem in warnings[name]
