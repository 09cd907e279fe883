"""Test-time augmentation: transforms and their inverses."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.imaging.intensity import LOWEST_HU
from thorax.inference.tta import IDENTITY, SHIFT, TTATransform, average, shift, transforms_for

TRANSFORMS = {transform.name: transform for transform in transforms_for(["lung", "infection"])}
ROW = np.array([[1, 2, 3, 4]]).repeat(4, axis=0)
"""A slice whose pixels are their index along W, from 1."""


def test_transforms_of_a_model() -> None:
    assert list(TRANSFORMS) == ["identity", "mirrored", "shifted by 3", "shifted by -3"]
    assert transforms_for(["lung"])[0] is IDENTITY


# Forward


def test_mirroring_swaps_left_and_right_only() -> None:
    """H is along x, from the patient's left to the right."""
    slices = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    mirrored = TRANSFORMS["mirrored"].apply(slices)
    assert mirrored[0].tolist() == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
    assert mirrored[1].tolist() == [[15, 16, 17], [12, 13, 14], [9, 10, 11]]


def test_shifted_slices_are_padded_with_air() -> None:
    slices = np.full((1, 5, 5), 40, np.int16)
    shifted = TRANSFORMS["shifted by 3"].apply(slices)
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


def test_a_shift_does_not_modify_its_input() -> None:
    slices = ROW[None].copy()
    shift(slices, 2, fill=0)[:] = 7
    assert (slices == ROW).all()


# Inverse

MAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.shared(st.integers(7, 12), key="side"), st.just(0)).map(
        lambda shape: (shape[0], shape[1], shape[1], 2)
    ),
    elements=st.floats(0, 1, width=32),
)


@pytest.mark.parametrize("name", list(TRANSFORMS))
@given(maps=MAPS)
def test_invert_undoes_apply_away_from_the_border(name: str, maps: np.ndarray) -> None:
    transform = TRANSFORMS[name]
    restored = transform.invert(transform.apply(maps))
    assert restored.shape == maps.shape
    inside = np.s_[:, SHIFT:-SHIFT, SHIFT:-SHIFT]
    assert (restored[inside] == maps[inside]).all()


@given(MAPS)
def test_mirroring_twice_changes_nothing(maps: np.ndarray) -> None:
    mirrored = TRANSFORMS["mirrored"]
    assert (mirrored.apply(mirrored.apply(maps)) == maps).all()
    assert (mirrored.invert(mirrored.apply(maps)) == maps).all()


def test_restored_maps_are_0_where_pixels_were_lost() -> None:
    for name, lost in (("shifted by 3", np.s_[:, -SHIFT:]), ("shifted by -3", np.s_[:, :SHIFT])):
        maps = TRANSFORMS[name].invert(np.ones((1, 8, 8, 1), np.float32))
        assert (maps[lost] == 0).all()
        assert maps.sum() == (8 - SHIFT) ** 2


def test_a_pointwise_network_gives_the_same_maps_for_every_transform() -> None:
    """As the segmenter uses them: slices forward, maps with one channel per region back."""
    slices = np.full((2, 12, 12), -900, np.int16)
    slices[:, 4:6, 5:9] = 40
    for transform in TRANSFORMS.values():
        maps = (transform.apply(slices) > 0).astype(np.float32)[..., None]
        assert (transform.invert(maps)[..., 0] == (slices > 0)).all()


# Average


def predictions(*values: float) -> Iterator[tuple[TTATransform, np.ndarray]]:
    """Yield each transform with maps of one value, 8×8 pixels; then again, as for two models."""
    for transform, value in zip([*TRANSFORMS.values()] * 2, values, strict=False):
        yield transform, transform.invert(np.full((2, 8, 8, 1), value, np.float32))


def test_the_mean_of_each_pixel_is_that_of_the_copies_that_show_it() -> None:
    """By hand: the copies are 0.2, 0.4, 0.6 and 0.8; the third lacks the end, the fourth the start.

    Row 0 has no pixel of the fourth, row 7 none of the third, and pixel (0, 7) none of either.
    """
    mean, _ = average(predictions(0.2, 0.4, 0.6, 0.8), threshold=0.5)
    assert mean.shape == (2, 8, 8, 1)
    assert mean.dtype == np.float32
    assert mean[:, 3:5, 3:5] == pytest.approx(0.5)
    assert mean[:, 0, :5] == pytest.approx(0.4)
    assert mean[:, 7, 3:] == pytest.approx(1.4 / 3)
    assert mean[:, 0, 7] == pytest.approx(0.3)


def test_the_masks_are_compared_where_all_copies_show_the_scan() -> None:
    _, masks = average(predictions(0.74, 0.3, 0.74, 0.74), threshold=0.5)
    assert len(masks) == 4
    for mask, pixels in zip(masks, [4, 0, 4, 4], strict=True):
        assert mask[:, 3:5, 3:5].sum() == mask.sum() == 2 * pixels


def test_equal_copies_of_two_models_average_to_themselves() -> None:
    mean, masks = average(predictions(*[0.74] * 8), threshold=0.74)
    assert mean == pytest.approx(0.74)
    assert len(masks) == 8
    assert all((mask == masks[0]).all() for mask in masks)


def test_a_single_prediction_is_not_changed() -> None:
    maps = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    mean, (mask,) = average([(IDENTITY, maps)], threshold=0.5)
    assert mean is maps
    assert (mask == (maps >= 0.5)).all()


def test_no_prediction_has_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one prediction"):
        average([], threshold=0.5)


# Sides


@pytest.mark.parametrize(
    "region",
    ["left_lung", "RIGHT lung", "lung-left", "lung_L", "R lung", "rightupperlobe", "lobe.RUL"],
)
def test_sided_regions_are_never_mirrored(region: str) -> None:
    names = [transform.name for transform in transforms_for(["lung", region])]
    assert names == ["identity", "shifted by 3", "shifted by -3"]


@pytest.mark.parametrize(
    "region", ["lung", "lungs", "infection", "ground_glass", "lobe 1", "Lunge"]
)
def test_regions_without_a_side_are_mirrored(region: str) -> None:
    assert "mirrored" in [transform.name for transform in transforms_for([region])]
