"""Surface elements, their areas, and the distances between two surfaces."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from thorax.evaluation.surface_distance import (
    SurfaceDistances,
    areas_mm2,
    corner_codes,
    surface_distances,
)
from thorax.imaging.grid import mask_box

UNIT = (1.0, 1.0, 1.0)
pairs = arrays(bool, (2, 3, 2, 3))
spacings = st.tuples(*[st.sampled_from([0.7, 1.0, 2.5])] * 3)


def voxels(shape: tuple[int, int, int], *places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


def brute_surface(
    mask: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[np.ndarray, list[float]]:
    """All corners that some of their eight voxels touch, one by one, and their areas."""
    areas = areas_mm2(np.array(spacing_mm))
    places, weights = [], []
    for corner in np.ndindex(*(size + 1 for size in mask.shape)):
        code = 0
        for i, j, k in itertools.product((0, 1), repeat=3):
            voxel = (corner[0] - 1 + i, corner[1] - 1 + j, corner[2] - 1 + k)
            within = all(0 <= at < size for at, size in zip(voxel, mask.shape, strict=True))
            code += (within and bool(mask[voxel])) << (i + 2 * j + 4 * k)
        if 0 < code < 255:
            places.append([at * step for at, step in zip(corner, spacing_mm, strict=True)])
            weights.append(float(areas[code]))
    return np.array(places), weights


def brute_percentile(distances: np.ndarray, weights: list[float], percent: float) -> float:
    """The smallest distance that so much of the area does not exceed."""
    total = sum(weights)
    within = 0.0
    for distance, weight in sorted(zip(distances, weights, strict=True)):
        within += weight
        if within >= total * percent / 100 - 1e-6:
            return float(distance)
    raise AssertionError


@settings(max_examples=40, deadline=None)
@given(pairs, spacings)
def test_figures_agree_with_distances_between_all_elements(
    masks: np.ndarray, spacing_mm: tuple[float, float, float]
) -> None:
    masks[0, 0, 0, 0] = masks[1, 2, 1, 2] = True
    (true_at, true_mm2), (found_at, found_mm2) = (brute_surface(m, spacing_mm) for m in masks)
    apart = cdist(true_at, found_at)
    there, back = apart.min(axis=1), apart.min(axis=0)
    both = [*zip(there, true_mm2, strict=True), *zip(back, found_mm2, strict=True)]
    area = sum(true_mm2) + sum(found_mm2)
    found = surface_distances(*masks, spacing_mm)
    assert found.mean_mm == pytest.approx(sum(d * w for d, w in both) / area)
    assert found.nsd(1.0) == pytest.approx(sum(w for d, w in both if d <= 1.00001) / area)
    for percent in (50, 95, 100):
        expected = max(
            brute_percentile(there, true_mm2, percent), brute_percentile(back, found_mm2, percent)
        )
        assert found.hausdorff_mm(percent) == pytest.approx(expected)


def test_areas_of_all_codes_are_those_of_the_published_table() -> None:
    """How many of the 256 neighbourhoods have which area on a unit grid in surface-distance."""
    counted = Counter(np.round(areas_mm2(np.ones(3)), 4).tolist())
    assert counted == {
        0.0: 2,
        0.2165: 16,
        0.433: 32,
        0.6495: 16,
        0.7071: 24,
        0.866: 2,
        0.9236: 48,
        1.0: 6,
        1.1495: 48,
        1.299: 8,
        1.366: 24,
        1.4142: 6,
        1.5731: 24,
    }


def test_area_of_a_corner_an_edge_and_a_face() -> None:
    a, b, c = 0.7, 0.8, 5.0
    areas = areas_mm2(np.array([a, b, c]))
    triangle = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2) / 8
    assert areas[0b00000001] == pytest.approx(triangle)
    assert areas[0b00010001] == pytest.approx(c * math.hypot(a, b) / 2), "edge along z"
    assert areas[0b00000101] == pytest.approx(b * math.hypot(a, c) / 2), "edge along y"
    assert areas[0b01010101] == pytest.approx(b * c), "face across x"
    assert areas[0b00110011] == pytest.approx(a * c), "face across y"
    assert areas[0b10000001] == pytest.approx(2 * triangle), "opposite corners are kept apart"


def test_a_mask_and_its_complement_have_the_same_areas() -> None:
    areas = areas_mm2(np.array([0.7, 0.8, 5.0]))
    assert areas == pytest.approx(areas[::-1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 2), (1, 5, 6)])
def test_area_of_a_block_is_that_of_its_faces_bevelled_edges_and_corners(
    shape: tuple[int, int, int],
) -> None:
    (a, b, c), (x, y, z) = (0.7, 0.8, 5.0), (size - 1 for size in shape)
    faces = 2 * (x * y * a * b + y * z * b * c + x * z * a * c)
    edges = 2 * (x * a * math.hypot(b, c) + y * b * math.hypot(a, c) + z * c * math.hypot(a, b))
    corners = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2)
    block = np.pad(np.ones(shape, bool), 2)
    distances = surface_distances(block, block, (a, b, c))
    assert distances.truth_mm2.sum() == pytest.approx(faces + edges + corners)


def test_bits_of_a_corner_tell_which_voxels_it_touches() -> None:
    codes = corner_codes(voxels((1, 1, 1), (0, 0, 0)))
    assert codes.tolist() == [[[128, 8], [32, 2]], [[64, 4], [16, 1]]]


def test_equal_masks_are_0_mm_apart() -> None:
    ball = np.linalg.norm(np.indices((9, 9, 9)) - 4, axis=0) < 3.5
    distances = surface_distances(ball, ball, UNIT)
    assert (distances.nsd(0), distances.hausdorff_mm(100), distances.mean_mm) == (1, 0, 0)


def test_two_voxels_with_a_gap() -> None:
    """Along z, 3 mm a voxel: four corners are 3 mm from the other voxel's, four are 6 mm."""
    truth, predicted = voxels((3, 3, 5), (1, 1, 1)), voxels((3, 3, 5), (1, 1, 3))
    distances = surface_distances(truth, predicted, (1, 1, 3))
    assert sorted(distances.truth_mm) == [3, 3, 3, 3, 6, 6, 6, 6]
    assert distances.mean_mm == pytest.approx(4.5)
    assert distances.hausdorff_mm(50) == 3
    assert distances.hausdorff_mm() == 6
    assert distances.nsd(2.9) == 0
    assert distances.nsd(3.0) == pytest.approx(0.5)


def test_a_plate_shifted_by_a_plane_differs_at_both_of_its_sides() -> None:
    truth, predicted = np.zeros((2, 8, 8, 6), bool)
    truth[1:7, 1:7, 2:4] = predicted[1:7, 1:7, 3:5] = True
    distances = surface_distances(truth, predicted, (1, 1, 2))
    assert distances.hausdorff_mm(100) == 2
    assert distances.nsd(2) == 1


def test_hausdorff_is_the_larger_of_the_directed_percentiles() -> None:
    """A stray voxel is 1 % of the predicted surface, and is nothing to the true one."""
    block = np.zeros((30, 8, 8), bool)
    block[1:7, 1:7, 1:7] = True
    stray = block | voxels(block.shape, (25, 3, 3))
    distances = surface_distances(block, stray, UNIT)
    assert distances.truth_mm.max() == 0
    assert distances.hausdorff_mm(100) == 19
    assert distances.hausdorff_mm(95) == 0
    assert surface_distances(stray, block, UNIT).hausdorff_mm(100) == 19


def test_percentiles_go_by_area_and_not_by_number() -> None:
    wide = SurfaceDistances(
        truth_mm=np.array([5.0, 1.0, 1.0]),
        truth_mm2=np.array([8.0, 1.0, 1.0]),
        predicted_mm=np.array([0.0]),
        predicted_mm2=np.array([10.0]),
    )
    assert wide.hausdorff_mm(20) == 1
    assert wide.hausdorff_mm(50) == 5
    assert wide.mean_mm == pytest.approx(2.1)
    assert wide.nsd(1) == pytest.approx(0.6)


def test_slices_a_rounding_error_thicker_than_the_tolerance_are_within_it() -> None:
    truth, predicted = voxels((1, 1, 3), (0, 0, 0)), voxels((1, 1, 3), (0, 0, 1))
    assert surface_distances(truth, predicted, (1, 1, 3.0000001)).nsd(3) == 1
    assert surface_distances(truth, predicted, (1, 1, 3.001)).nsd(3) == 0.5


def test_a_surface_lies_at_the_border_of_the_scan_too() -> None:
    full = np.ones((2, 2, 2), bool)
    framed = np.pad(full, 3)
    whole, cut = surface_distances(framed, framed, UNIT), surface_distances(full, full, UNIT)
    assert len(cut.truth_mm) == 26
    assert cut.truth_mm2.sum() == whole.truth_mm2.sum()


@settings(max_examples=25, deadline=None)
@given(pairs, spacings, st.permutations([0, 1, 2]))
def test_neither_empty_planes_nor_the_order_of_axes_nor_who_is_first_matters(
    masks: np.ndarray, spacing_mm: tuple[float, float, float], axes: list[int]
) -> None:
    def figures(one: np.ndarray, other: np.ndarray, steps: tuple[float, ...]) -> list[float]:
        distances = surface_distances(one, other, steps)
        return [distances.nsd(1), distances.hausdorff_mm(100), distances.mean_mm]

    truth, predicted = masks
    expected = pytest.approx(figures(truth, predicted, spacing_mm), nan_ok=True)
    assert figures(np.pad(truth, (1, 3)), np.pad(predicted, (1, 3)), spacing_mm) == expected
    turned = tuple(spacing_mm[axis] for axis in axes)
    assert figures(truth.transpose(axes), predicted.transpose(axes), turned) == expected
    assert figures(predicted, truth, spacing_mm) == expected


def test_both_masks_empty_is_undefined() -> None:
    empty = np.zeros((3, 3, 3), bool)
    distances = surface_distances(empty, empty, UNIT)
    assert math.isnan(distances.nsd(1))
    assert math.isnan(distances.hausdorff_mm())
    assert math.isnan(distances.mean_mm)


@pytest.mark.parametrize("swap", [False, True])
def test_one_mask_empty_is_infinitely_far(swap: bool) -> None:
    masks = [np.zeros((3, 3, 3), bool), voxels((3, 3, 3), (1, 1, 1))]
    distances = surface_distances(*(masks[::-1] if swap else masks), UNIT)
    assert distances.nsd(1000) == 0
    assert distances.hausdorff_mm() == math.inf
    assert distances.hausdorff_mm(0) == math.inf
    assert distances.mean_mm == math.inf


def test_any_label_above_0_is_in_the_mask() -> None:
    labels, mask = np.zeros((2, 3, 3, 3), np.uint8)
    labels[1, 1] = (0, 2, 255)
    mask[1, 1] = (0, 1, 1)
    assert surface_distances(labels, mask, UNIT).hausdorff_mm(100) == 0


def test_masks_are_left_as_they_were() -> None:
    truth, predicted = voxels((3, 3, 3), (1, 1, 1)), voxels((3, 3, 3), (1, 1, 2))
    surface_distances(truth, predicted, UNIT)
    assert truth.sum() == predicted.sum() == 1


def test_box_of_empty_masks_is_empty() -> None:
    assert mask_box(np.zeros((2, 3), bool)) == (slice(0, 0), slice(0, 0))


@pytest.mark.parametrize(
    ("truth", "predicted", "spacing_mm", "message"),
    [
        ((2, 2, 2), (2, 2, 3), UNIT, r"\(2, 2, 2\), \(2, 2, 3\) and 3 spacings"),
        ((2, 2), (2, 2), (1, 1), r"three axes.*\(2, 2\), \(2, 2\) and 2 spacings"),
        ((2, 2, 2), (2, 2, 2), (1, 1), r"a spacing each.*and 2 spacings"),
        ((2, 2, 2), (2, 2, 2), (1, 0, 1), r"`spacing_mm` must be above 0, got \(1, 0, 1\)"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    truth: tuple[int, ...], predicted: tuple[int, ...], spacing_mm: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        surface_distances(np.ones(truth, bool), np.ones(predicted, bool), spacing_mm)


@pytest.mark.parametrize("percent", [-1, 100.5])
def test_percentiles_beyond_0_to_100_are_refused(percent: float) -> None:
    one = voxels((1, 1, 1), (0, 0, 0))
    with pytest.raises(ValueError, match=f"`percent` must be 0 to 100, got {percent}"):
        surface_distances(one, one, UNIT).hausdorff_mm(percent)
