"""Placement of planes on the canvas, and restoring."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import resize_local_mean

from thorax.imaging.placement import Placement, place_box, place_whole

AIR = -1024.0


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


# Placing, with literals


def test_a_plane_larger_than_the_canvas_is_averaged() -> None:
    plane = [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 0, 4], [8, 8, 4, 0]]
    placed = place_whole((4, 4), canvas=2).place(np.array([plane]), fill=AIR)
    assert placed.tolist() == [[[0, 4], [8, 2]]]


def test_a_plane_smaller_than_the_canvas_is_repeated() -> None:
    placed = place_whole((2, 2), canvas=4).place(np.array([[[1, 2], [3, 4]]]), fill=AIR)
    assert placed.tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]


def test_a_plane_that_is_not_square_is_centred() -> None:
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    placed = place_whole((2, 4), canvas=4).place(plane, fill=-9)
    assert placed.tolist() == [[[-9] * 4, [1, 2, 3, 4], [5, 6, 7, 8], [-9] * 4]]


def test_padding_of_an_odd_width_has_its_extra_voxel_at_the_end() -> None:
    placed = place_whole((4, 1), canvas=4).place(np.array([[[1], [2], [3], [4]]]), fill=0)
    assert placed.tolist() == [[[0, 1, 0, 0], [0, 2, 0, 0], [0, 3, 0, 0], [0, 4, 0, 0]]]


def test_voxels_that_are_not_square_are_scaled_to_square_pixels() -> None:
    """Two voxels of 2 mm by four of 1 mm cover 4×4 mm."""
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    placement = place_whole((2, 4), canvas=4, spacing_mm=(2.0, 1.0))
    placed = placement.place(plane, fill=AIR)
    assert placed.tolist() == [[[1, 2, 3, 4], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 7, 8]]]


def test_only_the_box_is_placed_and_restored() -> None:
    plane = np.array([[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]])
    placement = place_box((4, 4), ((1, 3), (2, 4)), canvas=2)
    placed = placement.place(plane, fill=AIR)
    assert placed.tolist() == [[[7, 8], [11, 12]]]
    assert placement.restore(placed).tolist() == [
        [[0, 0, 0, 0], [0, 0, 7, 8], [0, 0, 11, 12], [0, 0, 0, 0]]
    ]


def test_voxels_next_to_the_box_are_replaced_by_padding() -> None:
    placement = place_box((4, 4), ((0, 4), (0, 2)), canvas=4)
    placed = placement.place(np.full((1, 4, 4), 5), fill=-9)
    assert placed.tolist() == [[[-9, 5, 5, -9]] * 4]


def test_a_mask_is_placed_as_area_fractions() -> None:
    mask = np.array([[[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]], dtype=bool)
    placed = place_whole((4, 4), canvas=2).place_mask(mask)
    assert placed.dtype == np.uint8
    assert placed.tolist() == [[[64, 128], [255, 0]]]


def test_a_mask_is_padded_with_0() -> None:
    placed = place_whole((1, 2), canvas=2).place_mask(np.ones((1, 1, 2), bool))
    assert placed.tolist() == [[[255, 255], [0, 0]]]


def test_placing_does_not_change_its_input() -> None:
    planes = noise(1, 4, 4)
    before = planes.copy()
    place_whole((4, 4), canvas=2).place(planes, fill=AIR)
    np.testing.assert_array_equal(planes, before)


# Placing and restoring, compared with other programs


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
    resized = [
        cv2.resize(canvas, (size, size), interpolation=cv2.INTER_CUBIC) for canvas in canvases
    ]
    restored = place_whole((size, size), canvas=5).restore(canvases)
    np.testing.assert_allclose(restored, resized, atol=1e-5)


def test_restoring_from_a_finer_canvas_agrees_with_the_area_interpolation_of_opencv() -> None:
    canvases = noise(1, 9, 9)
    resized = cv2.resize(canvases[0], (4, 4), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(
        place_whole((4, 4), canvas=9).restore(canvases)[0], resized, atol=1e-5
    )


def test_restoring_a_plane_that_is_not_square_omits_the_padding() -> None:
    canvases = noise(1, 8, 8)
    square = cv2.resize(canvases[0], (16, 16), interpolation=cv2.INTER_CUBIC)
    restored = place_whole((10, 16), canvas=8).restore(canvases)
    np.testing.assert_allclose(restored[0], square[3:13], atol=1e-5)


def test_restoring_a_box_returns_it_to_its_position() -> None:
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
def test_restored_planes_have_the_shape_of_the_scan_and_0_outside_the_box(
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
def test_a_constant_plane_stays_constant(placement: Placement) -> None:
    planes = np.full((1, placement.x.size, placement.y.size), 40, np.int16)
    canvas = placement.place(planes, fill=40.0)
    np.testing.assert_allclose(canvas, 40.0, rtol=1e-5)
    np.testing.assert_allclose(placement.restore(canvas)[box_of(placement)], 40.0, rtol=1e-5)


@given(placements())
def test_the_sum_over_the_area_is_preserved(placement: Placement) -> None:
    planes = np.abs(noise(1, placement.x.size, placement.y.size))
    pixel = placement.x.side * placement.y.side / placement.x.canvas**2
    placed = placement.place(planes, fill=0.0)
    assert placed.sum() * pixel == pytest.approx(planes[box_of(placement)].sum(), rel=1e-4)


@given(placements())
def test_area_fractions_are_stored_in_255_steps(placement: Placement) -> None:
    mask = noise(1, placement.x.size, placement.y.size) > 0
    shares = placement.place(mask, fill=0.0)
    assert np.abs(placement.place_mask(mask) / 255.0 - shares).max() < 0.51 / 255.0


@given(st.integers(1, 30), st.integers(1, 30))
def test_restoring_is_exact_without_scaling(x: int, y: int) -> None:
    planes = np.rint(1000 * noise(2, x, y))
    placement = place_whole((x, y), canvas=max(x, y))
    np.testing.assert_array_equal(placement.restore(placement.place(planes, fill=0.0)), planes)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 4))
def test_restoring_is_exact_if_each_voxel_covers_whole_pixels(x: int, y: int, zoom: int) -> None:
    planes = noise(1, x, y)
    placement = place_whole((x, y), canvas=zoom * max(x, y))
    restored = placement.restore(placement.place(planes, fill=AIR))
    np.testing.assert_allclose(restored, planes, atol=1e-3)


def test_one_voxel_fills_the_canvas_and_is_restored() -> None:
    placement = place_whole((1, 1), canvas=3)
    placed = placement.place(np.array([[[7]]]), fill=AIR)
    assert placed == pytest.approx(np.full((1, 3, 3), 7.0))
    assert placement.restore(placed).tolist() == [[[pytest.approx(7.0)]]]


def test_rounded_spacings_do_not_cause_scaling() -> None:
    """NIfTI keeps spacings in single precision; 0.7 comes back as 0.699999988."""
    planes = np.rint(1000 * noise(1, 7, 5))
    placement = place_whole((7, 5), canvas=7, spacing_mm=(0.7, float(np.float32(0.7))))
    np.testing.assert_array_equal(placement.restore(placement.place(planes, fill=0.0)), planes)


# Restoring the crop alone, and labels


PLACEMENTS = [
    pytest.param(place_whole((40, 30), canvas=16), id="whole planes"),
    pytest.param(place_box((40, 30), ((5, 33), (2, 27)), canvas=16), id="a crop"),
    pytest.param(place_box((9, 7), ((1, 8), (0, 5)), canvas=32), id="canvas finer than the scan"),
    pytest.param(
        place_box((40, 30), ((0, 40), (3, 30)), canvas=16, spacing_mm=(0.7, 1.1)),
        id="voxels that are not square",
    ),
]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_crop_is_that_of_whole_planes(placement: Placement) -> None:
    canvases = noise(3, placement.x.canvas, placement.x.canvas)
    crop = placement.restore_crop(canvases)
    np.testing.assert_array_equal(crop, placement.restore(canvases)[box_of(placement)])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_voxel_gets_the_label_of_its_pixel(placement: Placement) -> None:
    """Halves of the canvas become halves of the scan, up to the voxels at their border."""
    side = placement.x.canvas
    labels = np.ones((1, side, side), np.uint8)
    labels[:, side // 2 :] = 2
    restored = placement.restore_labels(labels)
    fractions = placement.restore((labels == 2).astype(np.float32))
    clear = (np.abs(fractions - 0.5) > 0.4) & (restored > 0)
    np.testing.assert_array_equal((restored == 2)[clear], (fractions > 0.5)[clear])
    assert clear.any()


def test_labels_are_restored_to_the_nearest_pixel_and_0_outside_the_crop() -> None:
    placement = place_box((4, 4), ((0, 3), (1, 4)), canvas=2)
    labels = np.array([[[1, 2], [3, 4]]], np.uint8)
    assert placement.restore_labels(labels).tolist() == [
        [[0, 1, 2, 2], [0, 3, 4, 4], [0, 3, 4, 4], [0, 0, 0, 0]]
    ]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_crops_give_the_same_as_whole_planes(placement: Placement) -> None:
    planes = noise(2, placement.x.size, placement.y.size)
    crops = planes[:, *placement.crop]
    np.testing.assert_array_equal(
        placement.place_crop(crops, fill=AIR), placement.place(planes, fill=AIR)
    )
    side = placement.x.canvas
    labels = (1 + np.arange(2 * side * side) % 3).astype(np.uint8).reshape(2, side, side)
    whole = placement.restore_labels(labels)
    everything = slice(None), slice(None)
    restored = placement.restore_label_part(labels, everything)
    np.testing.assert_array_equal(restored, whole[:, *placement.crop])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_part_is_that_of_the_crop(placement: Placement) -> None:
    canvases = noise(2, placement.x.canvas, placement.x.canvas)
    crop = placement.restore_crop(canvases)
    voxels = slice(1, 4), slice(2, None)
    part = placement.restore_part(canvases, voxels)
    np.testing.assert_allclose(part, crop[:, *voxels], atol=1e-6)
    nothing = slice(0, 0), slice(0, 0)
    assert placement.restore_part(canvases, nothing).shape == (2, 0, 0)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_pixels_reach_the_voxels_that_they_contribute_to(placement: Placement) -> None:
    side = placement.x.canvas
    pixels = np.zeros(side, bool)
    pixels[side // 2] = True
    canvas = np.zeros((1, side, side), np.float32)
    canvas[0, side // 2] = 1.0
    restored = np.flatnonzero(placement.restore_crop(canvas)[0].any(axis=1))
    reached = placement.x.reached_by(pixels)
    assert (reached.start, reached.stop - 1) == (restored[0], restored[-1])
    assert placement.x.reached_by(np.zeros(side, bool)) == slice(0, 0)


def test_crops_are_put_into_planes_of_zeros() -> None:
    placement = place_box((3, 4), ((1, 3), (0, 2)), canvas=4)
    crops = np.array([[[[1, 2], [3, 4]]]], np.int16)
    planes = placement.uncrop(crops)
    assert planes.dtype == np.int16
    assert planes.tolist() == [[[[0, 0, 0, 0], [1, 2, 0, 0], [3, 4, 0, 0]]]]


# Invalid input


def test_a_canvas_without_pixels_is_rejected() -> None:
    with pytest.raises(ValueError, match="`canvas` must be at least 1, got 0"):
        place_whole((4, 4), canvas=0)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(((-1, 2), (0, 4)), id="starts before the plane"),
        pytest.param(((0, 4), (0, 6)), id="ends beyond it"),
        pytest.param(((2, 2), (0, 4)), id="empty"),
        pytest.param(((3, 1), (0, 4)), id="backwards"),
    ],
)
def test_a_box_outside_the_plane_is_rejected(box: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"`box` must be within \(4, 5\) and not empty, got"):
        place_box((4, 5), box, canvas=4)
