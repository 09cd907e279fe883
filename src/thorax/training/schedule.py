"""How high the learning rate is: by the step, and by what the validation says."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from thorax.common.params import TrainParams

ONE_CYCLE_RISE = 0.3
"""One cycle rises over at least this share of all steps, as in Smith and Topin (2018)."""

POLYNOMIAL_POWER = 0.9
"""As in DeepLab (Chen et al. 2017) and nnU-Net."""

Rows = Sequence[dict[str, float]]


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate that rises to its highest and then falls, step by step.

    Args:
        params: Names the shape and gives the highest rate and the share of steps that it rises.
        steps: Of the whole training.

    Example:
        >>> from thorax.common.params import load_params
        >>> from dataclasses import replace
        >>> train = replace(load_params().train, schedule="polynomial", warm_up=0.1)
        >>> [round(float(LearningRate(train, steps=100)(step)), 6) for step in (0, 9, 55, 100)]
        [0.0001, 0.001, 0.000536, 0.0]
    """

    def __init__(self, params: TrainParams, *, steps: int) -> None:
        super().__init__()
        self._shape, self._highest = params.schedule, params.learning_rate
        share = params.warm_up
        if self._shape == "one_cycle":
            share = max(share, ONE_CYCLE_RISE)
        self._rise = max(1, round(share * steps))
        self._fall = max(1, steps - self._rise)

    def __call__(self, step: Any) -> Any:
        """Rate of a step, counted from 0, as float32."""
        step = ops.cast(step, "float32")
        risen = ops.minimum((step + 1.0) / self._rise, 1.0)
        gone = ops.clip((step - self._rise) / self._fall, 0.0, 1.0)
        if self._shape == "one_cycle":
            risen = _half_cosine(1.0 - risen)
        return self._highest * risen * self._left(gone)

    def _left(self, gone: Any) -> Any:
        """What is left of the rate when a share of the fall is gone."""
        if self._shape in ("cosine", "one_cycle"):
            return _half_cosine(gone)
        if self._shape == "polynomial":
            return ops.power(1.0 - gone, POLYNOMIAL_POWER)
        return ops.ones_like(gone)


def plateau_halvings(history: Rows, *, patience: int) -> int:
    """How often the rate has been halved because the validation Dice did not get better.

    Worked out from the history alone, so that a training which was stopped goes on with the rate
    that it would have had.

    Args:
        history: One row an epoch, with ``dice``.
        patience: Epochs without a better Dice until the rate is halved and the count starts anew.

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
    """Whether the last ``patience`` epochs brought no better validation Dice; 0: never.

    Example:
        >>> should_stop_early([{"dice": 0.5}, {"dice": 0.6}, {"dice": 0.6}, {"dice": 0.5}], patience=2)
        True
    """
    if not patience or len(history) <= patience:
        return False
    dice = [-math.inf if math.isnan(row["dice"]) else row["dice"] for row in history]
    return max(dice[-patience:]) <= max(dice[:-patience])


def _half_cosine(gone: Any) -> Any:
    return 0.5 * (1.0 + ops.cos(math.pi * gone))
