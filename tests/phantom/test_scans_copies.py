"""Varied copies of real scans."""

import numpy as np
import pytest

from thorax.imaging.grid import Volume, make_volume
from thorax.phantom.scans.copies import UNCHANGED, varied_copy

AFFINE = np.array([[-1.0, 0, 0, 60.0], [0, -1.0, 0, 60.0], [0, 0, 3.0, -90.0], [0, 0, 0, 1.0]])


def scan_and_mask() -> tuple[Volume, Volume]:
    x, y, z = np.ogrid[:120, :100, :40]
    lung = ((x - 60) / 30) ** 2 + ((y - 50) / 25) ** 2 + ((z - 20) / 14) ** 2 < 1
    body = (((x - 60) / 50) ** 2 + ((y - 50) / 40) ** 2 < 1) & (z >= 0)
    hu = np.where(lung, -800, np.where(body, 40, -1000)).astype(np.int16)
    labels = np.where(lung & (x < 60), 1, np.where(lung, 2, 0)).astype(np.uint8)
    return make_volume(hu, AFFINE), make_volume(labels, AFFINE)


def copies(count: int) -> list[tuple[Volume, Volume, tuple[str, ...]]]:
    scan, mask = scan_and_mask()
    return [varied_copy(scan, mask, np.random.default_rng(n)) for n in range(count)]


def middle(volume: Volume) -> np.ndarray:
    centre = np.argwhere(volume.voxels > 0).mean(axis=0)
    return volume.grid.affine[:3, :3] @ centre + volume.grid.affine[:3, 3]


def test_scan_and_mask_share_a_grid_and_have_their_types() -> None:
    for scan, mask, _ in copies(20):
        assert scan.grid.matches(mask.grid)
        assert scan.voxels.dtype == np.int16
        assert mask.voxels.dtype == np.uint8
        assert set(np.unique(mask.voxels)) <= {0, 1, 2}


def test_about_a_third_is_unchanged() -> None:
    original, _ = scan_and_mask()
    same = [copy.grid.shape == original.grid.shape for copy, _, kinds in copies(60) if not kinds]
    assert UNCHANGED == 0.3
    assert 8 <= sum(same) <= 28


def test_volume_and_position_of_the_lungs_are_kept() -> None:
    scan, mask = scan_and_mask()
    volume_ml = np.count_nonzero(mask.voxels) * mask.grid.voxel_ml
    complete = 0
    cropped = {"part of the chest", "cut field of view", "part of the field of view"}
    for _, labels, kinds in copies(40):
        if kinds and cropped.isdisjoint(kinds):
            complete += 1
            assert np.count_nonzero(labels.voxels) * labels.grid.voxel_ml == pytest.approx(
                volume_ml, rel=0.03
            )
            np.testing.assert_allclose(middle(labels), middle(mask), atol=0.5)
    assert complete >= 5
    assert scan.voxels.max() == 40


def test_the_mask_agrees_with_the_scan() -> None:
    for scan, mask, kinds in copies(40):
        if any("export" in kind for kind in kinds) or not (mask.voxels > 0).any():
            continue
        assert np.median(scan.voxels[mask.voxels > 0]) < -700


def test_other_slices_and_pixels() -> None:
    spacings = [scan.grid.spacing_mm for scan, _, kinds in copies(40) if kinds]
    assert all(1.5 <= x <= 2.31 and x == pytest.approx(y) for x, y, _ in spacings)
    assert all(2.99 <= z <= 8.01 for _, _, z in spacings)
    assert max(z for _, _, z in spacings) > 5


def test_a_mask_of_another_shape_is_rejected() -> None:
    scan, mask = scan_and_mask()
    other = make_volume(mask.voxels[:-1], AFFINE)
    with pytest.raises(ValueError, match="shape of `scan`"):
        varied_copy(scan, other, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = copies(3), copies(3)
    for (scan, mask, kinds), (scan2, mask2, kinds2) in zip(first, second, strict=True):
        np.testing.assert_array_equal(scan.voxels, scan2.voxels)
        np.testing.assert_array_equal(mask.voxels, mask2.voxels)
        assert kinds == kinds2


@pytest.mark.parametrize("planes", [1, 3, 7])
def test_copies_of_scans_with_few_slices_lie_within_the_scan(planes: int) -> None:
    whole, whole_mask = scan_and_mask()
    inside = slice(20, 20 + planes)
    scan = make_volume(whole.voxels[..., inside], AFFINE)
    mask = make_volume(whole_mask.voxels[..., inside], AFFINE)
    for seed in range(40):
        copy, labels, _ = varied_copy(scan, mask, np.random.default_rng(seed))
        count, slice_mm = copy.grid.shape[2], copy.grid.spacing_mm[2]
        bottom_mm = copy.grid.affine[2, 3] - slice_mm / 2
        assert bottom_mm >= -90.0 - 1.5 - 1e-6
        # One slice may be thicker than the scan.
        assert count == 1 or bottom_mm + count * slice_mm <= -90.0 - 1.5 + 3.0 * planes + 1e-6
        assert (labels.voxels > 0).any(axis=(0, 1)).all()
