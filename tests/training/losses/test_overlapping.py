"""Dice, Tversky and generalised Dice: 2×2 maps worked out by hand, symmetries, and Keras' own."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.training.losses import dice, focal_tversky, generalised_dice, tversky

from .examples import HARDLY, MOSTLY, UNSURE, Loss, finding, gradient, maps, pixels

TRUTH = maps([[1, 1], [0, 0]])
FOUND = finding(maps([[3 / 4, 1 / 4], [1 / 2, 0]]))
WHOLE, NONE = [[1, 1], [1, 1]], [[0, 0], [0, 0]]
TOP, CORNER, TOO_MUCH = [[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 1]]
BATCH: Any = {"smoothing": 1.0, "over": "batch"}

fractions = arrays(np.float32, (1, 2, 3, 1), elements=st.floats(0.0625, 0.9375, width=32))


def test_dice_by_hand() -> None:
    """1 - (2 · 3/4 + 1) / (9/16 + 1/16 + 1 + 1) = 1 - 2.5 / 2.625 = 1/21."""
    loss = dice(pixels(1, 0), pixels(MOSTLY, HARDLY), **BATCH)
    assert float(loss[0]) == pytest.approx(1 / 21, abs=1e-6)


def test_dice_is_one_figure_a_region_each_over_the_batch() -> None:
    """The first region as above; the second is not there: 1 - 1 / (1/4 + 1/4 + 1) = 1/3."""
    truth = np.array([[[[1, 0]]], [[[0, 0]]]], np.float32)
    logits = np.array([[[[MOSTLY, UNSURE]]], [[[HARDLY, UNSURE]]]], np.float32)
    assert np.asarray(dice(truth, logits, **BATCH)) == pytest.approx([1 / 21, 1 / 3], abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(0, -30, 0, id="empty truth, empty prediction"),
        pytest.param(1, 30, 0, id="full truth, full prediction"),
        pytest.param(0, 30, 4 / 5, id="empty truth: 1 - 1 / (4 + 1)"),
        pytest.param(1, -30, 4 / 5, id="empty prediction: 1 - 1 / (4 + 1)"),
    ],
)
def test_dice_of_empty_masks(truth: float, found: float, expected: float) -> None:
    loss = dice(pixels(*[truth] * 4), pixels(*[found] * 4), **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        pytest.param(0.7, 0.5125 / 2.0125, id="0.7 · 10/16 + 0.3 · 1/4"),
        pytest.param(0.2, 0.3250 / 1.8250, id="0.2 · 10/16 + 0.8 · 1/4"),
    ],
)
def test_tversky_by_hand(beta: float, expected: float) -> None:
    """Found is 3/4 + 1/4 = 1, missed 1/16 + 9/16, wrong (1/2)²; half a pixel above and below."""
    loss = tversky(TRUTH, FOUND, beta=beta, **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(WHOLE, TOP, 1.4 / (2 + 1.4 + 0.5), id="2 found, 2 missed"),
        pytest.param(TOP, WHOLE, 0.6 / (2 + 0.6 + 0.5), id="2 found, 2 wrong"),
        pytest.param(NONE, NONE, 0, id="both empty"),
        pytest.param(NONE, CORNER, 0.3 / (0.3 + 0.5), id="1 wrong in an empty mask"),
    ],
)
def test_tversky_of_hard_masks(truth: Any, found: Any, expected: float) -> None:
    loss = tversky(maps(truth), finding(maps(found)), beta=0.7, **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        pytest.param(1.0, 1 / 16, id="1: the Tversky loss"),
        pytest.param(0.75, 1 / 8, id="3/4: (2⁻⁴)^3/4"),
        pytest.param(0.5, 1 / 4, id="1/2: its root"),
        pytest.param(2.0, 1 / 256, id="2: its square"),
    ],
)
def test_focal_tversky_is_a_power(gamma: float, expected: float) -> None:
    """Of two stacks 4 pixels are found and 1 is wrong: 0.3 / (4 + 0.3 + 0.5) = 1/16."""
    truth = np.concatenate([maps(WHOLE), maps(NONE)])
    found = finding(np.concatenate([maps(WHOLE), maps(CORNER)]))
    loss = focal_tversky(truth, found, beta=0.7, gamma=gamma, **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-5)


# Generalised Dice: a region of 4 pixels, half of which are found (2 wrong, 2 + 4 either), and one
# of 1 pixel, which is found with another one (1 wrong, 2 + 1 either)

SIZES = maps(WHOLE, CORNER), finding(maps(TOP, TOO_MUCH))
LIKE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param((1, 1), (2 / 16 + 1) / (7 / 16 + 4), id="by volume alone"),
        pytest.param((2, 1), (4 / 16 + 1) / (14 / 16 + 4), id="the large region twice"),
        pytest.param((1, 0), 2 / 7, id="the large region alone: its Dice loss"),
        pytest.param((0, 1), 1 / 4, id="the small region alone: its Dice loss"),
    ],
)
def test_generalised_dice_weighs_by_volume(weights: Any, expected: float) -> None:
    loss = generalised_dice(*SIZES, weights=np.array(weights, np.float32), **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("small_truth", "small_found", "expected"),
    [
        pytest.param(NONE, NONE, 2 / (7 + 1), id="absent and not found"),
        pytest.param(NONE, CORNER, 3 / (7 + 2), id="absent, 1 pixel found by mistake"),
        pytest.param([[0.5, 0], [0, 0]], [[0.5, 0], [0, 0]], 2 / (7 + 1.5), id="half a pixel"),
    ],
)
def test_an_absent_region_is_weighed_as_the_smallest_that_is_there(
    small_truth: Any, small_found: Any, expected: float
) -> None:
    truth, found = maps(WHOLE, small_truth), finding(maps(TOP, small_found))
    loss = generalised_dice(truth, found, weights=LIKE, **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param((NONE, NONE), 0, id="nothing found"),
        pytest.param((CORNER, NONE), 1 / (2 + 1), id="1 pixel found: 1 / (1 + 1 + 1)"),
    ],
)
def test_generalised_dice_of_empty_truth(found: Any, expected: float) -> None:
    loss = generalised_dice(maps(NONE, NONE), finding(maps(*found)), weights=LIKE, **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@given(fractions, fractions)
def test_generalised_dice_of_one_region_is_dice(truth: np.ndarray, found: np.ndarray) -> None:
    one = generalised_dice(truth, finding(found), weights=LIKE[:1], **BATCH)
    assert float(one) == pytest.approx(float(dice(truth, finding(found), **BATCH)[0]), rel=1e-5)


def test_volumes_are_taken_over_each_stack_where_the_loss_is() -> None:
    """The first stack as above, the second with all of a found and b absent, so its loss is 0."""
    truth = np.concatenate([SIZES[0], maps(WHOLE, NONE)])
    found = np.concatenate([SIZES[1], finding(maps(WHOLE, NONE))])
    loss = generalised_dice(truth, found, weights=LIKE, smoothing=1.0, over="stack")
    assert float(loss) == pytest.approx(18 / 71 / 2, abs=1e-6)


# Symmetries


@given(fractions, fractions)
def test_dice_does_not_tell_truth_from_prediction(a: np.ndarray, b: np.ndarray) -> None:
    there = float(dice(a, finding(b), **BATCH)[0])
    assert there == pytest.approx(float(dice(b, finding(a), **BATCH)[0]), rel=1e-4, abs=1e-7)


@given(fractions, fractions, st.sampled_from([0.1, 0.5, 0.7]))
def test_truth_in_place_of_prediction_swaps_misses_and_false_finds(
    a: np.ndarray, b: np.ndarray, beta: float
) -> None:
    there = float(tversky(a, finding(b), beta=beta, **BATCH)[0])
    back = float(tversky(b, finding(a), beta=1 - beta, **BATCH)[0])
    assert there == pytest.approx(back, rel=1e-4, abs=1e-7)


@given(fractions, fractions, st.sampled_from(["batch", "stack"]))
def test_tversky_that_weighs_both_alike_is_dice(
    truth: np.ndarray, found: np.ndarray, over: Any
) -> None:
    alike = tversky(truth, finding(found), beta=0.5, smoothing=0.5, over=over)
    plain = dice(truth, finding(found), smoothing=0.5, over=over)
    assert float(alike[0]) == pytest.approx(float(plain[0]), rel=1e-5)


# A perfect prediction, where a power below 1 has no finite slope of its own


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("found", [[[1, 1], [0, 0]], [[0.3, 0.6], [0.9, 0.1]]])
def test_focal_tversky_is_flat_and_finite_at_a_perfect_prediction(found: Any, gamma: float) -> None:
    def loss(truth: Any, logits: Any) -> Any:
        return focal_tversky(truth, logits, beta=0.7, gamma=gamma, **BATCH)[0]

    assert float(loss(maps(found), finding(maps(found)))) == pytest.approx(0, abs=1e-6)
    slopes = gradient(loss, maps(found), finding(maps(found)))
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() < 0.02


# Keras' own as oracles, where truth and prediction are hard and smoothing is next to nothing


@pytest.fixture
def hard() -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction of 0 and 1, (2, 4, 4, 3)."""
    truth, found = np.random.default_rng(0).integers(0, 2, (2, 2, 4, 4, 3)).astype(np.float32)
    return truth, found


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        pytest.param(dice, keras.losses.Dice(axis=(0, 1, 2)), id="dice"),
        pytest.param(
            lambda t, z, **others: tversky(t, z, beta=0.7, **others),
            # Keras takes its truth for the prediction inside: alpha weighs what is missed.
            keras.losses.Tversky(alpha=0.7, beta=0.3, axis=(0, 1, 2)),
            id="tversky",
        ),
    ],
)
def test_hard_masks_cost_what_keras_says(
    hard: tuple[np.ndarray, np.ndarray], loss: Loss, oracle: Loss
) -> None:
    truth, found = hard
    own = loss(truth, finding(found), smoothing=1e-6, over="batch")
    assert np.mean(own) == pytest.approx(float(np.mean(oracle(truth, found))), rel=1e-5)
