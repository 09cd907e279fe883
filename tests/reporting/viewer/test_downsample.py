"""Downsampled volumes: same position, same values, same volume, fewer bytes."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.grid import Grid, Volume
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.reporting.viewer.downsample import (
    HU_LEVELS,
    cropped,
    mask_bytes,
    reduce_mask,
    reduce_scan,
    reduced_grid,
)

LUNG = Regions({"lung": (1, 2), "lesion": (2,)})
SHEARED = np.array([[0.7, 0.02, 0, 5], [0, 0.8, 0.1, -7], [0.03, 0, 1.25, 9], [0, 0, 0, 1.0]])


def read(content: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def whole(scan: Scan) -> Any:
    x, y, _ = scan.grid.shape
    return (0, x), (0, y)


def fine(voxels: NDArray[Any], spacing: tuple[float, float, float]) -> Scan:
    return Scan.in_memory(voxels, np.diag([*spacing, 1.0]), name="fine.nii")


def corners(shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the outer corners of the first and the last voxel, homogeneous."""
    return np.array([[-0.5] * 3 + [1], [size - 0.5 for size in shape] + [1]])


def test_larger_voxels_cover_the_same_box() -> None:
    grid = Grid((500, 301, 260), SHEARED)
    coarse = reduced_grid(grid, side=192, step_mm=2.0)
    assert coarse.shape == (175, 120, 163)
    fine_mm = corners(grid.shape) @ grid.affine.T
    coarse_mm = corners(coarse.shape) @ coarse.affine.T
    np.testing.assert_allclose(coarse_mm, fine_mm, atol=1e-9)


def test_undefined_voxels_are_air_also_in_a_negative() -> None:
    """A negative from 250 to -1250 HU: 255 is the lowest value, 51 is -50 HU."""
    grey = np.full((2, 2, 2), 51, np.float32)
    grey[0, 0, 0] = np.nan
    scan = Scan.in_memory(grey, np.diag([2.0, 2, 3, 1]), name="grey", nan=np.nan)
    scale = IntensityScale((-1250, 250), inverted=True)
    voxels = read(reduce_scan(scan, whole(scan), intensity=scale)).get_fdata()
    assert voxels[0, 0, 0] == pytest.approx(-1024, abs=HU_LEVELS.step)
    assert voxels[1:] == pytest.approx(-50, abs=HU_LEVELS.step)


@pytest.mark.parametrize("shape", [(1, 1, 1), (30, 2, 1), (192, 100, 60)])
def test_large_voxels_keep_their_size(shape: tuple[int, int, int]) -> None:
    grid = Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0]))
    assert reduced_grid(grid, side=192, step_mm=2.0).matches(grid)


def test_a_crop_moves_the_origin() -> None:
    grid = cropped(Grid((8, 8, 8), SHEARED), ((2, 7), (3, 5)))
    assert grid.shape == (5, 2, 8)
    np.testing.assert_allclose(grid.affine @ [0, 0, 0, 1], SHEARED @ [2, 3, 0, 1])


def test_a_larger_voxel_is_the_mean_of_its_voxels() -> None:
    plane = np.array([[-1000, -1000, 0, 80], [-1000, -1000, 0, 80], [16, 16, 0, 0], [16, 16, 0, 0]])
    scan = fine(plane[..., None].astype(np.int16), (1, 1, 2))
    reduced = read(reduce_scan(scan, whole(scan)))
    assert reduced.shape == (2, 2, 1)
    assert reduced.header.get_zooms() == (2, 2, 2)
    np.testing.assert_allclose(
        np.asarray(reduced.dataobj)[..., 0], [[-1000, 40], [16, 0]], atol=HU_LEVELS.step / 2
    )


def test_values_are_kept_within_half_a_level(chest: Scan) -> None:
    reduced = read(reduce_scan(chest, whole(chest)))
    assert reduced.shape == chest.grid.shape
    assert reduced.get_data_dtype() == np.uint8
    np.testing.assert_allclose(
        reduced.get_fdata(), np.clip(chest.voxels(), -1024, 1016), atol=HU_LEVELS.step / 2
    )
    np.testing.assert_allclose(reduced.affine, chest.grid.affine)


def test_padding_and_metal_are_clipped() -> None:
    scan = fine(np.array([-3024, 3071], np.int16).reshape(1, 1, 2), (2, 2, 2))
    assert read(reduce_scan(scan, whole(scan))).get_fdata().ravel().tolist() == [-1024, 1016]


def test_the_intensity_scale_gives_hu() -> None:
    scan = fine(np.full((2, 2, 2), 1064, np.uint16), (2, 2, 2))
    reduced = read(reduce_scan(scan, whole(scan), intensity=IntensityScale(offset_hu=1024)))
    assert reduced.get_fdata().ravel() == pytest.approx([40] * 8, abs=4)


def test_a_ball_keeps_its_position_and_volume() -> None:
    shape, spacing = (120, 110, 60), np.array([0.7, 0.7, 1.0])
    places = np.moveaxis(np.indices(shape), 0, -1) * spacing
    ball = np.linalg.norm(places - [40, 35, 30], axis=-1) < 18
    mask = fine(ball.astype(np.uint8), (0.7, 0.7, 1.0))
    box = ((10, 110), (5, 100))
    small = reduce_mask(mask, box, Regions({"ball": (1,)}))
    assert small.voxels.shape == (56, 53, 48)
    inside = np.argwhere(small.voxels == 1)
    centre = small.grid.affine @ [*inside.mean(axis=0), 1]
    np.testing.assert_allclose(centre[:3], [40, 35, 30], atol=0.1)
    assert len(inside) * small.grid.voxel_ml == pytest.approx(4 / 3 * np.pi * 1.8**3, rel=0.02)


def test_labels_and_positions_are_those_of_the_mask(truth: Scan) -> None:
    small = reduce_mask(truth, whole(truth), LUNG)
    np.testing.assert_array_equal(small.voxels, truth.voxels())
    reduced = read(mask_bytes(small))
    np.testing.assert_array_equal(np.asarray(reduced.dataobj), truth.voxels())
    np.testing.assert_allclose(reduced.affine, truth.grid.affine)


def test_a_label_of_no_region_is_rejected(truth: Scan) -> None:
    with pytest.raises(InputError, match=r"label values \[2\] belong to no region"):
        reduce_mask(truth, whole(truth), Regions({"lung": (1,)}))


def test_equal_scans_give_equal_bytes_without_a_date(chest: Scan, truth: Scan) -> None:
    first, second = (reduce_scan(chest, whole(chest)) for _ in range(2))
    assert first == second
    assert first[4:8] == bytes(4)
    grid = truth.grid
    c_order = mask_bytes(Volume(truth.voxels().copy(order="C"), grid))
    assert c_order == mask_bytes(Volume(truth.voxels().copy(order="F"), grid))
