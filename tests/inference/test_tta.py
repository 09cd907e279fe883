"""Variants of a scan, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.imaging.intensity import LOWEST_HU
from thorax.inference.tta import IDENTITY, SHIFT, shift, transforms_for

VARIANTS = {variant.name: variant for variant in transforms_for(["lung", "infection"])}
ROW = np.array([[1, 2, 3, 4]]).repeat(4, axis=0)
"""A plane whose pixels tell how far along W they lie."""


def test_variants_of_a_model() -> None:
    assert list(VARIANTS) == ["as it is", "mirrored", "shifted", "shifted back"]
    assert transforms_for(["lung"])[0] is IDENTITY


# There


def test_mirrored_is_left_for_right_and_no_other_axis() -> None:
    """H lies along x: from the patient's left to the right."""
    planes = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    mirrored = VARIANTS["mirrored"].apply(planes)
    assert mirrored[0].tolist() == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
    assert mirrored[1].tolist() == [[15, 16, 17], [12, 13, 14], [9, 10, 11]]


def test_what_comes_in_beyond_the_border_is_air() -> None:
    planes = np.full((1, 5, 5), 40, np.int16)
    shifted = VARIANTS["shifted"].apply(planes)
    assert shifted.dtype == np.int16
    assert (shifted[0, SHIFT:, SHIFT:] == 40).all()
    assert np.count_nonzero(shifted == LOWEST_HU) == 25 - (5 - SHIFT) ** 2


@pytest.mark.parametrize(
    ("pixels", "rows"),
    [
        (0, [[1, 2, 3, 4]] * 4),
        (1, [[9, 9, 9, 9]] + [[9, 1, 2, 3]] * 3),
        (-1, [[2, 3, 4, 9]] * 3 + [[9, 9, 9, 9]]),
        (3, [[9, 9, 9, 9]] * 3 + [[9, 9, 9, 1]]),
        (4, [[9, 9, 9, 9]] * 4),
        (-4, [[9, 9, 9, 9]] * 4),
        (6, [[9, 9, 9, 9]] * 4),
        (-6, [[9, 9, 9, 9]] * 4),
    ],
)
def test_a_shift_at_the_borders(pixels: int, rows: list[list[int]]) -> None:
    assert shift(ROW[None], pixels, fill=9)[0].tolist() == rows


def test_a_shift_leaves_what_it_was_given() -> None:
    planes = ROW[None].copy()
    shift(planes, 2, fill=0)[:] = 7
    assert (planes == ROW).all()


# There and back

MAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.shared(st.integers(7, 12), key="side"), st.just(0)).map(
        lambda shape: (shape[0], shape[1], shape[1], 2)
    ),
    elements=st.floats(0, 1, width=32),
)


@pytest.mark.parametrize("name", list(VARIANTS))
@given(maps=MAPS)
def test_back_undoes_there_inside_the_frame(name: str, maps: np.ndarray) -> None:
    variant = VARIANTS[name]
    again = variant.invert(variant.apply(maps))
    assert again.shape == maps.shape
    inside = np.s_[:, SHIFT:-SHIFT, SHIFT:-SHIFT]
    assert (again[inside] == maps[inside]).all()


@given(MAPS)
def test_mirrored_twice_is_as_it_was(maps: np.ndarray) -> None:
    mirrored = VARIANTS["mirrored"]
    assert (mirrored.apply(mirrored.apply(maps)) == maps).all()
    assert (mirrored.invert(mirrored.apply(maps)) == maps).all()


def test_maps_come_back_with_nothing_found_beyond_the_border() -> None:
    for name, lost in (("shifted", np.s_[:, -SHIFT:]), ("shifted back", np.s_[:, :SHIFT])):
        maps = VARIANTS[name].invert(np.ones((1, 8, 8, 1), np.float32))
        assert (maps[lost] == 0).all()
        assert maps.sum() == (8 - SHIFT) ** 2


def test_a_network_that_marks_bright_pixels_marks_the_same_in_every_variant() -> None:
    """As the segmenter uses them: planes there, maps with a channel for each region back."""
    planes = np.full((2, 12, 12), -900, np.int16)
    planes[:, 4:6, 5:9] = 40
    for variant in VARIANTS.values():
        maps = (variant.apply(planes) > 0).astype(np.float32)[..., None]
        assert (variant.invert(maps)[..., 0] == (planes > 0)).all()


# Sides


@pytest.mark.parametrize(
    "region",
    ["left_lung", "RIGHT lung", "lung-left", "lung_L", "R lung", "rightupperlobe", "lobe.RUL"],
)
def test_what_has_a_side_is_never_mirrored(region: str) -> None:
    names = [variant.name for variant in transforms_for(["lung", region])]
    assert names == ["as it is", "shifted", "shifted back"]


@pytest.mark.parametrize(
    "region", ["lung", "lungs", "infection", "ground_glass", "lobe 1", "Lunge"]
)
def test_what_has_no_side_is_mirrored(region: str) -> None:
    assert "mirrored" in [variant.name for variant in transforms_for([region])]
