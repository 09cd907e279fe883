"""Position of voxels in the patient: grids and volumes."""

import numpy as np
import pytest

from thorax.imaging.grid import Grid, Volume, make_volume


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
