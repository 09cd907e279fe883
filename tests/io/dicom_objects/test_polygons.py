"""Filling and tracing of contours, with masks drawn as text: a row of text is a row of pixels."""

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.io.dicom_objects.polygons import fill, trace


def drawn(text: str) -> NDArray[np.bool_]:
    """Return the mask of a drawing, shape ``(columns, rows)``."""
    return np.array([[letter == "#" for letter in row] for row in text.split()]).T


def filled(*contours: list[tuple[float, float]], shape: tuple[int, int]) -> list[str]:
    mask = fill([np.array(contour, dtype=float) for contour in contours], shape)
    return ["".join("#" if inside else "." for inside in row) for row in mask.T]


SQUARE = [(0.5, 0.5), (5.5, 0.5), (5.5, 4.5), (0.5, 4.5)]
INNER = [(2.5, 1.5), (4.5, 1.5), (4.5, 3.5), (2.5, 3.5)]


def test_an_l_shape_is_filled() -> None:
    shape = [(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (4.5, 2.5), (4.5, 4.5), (0.5, 4.5)]
    assert filled(shape, shape=(6, 6)) == [
        *("......", ".##...", ".##...", ".####.", ".####.", "......"),
    ]


def test_a_pixel_is_inside_if_its_centre_is() -> None:
    assert filled([(1.6, 1.6), (3.4, 1.6), (3.4, 2.4), (1.6, 2.4)], shape=(5, 4)) == [
        *(".....", ".....", "..##.", "....."),
    ]


RING = ["......", ".#####", ".##..#", ".##..#", ".#####"]


def test_a_contour_in_another_one_is_a_hole() -> None:
    assert filled(SQUARE, INNER, shape=(6, 5)) == RING


def test_the_direction_of_a_contour_does_not_matter() -> None:
    assert filled(SQUARE, INNER[::-1], shape=(6, 5)) == RING


def test_a_keyhole_contour_has_a_hole() -> None:
    keyhole = [*SQUARE, SQUARE[0], INNER[0], *INNER[:0:-1], INNER[0], SQUARE[0]]
    assert filled(keyhole, shape=(6, 5)) == RING


def test_a_keyhole_through_pixel_centres_is_part_of_the_region() -> None:
    keyhole = [(0.5, 0.5), (3, 0.5), (3, 1.5), *INNER[1:], INNER[0], (3, 1.5), (3, 0.5)]
    assert filled([*keyhole, *SQUARE[1:]], shape=(6, 5)) == RING


def test_contours_through_the_centres_of_border_pixels_include_them() -> None:
    """As OpenCV traces a mask: the hole is traced on the pixels around it."""
    outer = [(1, 1), (1, 4), (5, 4), (5, 1)]
    hole = [(2, 2), (3, 1), (4, 1), (5, 2), (5, 3), (4, 4), (3, 4), (2, 3)]
    assert filled(outer, hole, shape=(6, 5)) == RING


def test_contours_beyond_the_slice_are_cut() -> None:
    assert filled([(-9, 0.5), (2.5, 0.5), (2.5, 99), (-9, 99)], shape=(4, 3)) == [
        *("....", "###.", "###."),
    ]


def test_the_rounded_contour_of_a_pixel_goes_through_its_centre() -> None:
    """Readers that round to pixels and fill borders, such as rt-utils, then read the mask."""
    (contour,) = trace(drawn("... .#. ..."))
    assert {tuple(point) for point in np.rint(contour).tolist()} == {(1.0, 1.0)}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("#.# ... #..", 3, id="single pixels"),
        pytest.param("##. .## ...", 1, id="a step"),
        pytest.param("#. .#", 2, id="pixels that touch at a corner"),
        pytest.param("##### #...# #.#.# #...# #####", 2, id="a pixel in a hole"),
        pytest.param("###### #.##.# #.##.# ######", 1, id="two holes"),
        pytest.param("##### #.#.# ##.## #####", 1, id="holes that touch at corners"),
        pytest.param("##### #...# ###.# #...# ##### ###.# #####", 1, id="holes above each other"),
    ],
)
def test_a_traced_mask_is_filled_again(text: str, count: int) -> None:
    mask = drawn(text)
    contours = list(trace(mask))
    assert len(contours) == count
    np.testing.assert_array_equal(fill(contours, mask.shape), mask)
    joined = np.any([fill([contour], mask.shape) for contour in contours], axis=0)
    np.testing.assert_array_equal(joined, mask, "readers that join all contours read it too")


@hypothesis.given(
    hypothesis.extra.numpy.arrays(
        bool,
        hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=2, max_side=12),
    )
)
def test_any_mask_is_traced_and_filled_again(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(fill(list(trace(mask)), mask.shape), mask)


def test_an_empty_mask_has_no_contour() -> None:
    assert list(trace(np.zeros((3, 4), dtype=bool))) == []
    assert not fill([], (3, 4)).any()
