"""Bland-Altman limits of agreement of predicted and true volumes or shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NORMAL = 1.96
"""95 % of normally distributed values are within this many SDs of their mean."""


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Mean difference and its limits, in the unit of the values.

    Args:
        mean: Mean of the differences predicted - truth: the bias.
        sd: Standard deviation of the differences, of the sample (n - 1).
        low: Lower limit of agreement, mean - 1.96 SD.
        high: Upper limit of agreement, mean + 1.96 SD.
        cases: Number of pairs used.
    """

    mean: float
    sd: float
    low: float
    high: float
    cases: int


def bland_altman(truth: Sequence[float], predicted: Sequence[float]) -> LimitsOfAgreement | None:
    """Compute the limits that contain 95 % of differences (Bland and Altman, Lancet 327:307, 1986).

    A correlation is high for any method that separates large values from small ones. The limits
    state how large the error of a single case may be. Their own standard error is about
    sqrt(3 / n) SDs: half an SD with 10 cases.

    Args:
        truth: One value per case.
        predicted: Values of the same cases in the same order.

    Returns:
        None for fewer than two cases, which have no SD. Pairs with an undefined or infinite value
        are left out.

    Raises:
        ValueError: The numbers of cases differ.

    Example:
        >>> bland_altman([10, 20], [8, 18])
        LimitsOfAgreement(mean=-2.0, sd=0.0, low=-2.0, high=-2.0, cases=2)
    """
    if len(truth) != len(predicted):
        raise ValueError(
            f"truth and predicted must be of the same cases, got {len(truth)} and {len(predicted)}"
        )
    differences = [
        after - before
        for before, after in zip(truth, predicted, strict=True)
        if math.isfinite(before) and math.isfinite(after)
    ]
    if len(differences) < 2:
        return None
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    return LimitsOfAgreement(mean, sd, mean - _NORMAL * sd, mean + _NORMAL * sd, len(differences))
