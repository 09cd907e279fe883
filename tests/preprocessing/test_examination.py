"""Examination of scans: intensity scale, lungs and orientation together."""

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.body import coarse_planes, lung_box
from thorax.imaging.intensity import HU, IntensityScale
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
