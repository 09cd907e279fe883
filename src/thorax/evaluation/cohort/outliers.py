"""Outliers of a cohort by median and median absolute deviation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.evaluation.cohort.scans import (
    DENSITY,
    MEASURES,
    SHARE,
    SIDES,
    VOLUME,
    WHOLE,
    Cohort,
    Measure,
)

ROBUST_SDS = 3.0
"""Distance from the median, in robust standard deviations, beyond which a value is an outlier:
the most conservative threshold of Leys et al., J Exp Soc Psychol 2013;49:764-766."""

NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation (Rousseeuw and
Croux, J Am Stat Assoc 1993;88:1273-1283)."""

LEAST_SCANS = 8
"""Fewest values for which outliers are defined."""

LEAST_SHARE_OF_VOLUME = 0.02
"""Smallest robust standard deviation of a volume, as a share of the median."""

LEAST_HU = 5.0
"""Smallest robust standard deviation of a density."""

LEAST_FACTOR = 1.3
"""Smallest robust standard deviation of 1 + a percentage, as a factor."""


@dataclass(frozen=True)
class Outlier:
    """A value far from the median of the cohort.

    Args:
        case: Name of the scan.
        region: Name of the region.
        side: ``whole``, ``right`` or ``left``.
        measure: The measure.
        value: The value.
        median: Median of the cohort.
        robust_sds: Signed distance from the median in robust standard deviations; of a percentage
            p on the scale log(1 + p).
    """

    case: str
    region: str
    side: str
    measure: Measure
    value: float
    median: float
    robust_sds: float


def find_outliers(cohort: Cohort) -> list[Outlier]:
    """Find the outliers of each measure, region and side; the farthest from the median first.

    Volumes of regions within the first one are compared as shares only.
    """
    outliers = [
        outlier
        for region in cohort.regions
        for measure in MEASURES
        for side in SIDES
        if measure != VOLUME or not cohort.values(SHARE, region, side)
        for outlier in _outliers(cohort, region, side, measure)
    ]
    return sorted(outliers, key=lambda outlier: (-abs(outlier.robust_sds), outlier.case))


def without_sides(outliers: Iterable[Outlier]) -> list[Outlier]:
    """Leave out sides whose whole region is an outlier of the same scan and measure, too."""
    kept = list(outliers)
    whole = {(item.case, item.region, item.measure) for item in kept if item.side == WHOLE}
    return [
        item
        for item in kept
        if item.side == WHOLE or (item.case, item.region, item.measure) not in whole
    ]


def robust_distances(values: Sequence[float], measure: Measure) -> NDArray[np.float64]:
    """Compute the distances from the median in robust standard deviations.

    The robust standard deviation is 1.4826 times the median absolute deviation. It has a smallest
    value, because small differences are no outliers if most values are equal. Percentages p are
    skewed, and compared as log(1 + p).

    Returns:
        Signed distances; 0 for a volume whose median is 0.

    Example:
        >>> robust_distances([-860, -850, -840, -830, -400], DENSITY).round(1).tolist()
        [-1.3, -0.7, 0.0, 0.7, 29.7]
    """
    numbers = np.asarray(values, dtype=np.float64)
    scaled = np.log1p(numbers) if measure.unit == "%" else numbers
    distances = scaled - np.median(scaled)
    spread = max(NORMAL * float(np.median(np.abs(distances))), _least_sd(numbers, measure))
    return distances / spread if spread else np.zeros_like(distances)


def _least_sd(values: NDArray[np.float64], measure: Measure) -> float:
    if measure == VOLUME:
        return LEAST_SHARE_OF_VOLUME * float(np.median(values))
    return LEAST_HU if measure == DENSITY else float(np.log(LEAST_FACTOR))


def _outliers(cohort: Cohort, region: str, side: str, measure: Measure) -> Iterator[Outlier]:
    values = cohort.values(measure, region, side)
    if len(values) < LEAST_SCANS:
        return
    numbers = list(values.values())
    median = float(np.median(numbers))
    distances = robust_distances(numbers, measure).tolist()
    for (case, value), distance in zip(values.items(), distances, strict=True):
        if abs(distance) > ROBUST_SDS:
            yield Outlier(case, region, side, measure, value, median, distance)
