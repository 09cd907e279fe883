"""Draws for a batch: their ranges, shares of neutral values, and seeds."""

from typing import Any

import numpy as np
import pytest

from thorax.training.augmentation.strengths import AFFINE_CHANCE, CHANCE, CONTRAST_CHANCE

from ...learning import augmentation

BATCH = 4000


def draw(seed: int = 0, *, batch: int = BATCH, **strengths: Any) -> dict[str, np.ndarray]:
    changes = augmentation(canvas=100, **strengths)
    return changes.draw_batch(np.random.default_rng(seed), batch=batch, channels=5)


def test_without_strengths_nothing_is_drawn() -> None:
    assert draw() == {}


@pytest.mark.parametrize(
    ("strengths", "name", "neutral", "limits", "chance"),
    [
        ({"low_resolution": 0.4}, "kept", 1.0, (0.6, 1.0), CHANCE),
        ({"blur": 1.5}, "sigma", 0.0, (0.0, 1.5), CHANCE),
        ({"sharpen": 0.8}, "sharpening", 0.0, (0.0, 0.8), CHANCE),
        ({"contrast": 0.2}, "contrast", 1.0, (0.8, 1.2), CONTRAST_CHANCE),
        ({"contrast": 0.2}, "brightness", 0.0, (-0.1, 0.1), CONTRAST_CHANCE),
        ({"gamma": 0.25}, "gamma", 1.0, (0.8, 1.25), CHANCE),
        ({"noise": 0.1}, "noise", 0.0, (0.0, 0.1), CHANCE),
    ],
)
def test_values_fill_their_range_for_a_share_of_the_stacks(
    strengths: dict[str, float],
    name: str,
    neutral: float,
    limits: tuple[float, float],
    chance: float,
) -> None:
    values = draw(**strengths)[name]
    drawn = values[values != neutral]
    assert len(drawn) / BATCH == pytest.approx(chance, abs=0.03)
    width = limits[1] - limits[0]
    assert drawn.min() == pytest.approx(limits[0], abs=0.01 * width)
    assert drawn.max() == pytest.approx(limits[1], abs=0.01 * width)
    assert drawn.mean() == pytest.approx(np.mean(limits), abs=0.03 * width)


def test_contrast_and_brightness_are_changed_together() -> None:
    draws = draw(contrast=0.2)
    np.testing.assert_array_equal(draws["contrast"] != 1, draws["brightness"] != 0)


def test_a_flip_reverses_the_first_axis_of_a_share_of_the_stacks() -> None:
    matrices = draw(flip=0.3)["matrix"]
    flipped = matrices[:, 4] < 0
    assert flipped.mean() == pytest.approx(0.3, abs=0.03)
    expected = np.where(flipped[:, None], [1, 0, 0, 0, -1, 99, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(matrices, expected)


def test_shifts_are_whole_pixels_up_to_a_share_of_the_canvas() -> None:
    shifts = draw(shift=0.05)["matrix"][:, [2, 5]]
    np.testing.assert_allclose(shifts, np.rint(shifts))
    assert set(np.rint(shifts).astype(int).ravel()) == set(range(-4, 5))
    # One in nine pairs drawn is a shift by less than a pixel in an axis.
    assert (shifts != 0).any(axis=1).mean() == pytest.approx(AFFINE_CHANCE * (1 - 0.2**2), abs=0.03)


def test_a_field_of_view_loses_up_to_a_share_on_each_side() -> None:
    limits = draw(field_of_view=0.2)["inside"]
    assert limits.min(axis=0).tolist() == [0, 79, 0, 79]
    assert limits.max(axis=0).tolist() == [20, 99, 20, 99]
    assert (limits != [0, 99, 0, 99]).any(axis=1).mean() == pytest.approx(CHANCE, abs=0.03)


def test_the_centre_slice_is_never_missing() -> None:
    planes = draw(missing_planes=0.4)["planes"]
    assert set(planes[:, 2]) == {2}
    assert (planes[:, 1] == 2).mean() == pytest.approx(0.4, abs=0.03)
    assert (planes[:, 0] == 2).mean() == pytest.approx(0.4**2, abs=0.03)


def test_weights_of_mixup_are_one_share_and_those_of_cutmix_a_box() -> None:
    share = draw(mixup=1.0, batch=8)["weights"]
    assert np.ptp(share) == 0
    assert 0 < share[0, 0] < 1
    box = draw(cutmix=1.0, batch=8)["weights"]
    assert set(np.unique(box)) == {0, 1}
    rows, columns = (np.flatnonzero((box == 0).any(axis=axis)) for axis in (1, 0))
    assert (box == 0).sum() == len(rows) * len(columns) == len(rows) ** 2


def test_a_seed_gives_the_same_draws() -> None:
    strengths = {"rotate_degrees": 5.0, "noise": 0.1, "mixup": 0.2}
    first, again, other = draw(3, **strengths), draw(3, **strengths), draw(4, **strengths)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])


def test_draws_need_the_canvas() -> None:
    with pytest.raises(ValueError, match="`canvas` must be the side of the canvas, got None"):
        augmentation(noise=0.1).draw_batch(np.random.default_rng(0), batch=1, channels=1)
