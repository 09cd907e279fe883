"""Grids, and how planes are placed on the canvas and restored."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import resize_local_mean

from thorax.imaging.grid import Grid, Volume, volume
from thorax.imaging.placement import Placement, place_box, place_whole

AIR = -1024.0


def grid(spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] = (4, 4, 4)) -> Grid:
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


def turned(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


# Grids


def test_spacing_is_the_length_of_a_step_along_each_axis() -> None:
    turned_grid = Grid((4, 4, 4), turned(30) @ np.diag([-0.7, 0.8, 5.0, 1.0]))
    assert turned_grid.spacing_mm == pytest.approx((0.7, 0.8, 5.0))


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
        pytest.param(turned(0.0001), True, id="rounding"),
        pytest.param(turned(0.01), False, id="far corner moves by 0.09 mm"),
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
    made = volume([[[1, 2]]], [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert made.voxels.tolist() == [[[1, 2]]]
    assert made.grid.shape == (1, 1, 2)
    assert made.grid.spacing_mm == (2.0, 2.0, 3.0)


# Placing, checked by eye


def test_a_plane_larger_than_the_canvas_is_averaged() -> None:
    plane = [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 0, 4], [8, 8, 4, 0]]
    placed = place_whole((4, 4), canvas=2).place(np.array([plane]), fill=AIR)
    assert placed.tolist() == [[[0, 4], [8, 2]]]


def test_a_plane_smaller_than_the_canvas_is_repeated() -> None:
    placed = place_whole((2, 2), canvas=4).place(np.array([[[1, 2], [3, 4]]]), fill=AIR)
    assert placed.tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]


def test_a_plane_that_is_not_square_lies_in_the_middle() -> None:
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    placed = place_whole((2, 4), canvas=4).place(plane, fill=-9)
    assert placed.tolist() == [[[-9] * 4, [1, 2, 3, 4], [5, 6, 7, 8], [-9] * 4]]


def test_padding_of_an_odd_width_has_its_extra_voxel_behind() -> None:
    placed = place_whole((4, 1), canvas=4).place(np.array([[[1], [2], [3], [4]]]), fill=0)
    assert placed.tolist() == [[[0, 1, 0, 0], [0, 2, 0, 0], [0, 3, 0, 0], [0, 4, 0, 0]]]


def test_voxels_that_are_not_square_are_scaled_to_square_pixels() -> None:
    """Two voxels of 2 mm by four of 1 mm cover 4×4 mm."""
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    placement = place_whole((2, 4), canvas=4, spacing_mm=(2.0, 1.0))
    placed = placement.place(plane, fill=AIR)
    assert placed.tolist() == [[[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 7, 8]]]


def test_only_the_box_is_seen_on_the_canvas_and_only_it_comes_back() -> None:
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]])
    placement = place_box((4, 4), ((1, 3), (2, 4)), canvas=2)
    placed = placement.place(plane, fill=AIR)
    assert placed.tolist() == [[[7, 8], [11, 12]]]
    assert placement.restore(placed).tolist() == [
        [[0, 0, 0, 0], [0, 0, 7, 8], [0, 0, 11, 12], [0, 0, 0, 0]]
    ]


def test_what_lies_beside_the_box_is_padding_even_where_the_scan_goes_on() -> None:
    placement = place_box((4, 4), ((0, 4), (0, 2)), canvas=4)
    placed = placement.place(np.full((1, 4, 4), 5), fill=-9)
    assert placed.tolist() == [[[-9, 5, 5, -9]] * 4]


def test_a_mask_is_placed_as_the_area_fraction_that_it_covers() -> None:
    mask = np.array([[[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]], dtype=bool)
    placed = place_whole((4, 4), canvas=2).place_mask(mask)
    assert placed.dtype == np.uint8
    assert placed.tolist() == [[[64, 128], [255, 0]]]


def test_a_mask_is_padded_with_nothing() -> None:
    placed = place_whole((1, 2), canvas=2).place_mask(np.ones((1, 1, 2), bool))
    assert placed.tolist() == [[[255, 255], [0, 0]]]


def test_placing_leaves_the_planes_as_they_were() -> None:
    planes = noise(1, 4, 4)
    before = planes.copy()
    place_whole((4, 4), canvas=2).place(planes, fill=AIR)
    np.testing.assert_array_equal(planes, before)


# Placing and restoring, against other programs


@pytest.mark.parametrize("canvas", [12, 6, 4, 5, 7, 1], ids="canvas {}".format)
def test_placing_agrees_with_the_area_interpolation_of_opencv(canvas: int) -> None:
    planes = noise(2, 12, 12)
    resized = [
        cv2.resize(plane, (canvas, canvas), interpolation=cv2.INTER_AREA) for plane in planes
    ]
    placed = place_whole((12, 12), canvas=canvas).place(planes, fill=0.0)
    np.testing.assert_allclose(placed, resized, atol=1e-5)


def test_placing_agrees_with_the_local_mean_of_scikit_image() -> None:
    planes = noise(1, 14, 11)
    padded = np.pad(planes[0], ((0, 0), (1, 2)))
    placed = place_whole((14, 11), canvas=9).place(planes, fill=0.0)
    np.testing.assert_allclose(placed[0], resize_local_mean(padded, (9, 9)), atol=1e-5)


@pytest.mark.parametrize("size", [5, 8, 10, 13], ids="plane of {}".format)
def test_restoring_agrees_with_the_cubic_interpolation_of_opencv(size: int) -> None:
    canvases = noise(2, 5, 5)
    resized = [cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in canvases]
    restored = place_whole((size, size), canvas=5).restore(canvases)
    np.testing.assert_allclose(restored, resized, atol=1e-5)


def test_restoring_from_a_finer_canvas_agrees_with_the_area_interpolation_of_opencv() -> None:
    canvases = noise(1, 9, 9)
    resized = cv2.resize(canvases[0], (4, 4), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(
        place_whole((4, 4), canvas=9).restore(canvases)[0], resized, atol=1e-5
    )


def test_restoring_a_plane_that_is_not_square_leaves_the_padding_away() -> None:
    canvases = noise(1, 8, 8)
    square = cv2.resize(canvases[0], (16, 16), interpolation=cv2.INTER_CUBIC)
    restored = place_whole((10, 16), canvas=8).restore(canvases)
    np.testing.assert_allclose(restored[0], square[3:13], atol=1e-5)


def test_restoring_a_box_puts_it_where_it_was() -> None:
    canvases = noise(1, 4, 4)
    square = cv2.resize(canvases[0], (6, 6), interpolation=cv2.INTER_CUBIC)
    restored = place_box((9, 11), ((2, 8), (5, 11)), canvas=4).restore(canvases)[0]
    np.testing.assert_allclose(restored[2:8, 5:11], square, atol=1e-5)
    restored[2:8, 5:11] = 0
    assert not restored.any()


# Laws


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Draw boxes in planes of 1..30 voxels, square or not, on canvases of 1..30 pixels."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    starts = [draw(st.integers(0, size - 1)) for size in shape]
    stops = [draw(st.integers(start + 1, size)) for start, size in zip(starts, shape, strict=True)]
    x, y = zip(starts, stops, strict=True)
    spacing = st.sampled_from([0.7, 0.9765625, 1.0, 2.0])
    spacing_mm = draw(st.tuples(spacing, spacing))
    return place_box(shape, (x, y), canvas=draw(st.integers(1, 30)), spacing_mm=spacing_mm)


def box_of(placement: Placement) -> tuple[slice, slice, slice]:
    x, y = placement.x, placement.y
    return slice(None), slice(x.start, x.stop), slice(y.start, y.stop)


@given(placements(), st.integers(1, 3))
def test_restoring_gives_the_shape_of_the_scan_and_nothing_beside_the_box(
    placement: Placement, depth: int
) -> None:
    planes = np.ones((depth, placement.x.size, placement.y.size), np.float32)
    placed = placement.place(planes, fill=0.0)
    assert placed.shape == (depth, placement.x.canvas, placement.x.canvas)
    restored = placement.restore(placed)
    assert restored.shape == planes.shape
    restored[box_of(placement)] = 0.0
    assert not restored.any()


@given(placements())
def test_what_is_the_same_everywhere_stays_so(placement: Placement) -> None:
    planes = np.full((1, placement.x.size, placement.y.size), 40, np.int16)
    canvas = placement.place(planes, fill=40.0)
    np.testing.assert_allclose(canvas, 40.0, rtol=1e-5)
    np.testing.assert_allclose(placement.restore(canvas)[box_of(placement)], 40.0, rtol=1e-5)


@given(placements())
def test_the_sum_over_the_area_is_kept(placement: Placement) -> None:
    planes = np.abs(noise(1, placement.x.size, placement.y.size))
    pixel = placement.x.side * placement.y.side / placement.x.canvas**2
    placed = placement.place(planes, fill=0.0)
    assert placed.sum() * pixel == pytest.approx(planes[box_of(placement)].sum(), rel=1e-4)


@given(placements())
def test_a_mask_is_placed_in_shares_of_255(placement: Placement) -> None:
    mask = noise(1, placement.x.size, placement.y.size) > 0
    shares = placement.place(mask, fill=0.0)
    assert np.abs(placement.place_mask(mask) / 255.0 - shares).max() < 0.51 / 255.0


@given(st.integers(1, 30), st.integers(1, 30))
def test_restoring_is_exact_where_nothing_is_scaled(x: int, y: int) -> None:
    planes = np.rint(1000 * noise(2, x, y))
    placement = place_whole((x, y), canvas=max(x, y))
    np.testing.assert_array_equal(placement.restore(placement.place(planes, fill=0.0)), planes)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 4))
def test_restoring_is_exact_where_each_voxel_covers_whole_pixels(x: int, y: int, zoom: int) -> None:
    planes = noise(1, x, y)
    placement = place_whole((x, y), canvas=zoom * max(x, y))
    restored = placement.restore(placement.place(planes, fill=AIR))
    np.testing.assert_allclose(restored, planes, atol=1e-3)


def test_one_voxel_fills_the_canvas_and_comes_back() -> None:
    placement = place_whole((1, 1), canvas=3)
    placed = placement.place(np.array([[[7]]]), fill=AIR)
    assert placed == pytest.approx(np.full((1, 3, 3), 7.0))
    assert placement.restore(placed).tolist() == [[[pytest.approx(7.0)]]]


def test_spacing_that_rounding_blurs_still_means_no_scaling() -> None:
    """NIfTI keeps spacings in single precision; 0.7 comes back as 0.699999988."""
    planes = np.rint(1000 * noise(1, 7, 5))
    placement = place_whole((7, 5), canvas=7, spacing_mm=(0.7, float(np.float32(0.7))))
    np.testing.assert_array_equal(placement.restore(placement.place(planes, fill=0.0)), planes)


# Bad input


def test_a_canvas_has_a_pixel() -> None:
    with pytest.raises(ValueError, match="`canvas` must be at least 1, got 0"):
        place_whole((4, 4), canvas=0)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(((-1, 2), (0, 4)), id="starts before the plane"),
        pytest.param(((0, 4), (0, 6)), id="ends behind it"),
        pytest.param(((2, 2), (0, 4)), id="empty"),
        pytest.param(((3, 1), (0, 4)), id="backwards"),
    ],
)
def test_a_box_lies_within_the_plane(box: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"`box` must lie within \(4, 5\) and hold a voxel, got"):
        place_box((4, 5), box, canvas=4)
