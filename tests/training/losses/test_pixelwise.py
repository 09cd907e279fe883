"""Cross-entropy and focal loss: values by hand, and Keras' losses."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thorax.training.losses import bce, focal

from .examples import EVEN, LIKELY, UNLIKELY, gradient, pixels


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        pytest.param(1, EVEN, 0.693147, id="-log 1/2"),
        pytest.param(1, LIKELY, 0.287682, id="-log 3/4"),
        pytest.param(0, LIKELY, 1.386294, id="-log 1/4"),
        pytest.param(0.5, LIKELY, 0.836988, id="-(log 3/4 + log 1/4) / 2"),
    ],
)
def test_bce_of_a_pixel(truth: float, predicted: float, expected: float) -> None:
    assert float(bce(pixels(truth), pixels(predicted))[0]) == pytest.approx(expected, abs=1e-6)


def test_bce_is_the_mean_over_the_pixels_of_each_region() -> None:
    """(0.287682 + 0.693147) / 2 and (1.386294 + 0.693147) / 2."""
    truth = np.array([[[[1, 0], [1, 0]]]], np.float32)
    logits = np.array([[[[LIKELY, LIKELY], [EVEN, EVEN]]]], np.float32)
    assert np.asarray(bce(truth, logits)) == pytest.approx([0.490415, 1.039721], abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        pytest.param(1, EVEN, 0.173287, id="(1/2)² · log 2"),
        pytest.param(1, LIKELY, 0.017980, id="(1/4)² · 0.287682"),
        pytest.param(0, LIKELY, 0.779790, id="(3/4)² · 1.386294"),
        pytest.param(0.5, LIKELY, 0.052312, id="(1/4)² · 0.836988"),
    ],
)
def test_focal_of_a_pixel(truth: float, predicted: float, expected: float) -> None:
    loss = focal(pixels(truth), pixels(predicted), gamma=2.0, alpha=0.5)
    assert float(loss[0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "plain_bce", "plain_focal", "weight"),
    [
        pytest.param(1, 0.287682, 0.017980, 1.5, id="region: 2 · 3/4"),
        pytest.param(0, 1.386294, 0.779790, 0.5, id="background: 2 · 1/4"),
        pytest.param(0.5, 0.836988, 0.052312, 1.0, id="half of each"),
    ],
)
def test_alpha_is_the_weight_of_the_region_against_its_background(
    truth: float, plain_bce: float, plain_focal: float, weight: float
) -> None:
    weighted = bce(pixels(truth), pixels(LIKELY), alpha=0.75)
    assert float(weighted[0]) == pytest.approx(weight * plain_bce, abs=2e-6)
    weighted = focal(pixels(truth), pixels(LIKELY), gamma=2.0, alpha=0.75)
    assert float(weighted[0]) == pytest.approx(weight * plain_focal, abs=2e-6)


def test_the_gradient_of_bce_is_the_prediction_minus_the_truth() -> None:
    """1/2 - 1, 1/2 - 0, 3/4 - 1 and 1/4 - 1/2, for a mean over four pixels."""
    slopes = gradient(bce, pixels(1, 0, 1, 0.5), pixels(EVEN, EVEN, LIKELY, UNLIKELY))
    assert slopes.ravel() * 4 == pytest.approx([-0.5, 0.5, -0.25, -0.25])


@given(st.lists(st.integers(0, 100), min_size=6, max_size=6), st.data())
def test_focal_without_gamma_is_bce(percent: list[int], data: st.DataObject) -> None:
    finite = st.floats(-30, 30, width=32)
    truth = pixels(*(number / 100 for number in percent))
    logits = pixels(*data.draw(st.lists(finite, min_size=6, max_size=6)))
    alpha = data.draw(st.sampled_from([0.1, 0.5, 0.8]))
    plain = float(focal(truth, logits, gamma=0.0, alpha=alpha)[0])
    assert plain == pytest.approx(float(bce(truth, logits, alpha=alpha)[0]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_exchanging_region_and_background_exchanges_the_weights(alpha: float) -> None:
    truth, logits = pixels(1, 0.3, 0, 0.8), pixels(0.7, -2, 1.5, 3)
    exchanged = bce(1 - truth, -logits, alpha=1 - alpha)
    assert float(bce(truth, logits, alpha=alpha)[0]) == pytest.approx(float(exchanged[0]), rel=1e-5)
    exchanged = focal(1 - truth, -logits, gamma=2.0, alpha=1 - alpha)
    original = focal(truth, logits, gamma=2.0, alpha=alpha)
    assert float(original[0]) == pytest.approx(float(exchanged[0]), rel=1e-5)


# Keras' losses


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Return hard truth and logits too small for Keras to clip, (2, 4, 4, 3)."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, (2, 4, 4, 3)).astype(np.float32)
    return truth, generator.normal(0, 2, (2, 4, 4, 3)).astype(np.float32)


def test_bce_is_that_of_keras(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    oracle = keras.losses.BinaryCrossentropy(from_logits=True)
    assert np.mean(bce(*drawn)) == pytest.approx(float(oracle(*drawn)), rel=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.0, 0.75), (0.0, 0.5)])
def test_focal_is_twice_that_of_keras_with_balancing(
    drawn: tuple[np.ndarray, np.ndarray], gamma: float, alpha: float
) -> None:
    """Twice, so that an alpha of 1/2 has no effect."""
    oracle = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, from_logits=True
    )
    loss = focal(*drawn, gamma=gamma, alpha=alpha)
    assert np.mean(loss) == pytest.approx(2 * float(oracle(*drawn)), rel=1e-4)
