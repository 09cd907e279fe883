"""Examination of scans: intensity scale, lungs and orientation together."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.body import coarse_planes, lung_box
from thorax.imaging.intensity import HU, IntensityScale
from thorax.inference.inputs import ScanTask, open_scan
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan
from thorax.phantom import chest
from thorax.preprocessing.examination import examine_scan

SYNTHETIC = chest(0, seed=0).scan


def cached(voxels: np.ndarray) -> CachedScan:
    return CachedScan(Scan.in_memory(voxels, SYNTHETIC.grid.affine, name="chest"))


@pytest.mark.parametrize(
    ("stored", "scale"),
    [
        pytest.param(SYNTHETIC.voxels, HU, id="HU"),
        pytest.param(SYNTHETIC.voxels + 1024, IntensityScale(offset_hu=1024), id="HU + 1024"),
    ],
)
def test_lungs_are_located_in_hu_whatever_is_stored(
    stored: np.ndarray, scale: IntensityScale
) -> None:
    examined = examine_scan(cached(stored.astype(np.int16)))
    assert examined.intensity.scale == scale
    plain = cached(SYNTHETIC.voxels.astype(np.int16))
    coarse = coarse_planes(plain)
    np.testing.assert_array_equal(examined.coarse_hu, np.maximum(coarse, -1024))
    assert examined.lungs == lung_box(np.maximum(coarse, -1024), plain.grid.shape[:2])
    assert examined.orientation.warning == ""


@pytest.mark.parametrize("inverted", [False, True], ids=["positive", "negative"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_undefined_voxels_of_an_export_are_air_and_do_not_change_its_scale(
    tmp_path: Path, value: float, inverted: bool
) -> None:
    grey = np.rint((SYNTHETIC.voxels + 1024.0) * 255 / 4095).clip(0, 255).astype(np.float32)
    grey = 255 - grey if inverted else grey
    scale = examine_scan(cached(grey)).intensity.scale
    assert scale.window_hu is not None
    grey[0, 0, 0] = value
    path = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(grey, SYNTHETIC.grid.affine), path)
    task = ScanTask("scan", path, tmp_path / "mask.nii")
    scan = open_scan(task, series=None, allow_incomplete=False)
    examined = examine_scan(scan)
    assert examined.intensity.scale == scale
    assert examined.coarse_hu[0, 0, 0] == -1024
    (note,) = scan.scan.notes
    assert note.endswith("were read as air")


def test_a_given_scale_is_not_detected() -> None:
    shifted = (SYNTHETIC.voxels + 1024).astype(np.int16)
    examined = examine_scan(cached(shifted), IntensityScale(offset_hu=1024))
    assert (examined.intensity.kind, examined.intensity.notes) == ("hu+1024", ())
    assert examined.lungs == examine_scan(cached(shifted)).lungs


def test_noise_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 4000, (32, 32, 8)).astype(np.int16)
    scan = Scan.in_memory(noise, np.eye(4) * 2, name="noise")
    with pytest.raises(InputError, match="uncorrelated, as in noise"):
        examine_scan(CachedScan(scan))
