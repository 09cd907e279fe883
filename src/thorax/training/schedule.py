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

SCALED_STACKS = 8
"""Stacks per optimizer step for which `train.learning_rate` is not scaled."""

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


def scaled_rate(params: TrainParams, *, batch: int) -> float:
    """Return the maximum of the learning rate for the stacks of an optimizer step.

    Sources: Goyal et al. 2017 (linear, for SGD), Malladi et al. 2022 (square root, for Adam).

    Args:
        params: Learning rate, its scaling, and the batches per optimizer step.
        batch: Stacks per batch.

    Example:
        >>> from thorax.common.params import load_params
        >>> from dataclasses import replace
        >>> train = replace(load_params().train, learning_rate=0.004, accumulate=2)
        >>> rules = "none", "sqrt", "linear"
        >>> [scaled_rate(replace(train, rate_scaling=rule), batch=16) for rule in rules]
        [0.004, 0.008, 0.016]
    """
    exponent = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[params.rate_scaling]
    ratio = batch * params.accumulate / SCALED_STACKS
    return float(params.learning_rate * ratio**exponent)


def plateau_halvings(history: Rows, *, patience: int) -> int:
    """Return the number of times that the rate was halved because Dice did not improve.

    It depends on the history alone, so that a resumed training has the same rate as one that was
    not interrupted.

    Args:
        history: One row per epoch: ``epoch``, and the validation ``dice`` if it was validated.
        patience: Epochs without a better Dice before the rate is halved. The rate is halved after
            the first validation at which as many have passed.

    Example:
        >>> dice = 0.5, 0.6, 0.6, 0.55, 0.7, 0.7
        >>> rows = [{"epoch": epoch, "dice": value} for epoch, value in enumerate(dice, start=1)]
        >>> plateau_halvings(rows, patience=2)
        1
    """
    best, waited, halved, previous = -math.inf, 0.0, 0, 0.0
    for row in validated_epochs(history):
        waited, previous = waited + row["epoch"] - previous, row["epoch"]
        if row["dice"] > best:
            best, waited = row["dice"], 0.0
        elif waited >= patience:
            halved, waited = halved + 1, 0.0
    return halved


def should_stop_early(history: Rows, *, patience: int) -> bool:
    """Return True if ``patience`` epochs did not improve validation Dice; 0: never.

    Only an epoch with validation can be the last.

    Args:
        history: As in `plateau_halvings`.
        patience: Epochs since the first validation with the best Dice.

    Example:
        >>> dice = 0.5, 0.6, 0.6, 0.5
        >>> rows = [{"epoch": epoch, "dice": value} for epoch, value in enumerate(dice, start=1)]
        >>> should_stop_early(rows, patience=2)
        True
    """
    if not patience or not history or "dice" not in history[-1]:
        return False
    rows = validated_epochs(history)
    # Of equals, `max` returns the first.
    best = max(rows, key=_defined_dice, default=history[-1])
    return history[-1]["epoch"] - best["epoch"] >= patience


def validated_epochs(history: Rows) -> list[dict[str, float]]:
    """Return the rows with a validation, without that of the initial weights, epoch 0."""
    return [row for row in history if "dice" in row and row["epoch"] > 0]


def epochs_of(history: Rows) -> int:
    """Return the number of epochs in a history, whose first row may be epoch 0."""
    return int(history[-1]["epoch"]) if history else 0


def is_best(row: dict[str, float], history: Rows) -> bool:
    """Return True if a row has a Dice and no earlier epoch has a better one."""
    return "dice" in row and score(row) >= max(map(score, [row, *validated_epochs(history)]))


def score(row: dict[str, float]) -> float:
    """Return the Dice that ranks an epoch; an undefined one counts as 0."""
    return 0.0 if math.isnan(row["dice"]) else row["dice"]


def _defined_dice(row: dict[str, float]) -> float:
    return -math.inf if math.isnan(row["dice"]) else row["dice"]


def _half_cosine(share: Any) -> Any:
    return 0.5 * (1.0 + ops.cos(math.pi * share))
