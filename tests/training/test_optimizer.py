"""Optimizers: single steps, computed by hand."""

from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.training.optimizer import make_optimizer, unwrap_loss_scaling

from ..settings import train_params

PLAIN_DESCENT: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "schedule": "constant",
    "warm_up": 0.0,
    "learning_rate": 0.5,
    "weight_decay": 0.0,
    "ema_momentum": 0.0,
}
"""Gradient descent at a rate of 0.5."""


class Trained:
    """Kernels of an encoder and of a decoder, a bias and a scale; the initial values are 1.

    Args:
        scale_loss: Scale the loss.
        changes: Changes to gradient descent at a rate of 0.5.
    """

    def __init__(self, *, scale_loss: bool = False, **changes: Any) -> None:
        names = ("encoder_0_conv_0/kernel", "decoder_0_conv_0/kernel", "logits/bias", "norm/gamma")
        self.variables = []
        for path in names:
            layer, name = path.split("/")
            with keras.name_scope(layer):
                self.variables.append(keras.Variable(np.ones(1, np.float32), name=name))
        self.optimizer = make_optimizer(
            train_params(**PLAIN_DESCENT | changes),
            self.variables,
            steps=100,
            encoder=lambda name: name.startswith("encoder"),
            scale_loss=scale_loss,
        )

    def step(self, *gradients: float) -> list[float]:
        """Take a step with a gradient for each variable, or one for all, and return the values."""
        gradients = gradients * 4 if len(gradients) == 1 else gradients
        scale = float(keras.ops.convert_to_numpy(self.optimizer.scale_loss(1.0)))
        self.optimizer.apply([keras.ops.array([scale * gradient]) for gradient in gradients])
        return self.values()

    def values(self) -> list[float]:
        return [float(keras.ops.convert_to_numpy(variable)[0]) for variable in self.variables]


@pytest.mark.parametrize("scale_loss", [False, True])
def test_plain_descent(scale_loss: bool) -> None:
    assert Trained(scale_loss=scale_loss).step(0.2) == pytest.approx([0.9] * 4)


def test_nesterov_looks_ahead() -> None:
    """First velocity -0.5·0.2; a step of 0.9 times it and of the gradient: 1 - 0.09 - 0.1."""
    assert Trained(momentum=0.9).step(0.2) == pytest.approx([0.81] * 4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_first_step_of_adam_is_as_long_as_the_rate(optimizer: str) -> None:
    assert Trained(optimizer=optimizer).step(0.2) == pytest.approx([0.5] * 4, abs=1e-4)


def test_lion_steps_by_the_sign() -> None:
    trained = Trained(optimizer="lion", learning_rate=0.125)
    assert trained.step(1e-3, 1e3, -1.0, 1.0) == pytest.approx([0.875, 0.875, 1.125, 0.875])


# Weight decay


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lion"])
@pytest.mark.parametrize("scale_loss", [False, True])
def test_kernels_decay_and_biases_and_norms_do_not(optimizer: str, scale_loss: bool) -> None:
    """Rate 0.5, decay 0.1: a kernel without a slope loses a twentieth."""
    trained = Trained(optimizer=optimizer, weight_decay=0.1, scale_loss=scale_loss)
    assert trained.step(0.0) == pytest.approx([0.95, 0.95, 1.0, 1.0])


def test_adam_adds_the_decay_to_the_gradient() -> None:
    """So its first step is as long as any, unlike that of AdamW."""
    assert Trained(optimizer="adam", weight_decay=0.1).step(0.0) == pytest.approx(
        [0.5, 0.5, 1.0, 1.0], abs=1e-4
    )


# A lower rate for the encoder


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 0.95), (1.0, 0.9)])
def test_the_encoder_has_a_share_of_the_rate(share: float, expected: float) -> None:
    assert Trained(encoder_rate=share).step(0.2) == pytest.approx([expected, 0.9, 0.9, 0.9])


def test_a_frozen_encoder_does_not_decay() -> None:
    trained = Trained(encoder_rate=0.0, weight_decay=0.1, optimizer="adamw")
    assert trained.step(0.0) == pytest.approx([1.0, 0.95, 1.0, 1.0])


# Clipping


def test_the_norm_of_the_whole_gradient_is_clipped() -> None:
    """(3, 0, 4, 0) has norm 5; with norm 1 it is (0.6, 0, 0.8, 0)."""
    assert Trained(clip_norm=1.0).step(3.0, 0.0, 4.0, 0.0) == pytest.approx([0.7, 1.0, 0.6, 1.0])


def test_a_short_gradient_is_not_clipped() -> None:
    assert Trained(clip_norm=1.0).step(0.2) == pytest.approx([0.9] * 4)


def test_values_of_the_gradient_are_clipped() -> None:
    trained = Trained(clip_value=0.5)
    assert trained.step(3.0, -3.0, 0.2, 0.0) == pytest.approx([0.75, 1.25, 0.9, 1.0])


def test_both_kinds_of_clipping_at_once_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"`train.clip_norm` or `train.clip_value` must be 0, got 1 and 1"
    ):
        Trained(clip_norm=1.0, clip_value=1.0)


# Accumulation


def test_gradients_of_accumulated_batches_are_averaged_for_one_step() -> None:
    trained = Trained(accumulate=2)
    assert trained.step(0.2) == [1.0] * 4
    assert trained.step(0.6) == pytest.approx([0.8] * 4), "half of their mean 0.4"
    assert trained.step(0.2) == pytest.approx([0.8] * 4)


# The moving average


@pytest.mark.parametrize(
    ("momentum", "expected"),
    [
        pytest.param(0.05, 0.05 * 0.9 + 0.95 * 0.8, id="the set momentum"),
        pytest.param(0.99, 0.1 * 0.9 + 0.9 * 0.8, id="closely at first: 1 / (1 + 9)"),
    ],
)
@pytest.mark.parametrize("scale_loss", [False, True])
def test_the_average_follows_the_weights(
    momentum: float, expected: float, scale_loss: bool
) -> None:
    """Weights 0.9 and 0.8; the average begins at the first."""
    trained = Trained(ema_momentum=momentum, scale_loss=scale_loss)
    trained.step(0.2)
    assert trained.step(0.2) == pytest.approx([0.8] * 4)
    unwrap_loss_scaling(trained.optimizer).average_into(trained.variables)
    assert trained.values() == pytest.approx([expected] * 4)


def test_the_average_reaches_its_momentum() -> None:
    """After 9 steps the limit is 1/2, so a momentum of 0.25 is in effect."""
    trained = Trained(ema_momentum=0.25)
    for _ in range(10):
        trained.step(0.0)
    trained.step(0.2)
    unwrap_loss_scaling(trained.optimizer).average_into(trained.variables)
    assert trained.values() == pytest.approx([0.25 * 1.0 + 0.75 * 0.9] * 4)


def test_the_batches_of_a_step_share_the_average() -> None:
    """Ten steps of two batches, and one of 0.1: the two batches after it move it by 3/4."""
    trained = Trained(ema_momentum=0.25, accumulate=2)
    for _ in range(20):
        trained.step(0.0)
    for _ in range(2):
        trained.step(0.2)
    trained.step(0.0)
    unwrap_loss_scaling(trained.optimizer).average_into(trained.variables)
    assert trained.values() == pytest.approx([0.25 * 1.0 + 0.75 * 0.9] * 4)


def test_without_an_average_the_weights_are_not_changed() -> None:
    trained = Trained()
    trained.step(0.2)
    unwrap_loss_scaling(trained.optimizer).average_into(trained.variables)
    assert trained.values() == pytest.approx([0.9] * 4)


@pytest.mark.parametrize("scale_loss", [False, True])
def test_the_end_of_a_fit_does_not_change_the_weights(scale_loss: bool) -> None:
    """Keras would replace them by their average after each epoch."""
    trained = Trained(ema_momentum=0.75, scale_loss=scale_loss)
    trained.step(0.2)
    trained.step(0.2)
    trained.optimizer.finalize_variable_values(trained.variables)
    assert trained.values() == pytest.approx([0.8] * 4)


# Log and factor


def test_norms_of_gradients_are_summed_before_clipping() -> None:
    trained = Trained(clip_norm=1.0)
    trained.step(3.0, 0.0, 4.0, 0.0)
    trained.step(0.0, 6.0, 8.0, 0.0)
    assert float(
        keras.ops.convert_to_numpy(unwrap_loss_scaling(trained.optimizer).norms)
    ) == pytest.approx(15)


@pytest.mark.parametrize("scale_loss", [False, True])
def test_the_factor_lowers_the_rate(scale_loss: bool) -> None:
    trained = Trained(scale_loss=scale_loss)
    unwrap_loss_scaling(trained.optimizer).factor.assign(0.25)
    assert trained.step(0.2) == pytest.approx([0.975] * 4)


def test_an_overflow_makes_no_step_and_halves_the_scale() -> None:
    trained = Trained(scale_loss=True)
    before = float(keras.ops.convert_to_numpy(trained.optimizer.scale_loss(1.0)))
    assert trained.step(float("inf")) == [1.0] * 4
    assert float(keras.ops.convert_to_numpy(trained.optimizer.scale_loss(1.0))) == before / 2
