"""Losses: numbers worked out by hand, the law of their minimum, half precision, and Keras' own."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.special import logit

from thorax.losses import SegmentationLoss, bce, dice, focal
from thorax.params import LossParams

Loss = Callable[[Any, Any], Any]

# Logits whose sigmoid is 3/4, 1/4 and 1/2.
MOSTLY, HARDLY, UNSURE = np.log(3), -np.log(3), 0.0

PARAMS = LossParams(focal_gamma=2.0, focal_alpha=0.5, dice_smoothing=1.0)
LOSSES = [
    pytest.param(bce, id="bce"),
    pytest.param(lambda t, z: dice(t, z, smoothing=1.0), id="dice"),
    pytest.param(lambda t, z: dice(t, z, smoothing=1e-3), id="dice, little smoothing"),
    pytest.param(lambda t, z: focal(t, z, gamma=2.0, alpha=0.5), id="focal"),
    pytest.param(lambda t, z: focal(t, z, gamma=1.0, alpha=0.25), id="focal, weighed"),
    pytest.param(lambda t, z: focal(t, z, gamma=0.5, alpha=0.5), id="focal, gamma below 1"),
    pytest.param(lambda t, z: focal(t, z, gamma=0.0, alpha=0.75), id="focal, gamma 0"),
    pytest.param(SegmentationLoss("focal_dice", PARAMS), id="focal_dice"),
    pytest.param(SegmentationLoss("bce_dice", PARAMS), id="bce_dice"),
]
every_loss = pytest.mark.parametrize("loss", LOSSES)


def pixels(*values: float) -> np.ndarray:
    """Return one row of pixels with one region: shape ``(1, 1, n, 1)``."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


def gradient(loss: Loss, truth: ArrayLike, logits: ArrayLike, dtype: str = "float32") -> np.ndarray:
    seen = tf.Variable(tf.cast(logits, dtype))
    with tf.GradientTape() as tape:
        value = loss(tf.cast(truth, dtype), seen)
    return tape.gradient(value, seen).numpy().astype(np.float64)


# By hand


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(1, UNSURE, 0.693147, id="-log 1/2"),
        pytest.param(1, MOSTLY, 0.287682, id="-log 3/4"),
        pytest.param(0, MOSTLY, 1.386294, id="-log 1/4"),
        pytest.param(0.5, MOSTLY, 0.836988, id="-(log 3/4 + log 1/4) / 2"),
    ],
)
def test_bce_of_a_pixel(truth: float, found: float, expected: float) -> None:
    assert float(bce(pixels(truth), pixels(found))) == pytest.approx(expected, abs=1e-6)


def test_bce_is_the_mean_over_pixels_and_regions() -> None:
    """(0.287682 + 1.386294 + 0.693147 + 0.693147) / 4."""
    truth = np.array([[[[1, 0], [1, 0]]]], np.float32)
    logits = np.array([[[[MOSTLY, MOSTLY], [UNSURE, UNSURE]]]], np.float32)
    assert float(bce(truth, logits)) == pytest.approx(0.765068, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(1, UNSURE, 0.173287, id="(1/2)² · log 2"),
        pytest.param(1, MOSTLY, 0.017980, id="(1/4)² · 0.287682"),
        pytest.param(0, MOSTLY, 0.779790, id="(3/4)² · 1.386294"),
        pytest.param(0.5, MOSTLY, 0.052312, id="(1/4)² · 0.836988"),
    ],
)
def test_focal_of_a_pixel(truth: float, found: float, expected: float) -> None:
    loss = focal(pixels(truth), pixels(found), gamma=2.0, alpha=0.5)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        pytest.param(1, 0.017980 * 1.5, id="region: 2 · 3/4"),
        pytest.param(0, 0.779790 * 0.5, id="background: 2 · 1/4"),
        pytest.param(0.5, 0.052312 * 1.0, id="half of each"),
    ],
)
def test_alpha_weighs_the_region_against_its_background(truth: float, expected: float) -> None:
    loss = focal(pixels(truth), pixels(MOSTLY), gamma=2.0, alpha=0.75)
    assert float(loss) == pytest.approx(expected, abs=2e-6)


def test_dice_by_hand() -> None:
    """1 - (2 · 3/4 + 1) / (9/16 + 1/16 + 1 + 1) = 1 - 2.5 / 2.625 = 1/21."""
    loss = dice(pixels(1, 0), pixels(MOSTLY, HARDLY), smoothing=1.0)
    assert float(loss) == pytest.approx(1 / 21, abs=1e-6)


def test_dice_is_the_mean_over_regions_each_taken_over_the_batch() -> None:
    """The first region as above; the second is not there: 1 - 1 / (1/4 + 1/4 + 1) = 1/3."""
    truth = np.array([[[[1, 0]]], [[[0, 0]]]], np.float32)
    logits = np.array([[[[MOSTLY, UNSURE]]], [[[HARDLY, UNSURE]]]], np.float32)
    loss = dice(truth, logits, smoothing=1.0)
    assert float(loss) == pytest.approx((1 / 21 + 1 / 3) / 2, abs=1e-6)


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
    loss = dice(pixels(*[truth] * 4), pixels(*[found] * 4), smoothing=1.0)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("bce", 0.693147, id="bce: log 2"),
        pytest.param("focal", 0.173287, id="focal: (1/2)² · log 2"),
        pytest.param("dice", 0.111111, id="dice: 1 - (1 + 1) / (1/4 + 1 + 1)"),
        pytest.param("bce_dice", 0.804258, id="bce_dice: 0.693147 + 0.111111"),
        pytest.param("focal_dice", 0.284398, id="focal_dice: 0.173287 + 0.111111"),
    ],
)
def test_a_loss_by_name_is_the_sum_of_its_parts(name: Any, expected: float) -> None:
    loss = SegmentationLoss(name, PARAMS)(pixels(1), pixels(UNSURE))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param(LossParams(1.0, 0.5, 1.0), 0.346574 + 0.111111, id="gamma: 1/2 · log 2"),
        pytest.param(LossParams(2.0, 0.75, 1.0), 0.259930 + 0.111111, id="alpha: 1.5 · 0.173287"),
        pytest.param(LossParams(2.0, 0.5, 0.25), 0.173287 + 1 / 6, id="smoothing: 1 - 1.25 / 1.5"),
    ],
)
def test_each_parameter_reaches_its_part(params: LossParams, expected: float) -> None:
    loss = SegmentationLoss("focal_dice", params)(pixels(1), pixels(UNSURE))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


# Laws


@every_loss
@given(
    st.lists(st.tuples(st.integers(5, 95), st.sampled_from([-0.1, 0.1])), min_size=8, max_size=8)
)
def test_soft_truth_costs_least_where_the_prediction_is_the_truth(
    loss: Loss, drawn: list[tuple[int, float]]
) -> None:
    truth = pixels(*(percent / 100 for percent, _ in drawn))
    away = pixels(*(step for _, step in drawn))
    assert float(loss(truth, logit(truth))) < float(loss(truth, logit(truth) + away))


@every_loss
def test_there_is_no_slope_where_the_prediction_is_the_truth(loss: Loss) -> None:
    truth = pixels(*np.arange(0.05, 1, 0.05))
    assert np.abs(gradient(loss, truth, logit(truth))).max() < 1e-6


def test_the_slope_of_bce_is_the_prediction_less_the_truth() -> None:
    """1/2 - 1, 1/2 - 0, 3/4 - 1 and 1/4 - 1/2, for a mean over four pixels."""
    slopes = gradient(bce, pixels(1, 0, 1, 0.5), pixels(UNSURE, UNSURE, MOSTLY, HARDLY))
    assert slopes.ravel() * 4 == pytest.approx([-0.5, 0.5, -0.25, -0.25])


@every_loss
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_a_prediction_nearer_to_hard_truth_always_costs_less(loss: Loss, truth: float) -> None:
    towards = np.linspace(-8, 8, 17) * (1 if truth else -1)
    costs = [float(loss(pixels(truth), pixels(found))) for found in towards]
    assert all(far > near for far, near in itertools.pairwise(costs))


@given(st.lists(st.integers(0, 100), min_size=6, max_size=6), st.data())
def test_focal_without_gamma_and_alpha_is_bce(percent: list[int], data: st.DataObject) -> None:
    finite = st.floats(-30, 30, width=32)
    truth = pixels(*(number / 100 for number in percent))
    logits = pixels(*data.draw(st.lists(finite, min_size=6, max_size=6)))
    plain = focal(truth, logits, gamma=0.0, alpha=0.5)
    assert float(plain) == pytest.approx(float(bce(truth, logits)), rel=1e-5, abs=1e-7)


# Keras' own as oracles


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Return hard truth and logits of moderate size, where Keras does not clip, (2, 4, 4, 3)."""
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, (2, 4, 4, 3)).astype(np.float32)
    return truth, draw.normal(0, 2, (2, 4, 4, 3)).astype(np.float32)


def test_bce_is_that_of_keras(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    oracle = keras.losses.BinaryCrossentropy(from_logits=True)
    assert float(bce(*drawn)) == pytest.approx(float(oracle(*drawn)), rel=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.0, 0.75), (0.0, 0.5)])
def test_focal_is_twice_that_of_keras_with_balancing(
    drawn: tuple[np.ndarray, np.ndarray], gamma: float, alpha: float
) -> None:
    """Twice, so that an alpha of 1/2 is no weighting."""
    oracle = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, from_logits=True
    )
    loss = focal(*drawn, gamma=gamma, alpha=alpha)
    assert float(loss) == pytest.approx(2 * float(oracle(*drawn)), rel=1e-4)


# Precision


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gradients_of_extreme_logits_are_finite(loss: Loss, dtype: str) -> None:
    truth = pixels(0, 1, 0.3, 0, 1, 0.3, 0, 1, 0.3)
    logits = pixels(*[-1e4] * 3, *[0] * 3, *[1e4] * 3)
    assert np.isfinite(float(loss(tf.cast(truth, dtype), tf.cast(logits, dtype))))
    slopes = gradient(loss, truth, logits, dtype).ravel()
    assert np.isfinite(slopes).all()
    assert slopes[3] > 0 > slopes[4], "an unsure pixel is pushed towards its truth"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["bce", "dice", "focal", "focal_dice", "bce_dice"])
def test_a_loss_is_float32_whatever_the_network_gives(name: Any, dtype: str) -> None:
    truth, logits = tf.cast(pixels(1, 0), dtype), tf.cast(pixels(1, -1), dtype)
    assert SegmentationLoss(name, PARAMS)(truth, logits).dtype == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dice_counts_beyond_what_half_precision_can(dtype: str) -> None:
    """131,072 pixels of truth found with p = 3/4: 1 - (2 · 3/4) / (9/16 + 1) = 0.04."""
    truth = tf.ones((8, 128, 128, 1), dtype)
    loss = dice(truth, tf.cast(tf.fill(truth.shape, MOSTLY), dtype), smoothing=1.0)
    assert float(loss) == pytest.approx(0.04, abs=5e-4)
