"""Learning-rate schedules, and rules that depend on the validation Dice."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from thorax.common.params import TrainParams

ONE_CYCLE_RISE = 0.3
"""Smallest share of steps in which one cycle rises, as in Smith and Topin (2018)."""

POLYNOMIAL_POWER = 0.9
"""Exponent as in DeepLab (Chen et al. 2017) and nnU-Net."""

Rows = Sequence[dict[str, float]]


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Learning rate that rises to its maximum and then falls, step by step.

    Args:
        params: Schedule, maximum and share of the steps in which it rises.
        steps: Steps of the whole training.

    Example:
        >>> from thorax.common.params import load_params
        >>> from dataclasses import replace
        >>> train = load_params().train
        >>> train = replace(train, schedule="polynomial", warm_up=0.1, learning_rate=0.001)
        >>> [round(float(LearningRate(train, steps=100)(step)), 6) for step in (0, 9, 55, 100)]
        [0.0001, 0.001, 0.000536, 0.0]
    """

    def __init__(self, params: TrainParams, *, steps: int) -> None:
        super().__init__()
        self._shape, self._maximum = params.schedule, params.learning_rate
        share = params.warm_up
        if self._shape == "one_cycle":
            share = max(share, ONE_CYCLE_RISE)
        self._rise = max(1, round(share * steps))
        self._fall = max(1, steps - self._rise)

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0, as float32."""
        step = ops.cast(step, "float32")
        rise = ops.minimum((step + 1.0) / self._rise, 1.0)
        fall = ops.clip((step - self._rise) / self._fall, 0.0, 1.0)
        if self._shape == "one_cycle":
            rise = _half_cosine(1.0 - rise)
        return self._maximum * rise * self._decay(fall)

    def _decay(self, fall: Any) -> Any:
        """Return the factor of the rate after a share of the falling steps."""
        if self._shape in ("cosine", "one_cycle"):
            return _half_cosine(fall)
        if self._shape == "polynomial":
            return ops.power(1.0 - fall, POLYNOMIAL_POWER)
        return ops.ones_like(fall)


def plateau_halvings(history: Rows, *, patience: int) -> int:
    """Return the number of times that the rate was halved because Dice did not improve.

    It depends on the history alone, so that a resumed training has the same rate as one that was
    not interrupted.

    Args:
        history: One row per epoch, with the validation ``dice``.
        patience: Epochs without a better Dice before the rate is halved.

    Example:
        >>> rows = [{"dice": dice} for dice in (0.5, 0.6, 0.6, 0.55, 0.7, 0.7)]
        >>> plateau_halvings(rows, patience=2)
        1
    """
    best, waited, halved = -math.inf, 0, 0
    for row in history:
        if row["dice"] > best:
            best, waited = row["dice"], 0
        else:
            waited += 1
        if waited == patience:
            halved, waited = halved + 1, 0
    return halved


def should_stop_early(history: Rows, *, patience: int) -> bool:
    """Return True if the last ``patience`` epochs did not improve validation Dice; 0: never.

    Example:
        >>> rows = [{"dice": dice} for dice in (0.5, 0.6, 0.6, 0.5)]
        >>> should_stop_early(rows, patience=2)
        True
    """
    if not patience or len(history) <= patience:
        return False
    dice = [-math.inf if math.isnan(row["dice"]) else row["dice"] for row in history]
    return max(dice[-patience:]) <= max(dice[:-patience])


def _half_cosine(share: Any) -> Any:
    return 0.5 * (1.0 + ops.cos(math.pi * share))
