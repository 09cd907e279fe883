"""A NIfTI header whose sform and qform contradict each other is reported."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from thorax.io import Scan
from thorax.io.nifti import header_warnings

SFORM = np.diag([-0.7, 0.7, 1.0, 1.0])
SHEAR = np.eye(4)
SHEAR[1, 2] = 0.3
SHIFT = np.eye(4)
SHIFT[:3, 3] = [5, -40, 300]


def image(sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int] = (1, 1)) -> object:
    made = nibabel.Nifti1Image(np.zeros((64, 64, 11), np.int16), sform)
    made.set_sform(sform, codes[0])
    made.set_qform(qform, codes[1])
    return made


@pytest.mark.parametrize(
    ("qform", "distance"),
    [
        # 63 × 1.4 mm along x.
        pytest.param(SFORM @ np.diag([-1, 1, 1, 1]), "88.2", id="left and right"),
        # 10 × 4 mm along z.
        pytest.param(SFORM @ np.diag([1, 1, 5, 1]), "40", id="slice distance"),
        pytest.param(SFORM @ np.diag([1, 1, 1.02, 1]), "0.2", id="a fiftieth of it"),
    ],
)
def test_contradictions_are_reported(tmp_path: Path, qform: np.ndarray, distance: str) -> None:
    made = image(SFORM, qform)
    nibabel.save(made, tmp_path / "scan.nii.gz")
    scan = Scan(tmp_path / "scan.nii.gz")
    text = (
        "sform and qform of the header contradict each other (corner voxels differ by "
        f"{distance} mm); the sform was used: check left and right, and the volumes"
    )
    assert scan.warnings == (text,) == header_warnings(nibabel.load(tmp_path / "scan.nii.gz"))
    assert scan.spacing_mm == pytest.approx((0.7, 0.7, 1.0))


def test_a_damaged_rotation_is_reported(tmp_path: Path) -> None:
    made = image(SFORM, SFORM)
    made.header["quatern_b"] = 3.0
    nibabel.save(made, tmp_path / "scan.nii")
    (warning,) = Scan(tmp_path / "scan.nii").warnings
    assert warning.startswith("sform and qform of the header contradict each other (damaged)")


@pytest.mark.parametrize(
    ("sform", "qform", "codes"),
    [
        pytest.param(SFORM, SFORM, (1, 1), id="equal"),
        pytest.param(SFORM, SHIFT @ SFORM, (2, 1), id="another offset"),
        pytest.param(SFORM, np.eye(4), (1, 0), id="sform only"),
        pytest.param(np.eye(4) * 2, SFORM, (0, 1), id="qform only"),
        pytest.param(SHEAR @ SFORM, SHEAR @ SFORM, (1, 1), id="sheared"),
    ],
)
def test_headers_that_agree_are_not_reported(
    sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int]
) -> None:
    assert header_warnings(image(sform, qform, codes)) == ()


def test_rounding_is_not_reported() -> None:
    """Small turns of a volume that lies as DICOM does, with a sform of six decimals."""
    generator = np.random.default_rng(0)
    for tilt in np.logspace(-6, -0.5, 100):
        turn = Rotation.from_rotvec(generator.normal(size=3) * tilt).as_matrix()
        affine = np.diag([0.7, 0.7, 1.0, 1.0])
        affine[:3, :3] = turn @ np.diag([-1, -1, 1]) @ affine[:3, :3]
        assert header_warnings(image(np.round(affine, 6), affine)) == ()


@pytest.mark.parametrize("degrees", [0.0, 0.003, 0.1, 20.0])
def test_files_of_itk_are_not_reported(tmp_path: Path, degrees: float) -> None:
    written = SimpleITK.Image(64, 64, 8, SimpleITK.sitkInt16)
    turn = Rotation.from_euler("xyz", [degrees, 0.4 * degrees, 0.7 * degrees], degrees=True)
    written.SetDirection(turn.as_matrix().ravel().tolist())
    written.SetSpacing((0.7, 0.7, 2.5))
    SimpleITK.WriteImage(written, str(tmp_path / "scan.nii.gz"))
    header = nibabel.load(tmp_path / "scan.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    assert Scan(tmp_path / "scan.nii.gz").warnings == ()
