"""Morphology plane by plane, against scipy's own."""

import numpy as np
import pytest
from scipy import ndimage

from thorax.imaging.morphology import filled, grown, opened, shrunk

SHAPES = [(3, 20, 30), (1, 1, 1), (2, 3, 3), (2, 1, 9), (1, 9, 2), (0, 4, 4)]


@pytest.fixture(params=SHAPES, ids=str)
def mask(request: pytest.FixtureRequest) -> np.ndarray:
    """Return blobs of some pixels, some of them at the border."""
    noise = np.random.default_rng(0).random(request.param)
    return np.asarray(ndimage.uniform_filter(noise, (0, 3, 3)) > 0.45)


def square(reach: int) -> np.ndarray:
    return np.ones((1, 2 * reach + 1, 2 * reach + 1), dtype=bool)


@pytest.mark.parametrize("reach", [0, 1, 2, 3])
def test_squares_are_those_of_scipy(mask: np.ndarray, reach: int) -> None:
    shape = square(reach)
    np.testing.assert_array_equal(grown(mask, reach), ndimage.binary_dilation(mask, shape))
    np.testing.assert_array_equal(shrunk(mask, reach), ndimage.binary_erosion(mask, shape))
    np.testing.assert_array_equal(opened(mask, reach), ndimage.binary_opening(mask, shape))


def test_holes_are_those_of_scipy(mask: np.ndarray) -> None:
    expected = [ndimage.binary_fill_holes(plane) for plane in mask]
    np.testing.assert_array_equal(filled(mask), np.reshape(expected, mask.shape))


def test_a_hole_that_opens_to_the_edge_is_none() -> None:
    ring = np.array([[[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]]], bool)
    assert filled(ring).astype(int).tolist() == [[[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]]


def test_what_comes_in_stays_as_it_was(mask: np.ndarray) -> None:
    before = mask.copy()
    for change in (grown, shrunk, opened):
        change(mask, 1)
    filled(mask)
    np.testing.assert_array_equal(mask, before)
