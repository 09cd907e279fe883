"""Morphology plane by plane, compared with SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from thorax.imaging.morphology import (
    IN_PLANE,
    dilate,
    erode,
    fill_holes,
    label_parts,
    open_mask,
    part_sizes,
)

SHAPES = [(3, 20, 30), (1, 1, 1), (2, 3, 3), (2, 1, 9), (1, 9, 2), (0, 4, 4)]


@pytest.fixture(params=SHAPES, ids=str)
def mask(request: pytest.FixtureRequest) -> np.ndarray:
    """Blobs of some pixels, partly at the border."""
    noise = np.random.default_rng(0).random(request.param)
    return np.asarray(ndimage.uniform_filter(noise, (0, 3, 3)) > 0.45)


def square(reach: int) -> np.ndarray:
    return np.ones((1, 2 * reach + 1, 2 * reach + 1), dtype=bool)


def test_sizes_of_parts_are_those_of_bincount() -> None:
    """More planes than a block has."""
    parts, count = ndimage.label(np.random.default_rng(1).random((70, 9, 9)) > 0.7)
    np.testing.assert_array_equal(part_sizes(parts, count), np.bincount(parts.ravel()))
    assert part_sizes(np.zeros((0, 4, 4), np.int32), 0).tolist() == [0]


@pytest.mark.parametrize(("side", "name"), [(256, "uint16"), (257, "uint16"), (512, "int32")])
def test_every_second_pixel_is_a_part(side: int, name: str) -> None:
    """32,768 and 33,025 parts have 16-bit labels, 131,072 need 32 bits."""
    mask = np.indices((1, side, side)).sum(axis=0) % 2 == 0
    parts, count = label_parts(mask)
    expected, number = ndimage.label(mask)
    assert count == number == -(-side * side // 2)
    assert parts.dtype == name
    np.testing.assert_array_equal(parts, expected)


def test_the_structure_decides_what_is_connected() -> None:
    """Two planes, in each of them two pixels that share an edge, and a third one on its own."""
    mask = np.array([[[True, True, False, True]]] * 2)
    assert label_parts(mask)[0].tolist() == [[[1, 1, 0, 2]], [[1, 1, 0, 2]]]
    assert label_parts(mask, IN_PLANE)[0].tolist() == [[[1, 1, 0, 2]], [[3, 3, 0, 4]]]


@pytest.mark.parametrize("reach", [0, 1, 2, 3])
def test_dilation_erosion_and_opening_equal_those_of_scipy(mask: np.ndarray, reach: int) -> None:
    shape = square(reach)
    np.testing.assert_array_equal(dilate(mask, reach), ndimage.binary_dilation(mask, shape))
    np.testing.assert_array_equal(erode(mask, reach), ndimage.binary_erosion(mask, shape))
    np.testing.assert_array_equal(open_mask(mask, reach), ndimage.binary_opening(mask, shape))


def test_filled_holes_equal_those_of_scipy(mask: np.ndarray) -> None:
    expected = [ndimage.binary_fill_holes(plane) for plane in mask]
    np.testing.assert_array_equal(fill_holes(mask), np.reshape(expected, mask.shape))


def test_a_hole_that_reaches_the_edge_is_not_filled() -> None:
    ring = np.array([[[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]]], bool)
    assert fill_holes(ring).astype(int).tolist() == [[[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]]


def test_the_input_is_not_changed(mask: np.ndarray) -> None:
    before = mask.copy()
    for operation in (dilate, erode, open_mask):
        operation(mask, 1)
    fill_holes(mask)
    np.testing.assert_array_equal(mask, before)
