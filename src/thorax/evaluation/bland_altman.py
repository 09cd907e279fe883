"""Do two ways of measuring agree: predicted volumes or shares against true ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NORMAL = 1.96
"""Of normal values, 95 % lie within so many SDs of their mean."""


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's figures, in the unit of the values.

    Args:
        mean: Of the differences, predicted - truth: the bias.
        sd: Of the differences, of the sample (n - 1).
        low: Lower limit of agreement, mean - 1.96 SD.
        high: Upper limit of agreement.
        cases: Pairs that count.
    """

    mean: float
    sd: float
    low: float
    high: float
    cases: int


def bland_altman(truth: Sequence[float], predicted: Sequence[float]) -> Agreement | None:
    """Limits within which 95 % of differences lie (Bland and Altman, Lancet 327:307, 1986).

    A correlation would be high for any method that tells large from small; the limits say by how
    much a single case may be off. The limits are themselves uncertain, with a standard error of
    about sqrt(3 / n) SDs: with 10 cases half an SD each.

    Args:
        truth: One a case.
        predicted: The same cases in the same order.

    Returns:
        None below two cases, which have no SD. Pairs in which one is undefined or infinite are left
        out.

    Raises:
        ValueError: The numbers of cases differ.

    Example:
        >>> bland_altman([10, 20], [8, 18])
        Agreement(mean=-2.0, sd=0.0, low=-2.0, high=-2.0, cases=2)
    """
    if len(truth) != len(predicted):
        raise ValueError(
            f"truth and predicted must be of the same cases, got {len(truth)} and {len(predicted)}"
        )
    differences = [
        found - true
        for true, found in zip(truth, predicted, strict=True)
        if math.isfinite(true) and math.isfinite(found)
    ]
    if len(differences) < 2:
        return None
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))
    return Agreement(mean, sd, mean - _NORMAL * sd, mean + _NORMAL * sd, len(differences))
