"""Paired tests between two models: differences by case, p values, effect size.

Cases are the units and count as independent. Pairs with an undefined or infinite value have no
difference; they are left out and counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from thorax.evaluation.bootstrap import Interval, bootstrap_mean

TestMethod = Literal["permutation", "wilcoxon"]

CaseValues = Mapping[str, float]
"""Case → value of a metric, in one region."""

_RESAMPLES = 9999
"""Sign combinations that are drawn if there are more: 13 cases have fewer, 14 have more."""

_DIGITS = 12
"""Significant digits of a value; further ones are rounding errors."""


@dataclass(frozen=True)
class ComparedMetric:
    """Meaning of a column of a score table.

    Args:
        name: Name of the column.
        better: Direction of better values; None if there is none.
        unit: Unit, for sentences; empty for shares and scores.
        absolute: True to compare absolute values, as for a signed error.
    """

    name: str
    better: Literal["more", "less"] | None = None
    unit: str = ""
    absolute: bool = False


_MORE = (
    "dice", "iou", "sensitivity", "precision", "nsd", "lesions_found", "lesion_sensitivity",
    "lesion_precision", "lesion_f1", "ceiling_dice",
)  # fmt: skip

_METRICS = {
    **{name: ComparedMetric(name, "more") for name in _MORE},
    "brier": ComparedMetric("brier", "less"),
    "hd95_mm": ComparedMetric("hd95_mm", "less", "mm"),
    "mean_distance_mm": ComparedMetric("mean_distance_mm", "less", "mm"),
    "difference_ml": ComparedMetric("difference_ml", "less", "mL", absolute=True),
    "difference_percent": ComparedMetric(
        "difference_percent", "less", "percentage points", absolute=True
    ),
    "truth_ml": ComparedMetric("truth_ml", unit="mL"),
    "predicted_ml": ComparedMetric("predicted_ml", unit="mL"),
}


def compared_metric(name: str) -> ComparedMetric:
    """Return the meaning of a column; an unknown column has no better direction.

    Example:
        >>> compared_metric("hd95_mm")
        ComparedMetric(name='hd95_mm', better='less', unit='mm', absolute=False)
    """
    return _METRICS.get(name, ComparedMetric(name))


@dataclass(frozen=True)
class PairedTest:
    """Result of a test whether paired differences are centred on 0.

    Args:
        p: Two-sided p value.
        smallest_possible_p: Smallest p value that the test can give with this number of pairs.
        exact: True if all sign combinations were used, not a random sample.
    """

    p: float
    smallest_possible_p: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """One table compared with the baseline, in one metric and one region.

    Args:
        baseline: Name of the baseline table.
        name: Name of the other table.
        region: Region of the values.
        metric: Metric of the values.
        differences: Other table - baseline, by case.
        left_out: Common cases with an undefined or infinite value.
        baseline_mean: Mean of the baseline over the compared cases.
        mean: Mean of the other table over the same cases.
        difference: Mean of the differences.
        interval: Bootstrap interval of `difference` over cases; None with too few cases.
        test: Result of the test, with its uncorrected p value.
        effect: See `rank_biserial`.
        adjusted_p: p value after Holm's correction, see `adjust_p_values`.
        least_adjusted_p: Smallest `adjusted_p` that any differences of these cases could give.
    """

    baseline: str
    name: str
    region: str
    metric: ComparedMetric
    differences: Mapping[str, float]
    left_out: int
    baseline_mean: float
    mean: float
    difference: float
    interval: Interval | None
    test: PairedTest
    effect: float
    adjusted_p: float = math.nan
    least_adjusted_p: float = math.nan

    @property
    def cases(self) -> int:
        """Number of compared cases."""
        return len(self.differences)


def compare_values(
    baseline: tuple[str, CaseValues],
    other: tuple[str, CaseValues],
    *,
    region: str,
    metric: ComparedMetric,
    confidence: float = 0.95,
    test: TestMethod = "permutation",
) -> Comparison:
    """Compare the values of two tables over their common cases.

    Args:
        baseline: Name of the baseline table, and its values of the region.
        other: Name and values of the other table.
        region: Region of the values.
        metric: Metric of the values.
        confidence: Confidence of the interval.
        test: See `paired_test`.
    """
    (baseline_name, before), (name, after) = baseline, other
    common = [case for case in before if case in after]
    cases = [case for case in common if math.isfinite(before[case]) and math.isfinite(after[case])]
    first, second = (
        _oriented([values[case] for case in cases], metric) for values in (before, after)
    )
    differences = _rounded(second - first, np.array([*first, *second]))
    return Comparison(
        baseline=baseline_name,
        name=name,
        region=region,
        metric=metric,
        differences=dict(zip(cases, differences.tolist(), strict=True)),
        left_out=len(common) - len(cases),
        baseline_mean=_mean(first),
        mean=_mean(second),
        difference=_mean(differences),
        interval=bootstrap_mean(differences, confidence=confidence),
        test=paired_test(differences, test=test),
        effect=rank_biserial(differences),
    )


def paired_test(
    differences: Sequence[float] | NDArray[np.float64],
    *,
    test: TestMethod = "permutation",
    seed: int = 0,
) -> PairedTest:
    """Test whether paired differences are centred on 0, by changing their signs.

    If two models were equally good, each difference could have the other sign with the same
    probability. ``permutation`` computes the share of sign combinations whose sum is at least as
    far from 0. ``wilcoxon`` does the same with signed ranks (Wilcoxon, Biometrics Bull 1:80, 1945),
    so that an outlier has less weight. Neither assumes a normal distribution. Differences of 0 are
    left out, ties share their ranks, and the test is exact for up to 13 differences.

    Args:
        differences: One finite difference per case.
        test: ``permutation`` or ``wilcoxon``.
        seed: Seed for drawing sign combinations if there are too many.

    Example:
        >>> paired_test([0.1, 0.2, 0.3, 0.4, 0.5])
        PairedTest(p=0.0625, smallest_possible_p=0.0625, exact=True)
    """
    values = np.asarray(differences, np.float64)
    smallest = _smallest_possible_p(values.size)
    values = values[values != 0]
    if values.size < 2:
        return PairedTest(1.0, smallest, exact=True)
    weights = _signed_ranks(values) if test == "wilcoxon" else values
    result = stats.permutation_test(
        (_as_integers(weights),),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return PairedTest(float(result.pvalue), smallest, exact=_is_exact(values.size))


def rank_biserial(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Effect size: the matched-pairs rank-biserial correlation (Kerby, Compr Psychol 3:1, 2014).

    (Rank sum of the positive differences - rank sum of the negative ones) / sum of both: 1 if all
    non-zero differences are positive, -1 if all are negative, 0 if they balance. Unlike a
    difference in units of SD it is bounded and robust to outliers.

    Returns:
        NaN if all differences are 0, or there are none.

    Example:
        >>> rank_biserial([1, 2, -3])
        0.0
    """
    values = np.asarray(differences, np.float64)
    ranks = _signed_ranks(values[values != 0])
    return float(ranks.sum() / np.abs(ranks).sum()) if ranks.size else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple comparisons (Holm, Scand J Stat 6:65, 1979).

    The smallest of m p values is multiplied by m, the next by m - 1, and so on. The results keep
    the order of the p values and do not exceed 1.

    Example:
        >>> holm([0.5, 0.01])
        [0.5, 0.02]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.take(p_values, order) * factors), 1)
    return adjusted.tolist()


def adjust_p_values(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p values of comparisons that are reported together; each needs a case."""
    p_values = [comparison.test.p for comparison in comparisons]
    adjusted = holm(p_values)
    return [
        replace(
            comparison,
            adjusted_p=adjusted[index],
            least_adjusted_p=holm(
                [*p_values[:index], comparison.test.smallest_possible_p, *p_values[index + 1 :]]
            )[index],
        )
        for index, comparison in enumerate(comparisons)
    ]


def _is_exact(count: int) -> bool:
    return 2**count <= _RESAMPLES


def _smallest_possible_p(count: int) -> float:
    return 2 / 2 ** max(count, 1) if _is_exact(count) else 2 / (_RESAMPLES + 1)


def _oriented(values: Sequence[float], metric: ComparedMetric) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    return np.abs(array) if metric.absolute else array


def _rounded(
    differences: NDArray[np.float64], magnitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Remove rounding errors of the subtraction, which would break ties between ranks."""
    return np.round(differences, _decimals(magnitudes))


def _as_integers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale to integers, so that sums that are equal in theory are equal in floating point."""
    return np.rint(values * 10.0 ** _decimals(values))


def _decimals(values: NDArray[np.float64]) -> int:
    largest = float(np.abs(values).max(initial=0))
    return _DIGITS - math.floor(math.log10(largest)) if largest else 0


def _signed_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * stats.rankdata(np.abs(values))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
