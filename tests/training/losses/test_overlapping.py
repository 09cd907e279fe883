"""Dice, Tversky and generalised Dice: 2×2 maps by hand, symmetries, and Keras' losses."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.training.losses import dice, focal_tversky, generalised_dice, tversky

from .examples import EVEN, LIKELY, UNLIKELY, Loss, gradient, logits_of, maps, pixels

TRUTH = maps([[1, 1], [0, 0]])
PREDICTED = logits_of(maps([[3 / 4, 1 / 4], [1 / 2, 0]]))
WHOLE, NONE = [[1, 1], [1, 1]], [[0, 0], [0, 0]]
TOP, CORNER, TOO_MUCH = [[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 1]]
BATCH: Any = {"smoothing": 1.0, "over": "batch"}

fractions = arrays(np.float32, (1, 2, 3, 1), elements=st.floats(0.0625, 0.9375, width=32))


def test_dice_by_hand() -> None:
    """1 - (2 · 3/4 + 1) / (9/16 + 1/16 + 1 + 1) = 1 - 2.5 / 2.625 = 1/21."""
    loss = dice(pixels(1, 0), pixels(LIKELY, UNLIKELY), **BATCH)
    assert float(loss[0]) == pytest.approx(1 / 21, abs=1e-6)


def test_dice_is_one_value_per_region_over_the_batch() -> None:
    """The first region as above; the second is absent: 1 - 1 / (1/4 + 1/4 + 1) = 1/3."""
    truth = np.array([[[[1, 0]]], [[[0, 0]]]], np.float32)
    logits = np.array([[[[LIKELY, EVEN]]], [[[UNLIKELY, EVEN]]]], np.float32)
    assert np.asarray(dice(truth, logits, **BATCH)) == pytest.approx([1 / 21, 1 / 3], abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        pytest.param(0, -30, 0, id="empty truth, empty prediction"),
        pytest.param(1, 30, 0, id="full truth, full prediction"),
        pytest.param(0, 30, 4 / 5, id="empty truth: 1 - 1 / (4 + 1)"),
        pytest.param(1, -30, 4 / 5, id="empty prediction: 1 - 1 / (4 + 1)"),
    ],
)
def test_dice_of_empty_masks(truth: float, predicted: float, expected: float) -> None:
    loss = dice(pixels(*[truth] * 4), pixels(*[predicted] * 4), **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        pytest.param(0.7, 0.5125 / 2.0125, id="0.7 · 10/16 + 0.3 · 1/4"),
        pytest.param(0.2, 0.3250 / 1.8250, id="0.2 · 10/16 + 0.8 · 1/4"),
    ],
)
def test_tversky_by_hand(beta: float, expected: float) -> None:
    """TP = 3/4 + 1/4, FN = 1/16 + 9/16, FP = (1/2)², and a smoothing of half a pixel."""
    loss = tversky(TRUTH, PREDICTED, beta=beta, **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        pytest.param(WHOLE, TOP, 1.4 / (2 + 1.4 + 0.5), id="2 predicted, 2 missed"),
        pytest.param(TOP, WHOLE, 0.6 / (2 + 0.6 + 0.5), id="2 predicted, 2 wrong"),
        pytest.param(NONE, NONE, 0, id="both empty"),
        pytest.param(NONE, CORNER, 0.3 / (0.3 + 0.5), id="1 wrong in an empty mask"),
    ],
)
def test_tversky_of_hard_masks(truth: Any, predicted: Any, expected: float) -> None:
    loss = tversky(maps(truth), logits_of(maps(predicted)), beta=0.7, **BATCH)
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
    """Of two stacks 4 pixels are predicted and 1 is wrong: 0.3 / (4 + 0.3 + 0.5) = 1/16."""
    truth = np.concatenate([maps(WHOLE), maps(NONE)])
    predicted = logits_of(np.concatenate([maps(WHOLE), maps(CORNER)]))
    loss = focal_tversky(truth, predicted, beta=0.7, gamma=gamma, **BATCH)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-5)


# Generalised Dice: a region of 4 pixels, half of which are predicted (errors 2, squares 2 + 4), and
# one of 1 pixel, which is predicted with another one (errors 1, squares 2 + 1)

TWO_SIZES = maps(WHOLE, CORNER), logits_of(maps(TOP, TOO_MUCH))
LIKE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param((1, 1), (2 / 16 + 1) / (7 / 16 + 4), id="by volume only"),
        pytest.param((2, 1), (4 / 16 + 1) / (14 / 16 + 4), id="the large region twice"),
        pytest.param((1, 0), 2 / 7, id="the large region only: its Dice loss"),
        pytest.param((0, 1), 1 / 4, id="the small region only: its Dice loss"),
    ],
)
def test_generalised_dice_has_weights_by_volume(weights: Any, expected: float) -> None:
    loss = generalised_dice(*TWO_SIZES, weights=np.array(weights, np.float32), **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("small_truth", "small_predicted", "expected"),
    [
        pytest.param(NONE, NONE, 2 / (7 + 1), id="absent and not predicted"),
        pytest.param(NONE, CORNER, 3 / (7 + 2), id="absent, 1 false positive"),
        pytest.param([[0.5, 0], [0, 0]], [[0.5, 0], [0, 0]], 2 / (7 + 1.5), id="half a pixel"),
    ],
)
def test_an_absent_region_has_the_weight_of_the_smallest_present_one(
    small_truth: Any, small_predicted: Any, expected: float
) -> None:
    truth, predicted = maps(WHOLE, small_truth), logits_of(maps(TOP, small_predicted))
    loss = generalised_dice(truth, predicted, weights=LIKE, **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        pytest.param((NONE, NONE), 0, id="nothing predicted"),
        pytest.param((CORNER, NONE), 1 / (2 + 1), id="1 pixel predicted: 1 / (1 + 1 + 1)"),
    ],
)
def test_generalised_dice_of_empty_truth(predicted: Any, expected: float) -> None:
    loss = generalised_dice(maps(NONE, NONE), logits_of(maps(*predicted)), weights=LIKE, **BATCH)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@given(fractions, fractions)
def test_generalised_dice_of_one_region_is_dice(truth: np.ndarray, predicted: np.ndarray) -> None:
    single = generalised_dice(truth, logits_of(predicted), weights=LIKE[:1], **BATCH)
    assert float(single) == pytest.approx(
        float(dice(truth, logits_of(predicted), **BATCH)[0]), rel=1e-5
    )


def test_volumes_are_those_of_each_stack_with_over_stack() -> None:
    """The first stack as above; in the second a is perfect and b absent, so its loss is 0."""
    truth = np.concatenate([TWO_SIZES[0], maps(WHOLE, NONE)])
    predicted = np.concatenate([TWO_SIZES[1], logits_of(maps(WHOLE, NONE))])
    loss = generalised_dice(truth, predicted, weights=LIKE, smoothing=1.0, over="stack")
    assert float(loss) == pytest.approx(18 / 71 / 2, abs=1e-6)


# Symmetries


@given(fractions, fractions)
def test_dice_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    there = float(dice(a, logits_of(b), **BATCH)[0])
    assert there == pytest.approx(float(dice(b, logits_of(a), **BATCH)[0]), rel=1e-4, abs=1e-7)


@given(fractions, fractions, st.sampled_from([0.1, 0.5, 0.7]))
def test_exchanging_truth_and_prediction_exchanges_the_weights_of_tversky(
    a: np.ndarray, b: np.ndarray, beta: float
) -> None:
    there = float(tversky(a, logits_of(b), beta=beta, **BATCH)[0])
    back = float(tversky(b, logits_of(a), beta=1 - beta, **BATCH)[0])
    assert there == pytest.approx(back, rel=1e-4, abs=1e-7)


@given(fractions, fractions, st.sampled_from(["batch", "stack"]))
def test_tversky_with_equal_weights_is_dice(
    truth: np.ndarray, predicted: np.ndarray, over: Any
) -> None:
    equal = tversky(truth, logits_of(predicted), beta=0.5, smoothing=0.5, over=over)
    plain = dice(truth, logits_of(predicted), smoothing=0.5, over=over)
    assert float(equal[0]) == pytest.approx(float(plain[0]), rel=1e-5)


# A perfect prediction, at which a power below 1 has an infinite slope


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("predicted", [[[1, 1], [0, 0]], [[0.3, 0.6], [0.9, 0.1]]])
def test_focal_tversky_is_flat_and_finite_at_a_perfect_prediction(
    predicted: Any, gamma: float
) -> None:
    def loss(truth: Any, logits: Any) -> Any:
        return focal_tversky(truth, logits, beta=0.7, gamma=gamma, **BATCH)[0]

    assert float(loss(maps(predicted), logits_of(maps(predicted)))) == pytest.approx(0, abs=1e-6)
    slopes = gradient(loss, maps(predicted), logits_of(maps(predicted)))
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() < 0.02


# Keras' losses for hard masks and nearly no smoothing


@pytest.fixture
def hard() -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction of 0 and 1, (2, 4, 4, 3)."""
    truth, predicted = np.random.default_rng(0).integers(0, 2, (2, 2, 4, 4, 3)).astype(np.float32)
    return truth, predicted


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        pytest.param(dice, keras.losses.Dice(axis=(0, 1, 2)), id="dice"),
        pytest.param(
            lambda t, z, **others: tversky(t, z, beta=0.7, **others),
            # Keras exchanges truth and prediction inside: alpha is the weight of false negatives.
            keras.losses.Tversky(alpha=0.7, beta=0.3, axis=(0, 1, 2)),
            id="tversky",
        ),
    ],
)
def test_hard_masks_have_the_loss_of_keras(
    hard: tuple[np.ndarray, np.ndarray], loss: Loss, oracle: Loss
) -> None:
    truth, predicted = hard
    values = loss(truth, logits_of(predicted), smoothing=1e-6, over="batch")
    assert np.mean(values) == pytest.approx(float(np.mean(oracle(truth, predicted))), rel=1e-5)
