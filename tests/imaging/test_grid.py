"""Position of voxels in the patient: grids and volumes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.grid import Grid, Volume, check_same_grid, grid_note, make_volume
from thorax.io import Scan

SaveNifti = Callable[..., Path]


def grid(spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] = (4, 4, 4)) -> Grid:
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


def rotation(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def test_spacing_is_the_length_of_a_step_along_each_axis() -> None:
    rotated = Grid((4, 4, 4), rotation(30) @ np.diag([-0.7, 0.8, 5.0, 1.0]))
    assert rotated.spacing_mm == pytest.approx((0.7, 0.8, 5.0))


def test_voxel_volume_of_half_by_two_by_ten_mm_is_a_hundredth_ml() -> None:
    assert grid((0.5, 2.0, 10.0)).voxel_ml == pytest.approx(0.01)
    assert grid((-0.5, 2.0, 10.0)).voxel_ml == pytest.approx(0.01)


def test_voxel_volume_of_a_sheared_grid_is_its_determinant() -> None:
    sheared = np.diag([1.0, 1.0, 2.0, 1.0])
    sheared[0, 2] = 1.0
    assert Grid((4, 4, 4), sheared).voxel_ml == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(np.eye(4), True, id="equal"),
        pytest.param(rotation(0.0001), True, id="rounding"),
        pytest.param(rotation(0.01), False, id="far corner moves by 0.09 mm"),
        pytest.param(np.diag([1, 1, 1.0001, 1]), False, id="last plane moves by 0.05 mm"),
        pytest.param(np.diag([-1, 1, 1, 1]), False, id="mirrored"),
    ],
)
def test_grids_match_where_every_corner_lies_within_a_hundredth_mm(
    other: np.ndarray, same: bool
) -> None:
    shape = (512, 512, 512)
    assert Grid(shape, np.eye(4)).matches(Grid(shape, other)) is same


@pytest.mark.parametrize(("shift_mm", "same"), [(0.009, True), (-0.011, False), (0.011, False)])
def test_grids_match_up_to_the_tolerance(shift_mm: float, same: bool) -> None:
    moved = np.eye(4)
    moved[1, 3] = shift_mm
    assert grid((1, 1, 1)).matches(Grid((4, 4, 4), moved)) is same


def test_grids_of_different_shape_never_match() -> None:
    assert not grid((1, 1, 1)).matches(grid((1, 1, 1), shape=(4, 4, 5)))


def test_a_volume_needs_voxels_of_the_shape_of_its_grid() -> None:
    with pytest.raises(ValueError, match=r"shape of `grid` \(4, 4, 4\), got \(4, 4\)"):
        Volume(np.zeros((4, 4)), grid((1, 1, 1)))


def test_a_volume_keeps_its_voxels_and_takes_any_affine() -> None:
    result = make_volume([[[1, 2]]], [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert result.voxels.tolist() == [[[1, 2]]]
    assert result.grid.shape == (1, 1, 2)
    assert result.grid.spacing_mm == (2.0, 2.0, 3.0)


# Masks and scans


@pytest.fixture
def scan(save_nifti: SaveNifti) -> Scan:
    return Scan(save_nifti("scan.nii", np.zeros((4, 4, 4), np.int16), np.eye(4)))


def test_a_mask_on_the_grid_of_its_scan_is_accepted(scan: Scan, save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("mask.nii", np.zeros((4, 4, 4), np.uint8), np.eye(4)))
    assert check_same_grid(mask, scan) is mask


def test_a_mask_may_be_stored_in_another_order_than_its_scan(
    scan: Scan, save_nifti: SaveNifti
) -> None:
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 3
    mask = Scan(save_nifti("mask.nii", np.zeros((4, 4, 4), np.uint8), flipped))
    assert check_same_grid(mask, scan) is mask


@pytest.mark.parametrize(
    ("shift_mm", "note"),
    [
        pytest.param((0, 0, 0), None, id="equal"),
        pytest.param((0.009, 0, 0), None, id="negligible"),
        pytest.param((0, 0.02, 0), "up to 0.02 mm", id="0.02 mm"),
        pytest.param((0.06, 0, 0.07), "up to 0.092 mm", id="less than a tenth of 1 mm"),
    ],
)
def test_a_mask_less_than_a_tenth_of_a_voxel_away_is_accepted_with_a_note(
    scan: Scan, save_nifti: SaveNifti, shift_mm: tuple[float, ...], note: str | None
) -> None:
    affine = np.eye(4)
    affine[:3, 3] = shift_mm
    mask = Scan(save_nifti("mask.nii", np.zeros((4, 4, 4), np.uint8), affine))
    assert check_same_grid(mask, scan) is mask
    assert grid_note(mask, scan) == (
        ()
        if note is None
        else (
            f"mask.nii is {note} away from scan.nii, less than a tenth of a voxel; the positions "
            "of scan.nii were used",
        )
    )


@pytest.mark.parametrize("shift_mm", [(0.11, 0, 0), (0.08, 0.08, 0)])
def test_a_mask_a_tenth_of_a_voxel_away_is_refused(
    scan: Scan, save_nifti: SaveNifti, shift_mm: tuple[float, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, 3] = shift_mm
    mask = Scan(save_nifti("mask.nii", np.zeros((4, 4, 4), np.uint8), affine))
    with pytest.raises(InputError, match=r"mask\.nii is up to 0\.11\d? mm away from .*scan\.nii"):
        check_same_grid(mask, scan)
    assert grid_note(mask, scan) == ()


def test_the_smallest_spacing_limits_the_distance() -> None:
    thin, moved = np.diag([5.0, 5.0, 0.5, 1]), np.diag([5.0, 5.0, 0.5, 1])
    moved[0, 3] = 0.06
    assert not Grid((4, 4, 4), moved).same_voxels(Grid((4, 4, 4), thin))
    moved[0, 3] = 0.04
    assert Grid((4, 4, 4), moved).same_voxels(Grid((4, 4, 4), thin))
    assert not Grid((4, 4, 5), moved).same_voxels(Grid((4, 4, 4), thin))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        pytest.param(
            (4, 4, 5),
            np.eye(4),
            r"must have the shape of its scan, but .*mask\.nii has \(4, 4, 5\) and .*scan\.nii",
            id="another shape",
        ),
        pytest.param(
            (4, 4, 4),
            np.diag([1, 1, 2, 1]),
            r"must have the affine of its scan, but .*mask\.nii is up to 3 mm away .*resample it",
            id="another spacing",
        ),
        pytest.param(
            (4, 4, 4), np.diag([-1, 1, 1, 1]), "must have the affine of its scan", id="mirrored"
        ),
    ],
)
def test_a_mask_on_another_grid_is_refused(
    scan: Scan,
    save_nifti: SaveNifti,
    shape: tuple[int, int, int],
    affine: np.ndarray,
    message: str,
) -> None:
    mask = Scan(save_nifti("mask.nii", np.zeros(shape, np.uint8), affine))
    with pytest.raises(InputError, match=message):
        check_same_grid(mask, scan)
