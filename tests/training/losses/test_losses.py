"""Losses by name: parts, settings, weights, and errors."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from thorax.common.errors import InputError

from .examples import EVEN, NAMES, by_name, every_name, logits_of, maps, pixels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("bce", 0.693147, id="bce: log 2"),
        pytest.param("focal", 0.173287, id="focal: (1/2)² · log 2"),
        pytest.param("dice", 0.111111, id="dice: 1 - (1 + 1) / (1/4 + 1 + 1)"),
        pytest.param("bce_dice", 0.804258, id="bce_dice: 0.693147 + 0.111111"),
        pytest.param("focal_dice", 0.284398, id="focal_dice: 0.173287 + 0.111111"),
        pytest.param("tversky", 0.148936, id="tversky: 0.7/4 of 1/2 + 0.7/4 + 1/2"),
        pytest.param("focal_tversky", 0.239745, id="focal_tversky: 0.148936 ** 0.75"),
        pytest.param("lovasz", 0.25, id="lovasz: 1/2 · (1 - 1/2)"),
        pytest.param("generalised_dice", 0.111111, id="generalised_dice: dice of one region"),
    ],
)
def test_a_loss_by_name_is_the_sum_of_its_parts(name: Any, expected: float) -> None:
    loss = by_name(name)(pixels(1), pixels(EVEN))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        pytest.param("bce", {"bce_alpha": 0.75}, 1.039721, id="bce_alpha: 1.5 · log 2"),
        pytest.param("focal", {"focal_gamma": 1.0}, 0.346574, id="focal_gamma: 1/2 · log 2"),
        pytest.param("focal", {"focal_alpha": 0.75}, 0.259930, id="focal_alpha: 1.5/4 · log 2"),
        pytest.param("dice", {"dice_smoothing": 0.25}, 1 / 6, id="dice_smoothing: 1 - 1.25 / 1.5"),
        pytest.param("tversky", {"tversky_beta": 0.4}, 1 / 11, id="tversky_beta: 0.1 of 1.1"),
        pytest.param(
            "focal_tversky",
            {"tversky_beta": 0.4, "tversky_gamma": 2.0},
            1 / 121,
            id="tversky_gamma: (1/11)²",
        ),
        pytest.param("lovasz", {"dice_smoothing": 0.25}, 0.4, id="1/2 · (1 - 0.25 / 1.25)"),
    ],
)
def test_settings_by_hand(name: Any, change: Any, expected: float) -> None:
    loss = by_name(name, **change)(pixels(1), pixels(EVEN))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


RATIO = {"dice_over", "dice_smoothing"}
USES = {
    "bce": {"bce_alpha"},
    "focal": {"focal_alpha", "focal_gamma"},
    "dice": RATIO,
    "bce_dice": {"bce_alpha", *RATIO},
    "focal_dice": {"focal_alpha", "focal_gamma", *RATIO},
    "tversky": {"tversky_beta", *RATIO},
    "focal_tversky": {"tversky_beta", "tversky_gamma", *RATIO},
    "lovasz": RATIO,
    "generalised_dice": RATIO,
}
CHANGES = {
    "bce_alpha": 0.6,
    "focal_alpha": 0.6,
    "focal_gamma": 1.5,
    "dice_over": "stack",
    "dice_smoothing": 2.0,
    "tversky_beta": 0.6,
    "tversky_gamma": 0.9,
}


@every_name
def test_each_loss_depends_on_its_own_settings_only(name: Any) -> None:
    generator = np.random.default_rng(5)
    truth, logits = generator.random((2, 4, 4, 2)), generator.normal(0, 1, (2, 4, 4, 2))
    truth[0] /= 4
    plain = float(by_name(name, regions=2)(truth, logits))
    effective = {
        setting
        for setting, value in CHANGES.items()
        if float(by_name(name, regions=2, **{setting: value})(truth, logits)) != plain
    }
    assert effective == USES[name]


# Over the batch or each stack: a stack whose 4 pixels are all correct, and an empty one with one
# false positive

TWO = np.concatenate([maps([[1, 1], [1, 1]]), maps([[0, 0], [0, 0]])])
TWO_PREDICTED = logits_of(np.concatenate([maps([[1, 1], [1, 1]]), maps([[1, 0], [0, 0]])]))


@pytest.mark.parametrize(
    ("name", "batch", "stack"),
    [
        pytest.param("dice", 1 / 10, (0 + 1 / 2) / 2, id="dice"),
        pytest.param("tversky", 0.3 / 4.8, (0 + 0.3 / 0.8) / 2, id="tversky"),
        pytest.param("focal_tversky", 1 / 4, (0 + 0.375**0.5) / 2, id="focal_tversky, root"),
        pytest.param("lovasz", 1 - 5 / 6, (0 + 1 / 2) / 2, id="lovasz"),
        pytest.param("generalised_dice", 1 / 10, (0 + 1 / 2) / 2, id="generalised_dice"),
    ],
)
def test_ratios_over_the_batch_or_over_each_stack(name: Any, batch: float, stack: float) -> None:
    for over, expected in (("batch", batch), ("stack", stack)):
        loss = by_name(name, dice_over=over, tversky_gamma=0.5)
        assert float(loss(TWO, TWO_PREDICTED)) == pytest.approx(expected, abs=1e-5)


# Weights


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        pytest.param("bce_dice", [1.0, 1.0], 0.804258, id="1 has no effect"),
        pytest.param("bce_dice", [0.5, 3.0], 0.346574 + 0.333333, id="halved and tripled"),
        pytest.param("bce_dice", [0.0, 1.0], 0.111111, id="the second only"),
        pytest.param("focal_dice", [2.0, 0.0], 0.346574, id="the first only, doubled"),
        pytest.param("lovasz", [3.0], 0.75, id="a loss of one part"),
    ],
)
def test_part_weights_multiply_the_parts(name: Any, weights: list[float], expected: float) -> None:
    loss = by_name(name, part_weights=weights)(pixels(1), pixels(EVEN))
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param({}, 0.693147 / 2, id="equal"),
        pytest.param({"b": 3.0}, 0.693147 * 3 / 4, id="the other has weight 1"),
        pytest.param({"a": 3.0}, 0.693147 / 4, id="weight of the other region"),
        pytest.param({"b": 0.0}, 0, id="ignored"),
    ],
)
def test_region_weights_by_hand(weights: dict[str, float], expected: float) -> None:
    """The first region is predicted, the second one has p = 1/2: log 2."""
    loss = by_name("bce", regions=2, region_weights=weights)
    value = loss(maps([[1]], [[1]]), maps([[30]], [[0]]))
    assert float(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("bce_dice", [1.0, 2.0, 3.0], r"have one weight per part \(bce, dice\), got 3$"),
        ("focal_dice", [1.0], r"have one weight per part \(focal, dice\), got 1$"),
        ("tversky", [1.0, 2.0], r"have one weight per part \(tversky\), got 2$"),
        ("generalised_dice", [0.5, 0.5], r"have one weight per part \(generalised_dice\), got 2$"),
        ("bce_dice", [0.0, 0.0], r"not all be 0, got \[0.0, 0.0\]$"),
    ],
)
def test_part_weights_that_do_not_match_the_parts_are_refused(
    name: Any, weights: list[float], message: str
) -> None:
    with pytest.raises(InputError, match=rf"^`losses.part_weights` must {message}"):
        by_name(name, part_weights=weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"c": 2.0}, r"must only name regions .* \(a, b\), got c$"),
        (
            {"a": 2.0, "A": 1.0, "x": 1.0},
            r"must only name regions .* \(a, b\), got A, x$",
        ),
        ({"a": 0.0, "b": 0.0}, r"must not all be 0, got \{'a': 0.0, 'b': 0.0\}$"),
    ],
)
def test_invalid_region_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=rf"^`losses.region_weights` {message}"):
        by_name("dice", regions=2, region_weights=weights)


# In Keras


def test_two_devices_have_half_of_the_loss_since_keras_sums_their_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loss = by_name("bce")
    single = float(loss(pixels(1), pixels(EVEN)))
    two = type("TwoDevices", (), {"num_replicas_in_sync": 2})
    monkeypatch.setattr(tf.distribute, "get_strategy", two)
    assert float(loss(pixels(1), pixels(EVEN))) == pytest.approx(single / 2)


@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, id="graph"), pytest.param(True, id="compiled by XLA")]
)
def test_compiled_losses_are_equal(jit_compile: bool) -> None:
    """In a graph the batch size is dynamic."""
    generator = np.random.default_rng(7)
    truth = generator.random((3, 4, 4, 2), np.float32)
    logits = generator.normal(0, 2, truth.shape).astype(np.float32)
    losses = [by_name(name, regions=2, dice_over="stack") for name in NAMES]

    def slopes(truth: Any, logits: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = tf.stack([loss(truth, logits) for loss in losses])
        return values, tape.gradient(values, logits)

    shape = (3 if jit_compile else None, 4, 4, 2)
    compiled = tf.function(
        slopes, jit_compile=jit_compile, input_signature=[tf.TensorSpec(shape)] * 2
    )
    actual = compiled(tf.constant(truth), tf.constant(logits))
    expected = slopes(tf.constant(truth), tf.constant(logits))
    for values, expected_values in zip(actual, expected, strict=True):
        np.testing.assert_allclose(values, expected_values, rtol=1e-3, atol=1e-5)
