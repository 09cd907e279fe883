"""Fit the expected Dice of a mask without a reference, on held-out cases."""

import math
import statistics
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from thorax.common.errors import InputError
from thorax.models.spec import MIN_CASES, ExpectedDiceModel

CONFIDENCE = 0.9
"""Share of further cases of the same kind that are within the interval."""

MANY_CASES = 20
"""Fewest cases for a slope."""

POOR_DIFFERENCE = 0.03
"""A case is poor if its Dice is lower than the median by more than this."""

MIN_POOR_CASES = 5
"""Fewest poor cases to derive the certainty from below which a mask should be reviewed."""

FLAGGED_SHARE = 0.9
"""Share of the poor cases that should be reviewed."""

Pair = tuple[float, float]
"""Certainty and Dice of a region of one case."""


def fit_expected_dice(cases: Iterable[Pair]) -> ExpectedDiceModel | None:
    """Fit the expected Dice of a region.

    With few cases, Dice is certainty plus a constant, and a certainty is too low if one of twenty
    new cases falls below it; at least the lowest of the held-out cases. With `MANY_CASES`, Dice is
    a line (Theil 1950, Sen 1968: the median of the slopes between pairs of cases, which poor cases
    do not tilt), and a certainty is too low if nine of ten poor cases are below it.

    Intervals are Student's prediction intervals for one further observation of a normal sample of
    n: ``t · s · sqrt(1 + 1/n)`` with n - 1 degrees of freedom.

    Args:
        cases: Certainty and Dice of each held-out case; cases with NaN are ignored.

    Returns:
        None if there are fewer than three cases.

    Raises:
        InputError: A value is not between 0 and 1.

    Example:
        >>> print(fit_expected_dice([(0.90, 0.96), (0.80, 0.86), (0.85, 0.91)]))
        certainty +0.060 ± 0.000 (3 held-out cases)
    """
    pairs = [pair for pair in cases if all(map(math.isfinite, pair))]
    for value in (value for pair in pairs for value in pair):
        if not 0 <= value <= 1:
            raise InputError(f"certainty and Dice must be between 0 and 1, got {value:g}")
    if len(pairs) < MIN_CASES:
        return None
    certainties = [certainty for certainty, _ in pairs]
    slope = _slope(pairs)
    rests = [dice - slope * certainty for certainty, dice in pairs]
    lowest = statistics.mean(certainties) - _half_width(certainties)
    return ExpectedDiceModel(
        cases=len(pairs),
        bias=round(statistics.mean(rests) if slope == 1.0 else statistics.median(rests), 4),
        half_width=round(_half_width(rests), 4),
        least_certainty=round(_review_limit(pairs) or max(lowest, min(certainties)), 4),
        slope=round(slope, 4),
    )


def _slope(pairs: list[Pair]) -> float:
    """Return the slope of a line through many cases; 1 if they are few or equally certain."""
    from scipy.stats import theilslopes

    certainties, dices = zip(*pairs, strict=True)
    if len(pairs) < MANY_CASES or min(certainties) == max(certainties):
        return 1.0
    return float(theilslopes(dices, certainties).slope)


def _review_limit(pairs: list[Pair]) -> float | None:
    """Return the certainty that nine of ten poor cases are below; None without enough of them."""
    limit = statistics.median(dice for _, dice in pairs) - POOR_DIFFERENCE
    poor = sorted(certainty for certainty, dice in pairs if dice < limit)
    if len(pairs) < MANY_CASES or len(poor) < MIN_POOR_CASES:
        return None
    return poor[math.ceil(FLAGGED_SHARE * len(poor)) - 1]


def fit_regions(
    cases: Mapping[str, Iterable[Pair]], regions: Collection[str], *, source: Path
) -> dict[str, ExpectedDiceModel]:
    """Fit the expected Dice of each region of a model that has enough cases.

    Args:
        cases: Region name → certainty and Dice of each held-out case.
        regions: Regions of the model.
        source: The file with the scores, for the error message.

    Raises:
        InputError: None of the regions has scores, or a value is not between 0 and 1.
    """
    if not set(cases) & set(regions):
        raise InputError(
            f"{source} must have scores of a region of the model, {', '.join(regions)}, but has "
            f"{', '.join(cases) or 'none'}; name another table with --scores"
        )
    models = {name: fit_expected_dice(cases[name]) for name in regions if name in cases}
    return {name: model for name, model in models.items() if model}


def _half_width(sample: list[float]) -> float:
    """Return the distance from the mean that a further observation keeps in nine of ten cases."""
    from scipy.stats import t

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1))
    return quantile * statistics.stdev(sample) * math.sqrt(1 + 1 / len(sample))
