"""What Dice to expect of a mask whose truth nobody knows, learnt on cases that were held out."""

import math
import statistics
from collections.abc import Iterable

from thorax.common.errors import InputError
from thorax.models.spec import LEAST_CASES, ExpectedDiceModel

CONFIDENCE = 0.9
"""Share of further cases of the same kind that should fall within what is told."""


def fit_expected_dice(cases: Iterable[tuple[float, float]]) -> ExpectedDiceModel | None:
    """Learn what Dice to expect.

    Intervals are Student's for one further observation of a normal sample of n:
    ``t · s · sqrt(1 + 1/n)`` with n - 1 degrees of freedom.

    Args:
        cases: Certainty and Dice of each held-out case; those that lack one are left out.

    Returns:
        None where there are too few cases.

    Raises:
        InputError: A figure is no share.

    Example:
        >>> print(fit_expected_dice([(0.90, 0.96), (0.80, 0.86), (0.85, 0.91)]))
        certainty +0.060 ± 0.000 (3 held-out cases)
    """
    known = [pair for pair in cases if all(map(math.isfinite, pair))]
    for figure in (figure for pair in known for figure in pair):
        if not 0 <= figure <= 1:
            raise InputError(f"certainty and Dice must lie between 0 and 1, got {figure:g}")
    if len(known) < LEAST_CASES:
        return None
    sure = [certainty for certainty, _ in known]
    shifts = [dice - certainty for certainty, dice in known]
    return ExpectedDiceModel(
        cases=len(known),
        bias=round(statistics.mean(shifts), 4),
        half_width=round(_further(shifts), 4),
        least_certainty=round(max(statistics.mean(sure) - _further(sure), min(sure)), 4),
    )


def _further(sample: list[float]) -> float:
    """How far from the mean a further observation falls, either way, in nine of ten."""
    from scipy.stats import t

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1))
    return quantile * statistics.stdev(sample) * math.sqrt(1 + 1 / len(sample))
