"""Properties of all losses: minimum, symmetry of the regions, and half precision."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from .examples import (
    LIKELY,
    Loss,
    by_name,
    every_loss,
    every_name,
    every_smooth_loss,
    gradient,
    pixels,
)

generator = np.random.default_rng(3)
THREE = generator.random((2, 4, 4, 3)).astype(np.float32)
PREDICTED = generator.normal(0, 2, (2, 4, 4, 3)).astype(np.float32)


@every_loss
@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.integers(5, 95), st.sampled_from([-0.1, 0.1])), min_size=8, max_size=8)
)
def test_the_loss_of_soft_truth_is_least_at_the_truth(
    loss: Loss, pairs: list[tuple[int, float]]
) -> None:
    truth = pixels(*(percent / 100 for percent, _ in pairs))
    steps = pixels(*(step for _, step in pairs))
    assert float(loss(truth, logit(truth))) < float(loss(truth, logit(truth) + steps))


@every_smooth_loss
def test_the_gradient_is_0_at_the_truth(loss: Loss) -> None:
    truth = pixels(*np.arange(0.05, 1, 0.05))
    assert np.abs(gradient(loss, truth, logit(truth))).max() < 1e-5


@every_loss
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_the_loss_of_hard_truth_falls_towards_the_truth(loss: Loss, truth: float) -> None:
    towards = np.linspace(-8, 8, 9) * (1 if truth else -1)
    costs = [float(loss(pixels(truth), pixels(logit_))) for logit_ in towards]
    assert all(far > near for far, near in itertools.pairwise(costs))


@every_loss
def test_an_absent_region_that_is_not_predicted_has_nearly_no_loss(loss: Loss) -> None:
    truth, logits = np.zeros((2, 8, 8, 1), np.float32), np.full((2, 8, 8, 1), -12, np.float32)
    assert 0 <= float(loss(truth, logits)) < 1e-3
    assert np.isfinite(gradient(loss, truth, logits)).all()


# Regions


@every_name
@pytest.mark.parametrize("over", ["batch", "stack"])
def test_the_order_of_the_regions_has_no_effect(name: Any, over: Any) -> None:
    weights = {"a": 3.0, "c": 0.5}
    loss = by_name(name, regions=3, dice_over=over, region_weights=weights)
    reordered = by_name(name, regions=3, dice_over=over, region_weights={"b": 3.0, "a": 0.5})
    order = [2, 0, 1]
    assert float(loss(THREE, PREDICTED)) == pytest.approx(
        float(reordered(THREE[..., order], PREDICTED[..., order])), rel=1e-5
    )


@every_name
def test_a_region_of_weight_0_is_ignored(name: Any) -> None:
    loss = by_name(name, regions=3, region_weights={"a": 0.0, "c": 0.0})
    alone = by_name(name)(THREE[..., 1:2], PREDICTED[..., 1:2])
    assert float(loss(THREE, PREDICTED)) == pytest.approx(float(alone), rel=1e-5)
    assert not gradient(loss, THREE, PREDICTED)[..., [0, 2]].any()


@every_name
def test_equal_weights_of_regions_have_no_effect(name: Any) -> None:
    equal = by_name(name, regions=3, region_weights={"a": 7.0, "b": 7.0, "c": 7.0})
    plain = by_name(name, regions=3)
    assert float(equal(THREE, PREDICTED)) == pytest.approx(float(plain(THREE, PREDICTED)), rel=1e-6)


@pytest.mark.parametrize(
    "name", ["bce", "dice", "focal", "bce_dice", "focal_dice", "tversky", "focal_tversky", "lovasz"]
)
def test_a_loss_is_the_weighted_mean_of_those_of_its_regions(name: Any) -> None:
    loss = by_name(name, regions=3, region_weights={"b": 2.0})
    alone = [float(by_name(name)(THREE[..., [i]], PREDICTED[..., [i]])) for i in range(3)]
    expected = (alone[0] + 2 * alone[1] + alone[2]) / 4
    assert float(loss(THREE, PREDICTED)) == pytest.approx(expected, rel=1e-5)


# Precision


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_of_extreme_logits_are_finite(loss: Loss, dtype: str) -> None:
    truth = pixels(0, 1, 0.3, 0, 1, 0.3, 0, 1, 0.3)
    logits = pixels(*[-1e4] * 3, *[0] * 3, *[1e4] * 3)
    assert np.isfinite(float(loss(tf.cast(truth, dtype), tf.cast(logits, dtype))))
    slopes = gradient(loss, truth, logits, dtype).ravel()
    assert np.isfinite(slopes).all()
    assert slopes[3] > 0 > slopes[4], "a pixel with p = 1/2 moves towards its truth"


@every_loss
def test_gradients_of_constant_maps_are_finite(loss: Loss) -> None:
    for truth, logits in itertools.product((0.0, 1.0), (-1e4, -30.0, 30.0, 1e4)):
        slopes = gradient(loss, pixels(*[truth] * 6), pixels(*[logits] * 6))
        assert np.isfinite(slopes).all(), (truth, logits)


@every_name
def test_a_loss_is_a_float32_scalar_for_half_precision(name: Any) -> None:
    for dtype in ("bfloat16", "float16"):
        loss = by_name(name)(tf.cast(pixels(1, 0), dtype), tf.cast(pixels(1, -1), dtype))
        assert loss.dtype == "float32"
        assert loss.shape == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("bce", 0.287682, id="bce: -log 3/4"),
        pytest.param("focal", 0.017980, id="focal: 1/16 of it"),
        pytest.param("dice", 0.04, id="dice: 1 - (2 · 3/4) / (9/16 + 1)"),
        pytest.param("tversky", 0.055118, id="tversky: 0.7/16 of 3/4 + 0.7/16"),
        pytest.param("focal_tversky", 0.113755, id="focal_tversky: 0.055118 ** 0.75"),
        pytest.param("lovasz", 0.25, id="lovasz: all wrong by 1/4"),
        pytest.param("generalised_dice", 0.04, id="generalised_dice: dice"),
    ],
)
def test_sums_exceed_the_range_of_half_precision(name: Any, expected: float) -> None:
    """131,072 pixels of truth with p = 3/4."""
    truth = tf.ones((8, 128, 128, 1), "float16")
    loss = by_name(name)(truth, tf.cast(tf.fill(truth.shape, LIKELY), "float16"))
    assert float(loss) == pytest.approx(expected, rel=0.015)
