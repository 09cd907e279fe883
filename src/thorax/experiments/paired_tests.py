"""Can the figures of two models be told apart: paired differences by case, and tests of them.

Cases are the units and count as independent. What is undefined or infinite on either side cannot be
subtracted; such pairs are left out and counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from thorax.evaluation.bootstrap import Interval, bootstrap_mean

Test = Literal["permutation", "wilcoxon"]

Figures = Mapping[str, float]
"""Case → figure, of one region."""

_FLIPS = 9999
"""All signs of 13 cases; of more cases, so many are drawn."""

_DIGITS = 12
"""Of a figure, from its first one on; what follows is rounding."""


@dataclass(frozen=True)
class Metric:
    """What a column of a score table means.

    Args:
        name: Of the column.
        better: Which figures are better; None where neither are.
        unit: Follows a figure in a sentence; empty for shares and scores.
        absolute: The figure has a sign, and what counts is its distance from 0.
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
    **{name: Metric(name, "more") for name in _MORE},
    "brier": Metric("brier", "less"),
    "hd95_mm": Metric("hd95_mm", "less", "mm"),
    "mean_distance_mm": Metric("mean_distance_mm", "less", "mm"),
    "difference_ml": Metric("difference_ml", "less", "mL", absolute=True),
    "difference_percent": Metric("difference_percent", "less", "percentage points", absolute=True),
    "truth_ml": Metric("truth_ml", unit="mL"),
    "predicted_ml": Metric("predicted_ml", unit="mL"),
}


def metric(name: str) -> Metric:
    """What is known of a column; an unknown one is neither better high nor low.

    Example:
        >>> metric("hd95_mm")
        Metric(name='hd95_mm', better='less', unit='mm', absolute=False)
    """
    return _METRICS.get(name, Metric(name))


@dataclass(frozen=True)
class PairedTest:
    """Outcome of a test whether differences of pairs lie around 0.

    Args:
        p: Two-sided.
        smallest_possible_p: The smallest that the test can give with so many pairs, whatever they are.
        exact: All signs were gone through; otherwise some were drawn.
    """

    p: float
    smallest_possible_p: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """One table against the baseline, in one metric and one region.

    Args:
        baseline: Name of the table that is compared against.
        name: Of the other.
        region: Where the figures are from.
        metric: What they are.
        differences: The other less the baseline, by case.
        left_out: Cases of both in which one figure is undefined or infinite.
        baseline_mean: Of the cases that count.
        mean: Of the other, of the same cases.
        difference: Mean of the differences.
        interval: Of `difference`, by bootstrap over cases; None where there are too few.
        test: Its p is not corrected.
        effect: See `rank_biserial`.
        adjusted_p: After Holm, over all that was compared; see `adjust_p_values`.
        least_adjusted_p: What that could be at the least, had these differences been any others.
    """

    baseline: str
    name: str
    region: str
    metric: Metric
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
        """Pairs that count."""
        return len(self.differences)


def compare_figures(
    baseline: tuple[str, Figures],
    other: tuple[str, Figures],
    *,
    region: str,
    metric: Metric,
    confidence: float = 0.95,
    test: Test = "permutation",
) -> Comparison:
    """Compare the figures of two tables, in the cases that both have.

    Args:
        baseline: Its name, and its figures of the region.
        other: The same of the other table.
        region: Where the figures are from.
        metric: What they are.
        confidence: Of the interval.
        test: See `paired_test`.
    """
    (baseline_name, before), (name, after) = baseline, other
    common = [case for case in before if case in after]
    whole = [case for case in common if math.isfinite(before[case]) and math.isfinite(after[case])]
    first, second = (_oriented([it[case] for case in whole], metric) for it in (before, after))
    differences = _rounded(second - first, np.array([*first, *second]))
    return Comparison(
        baseline=baseline_name,
        name=name,
        region=region,
        metric=metric,
        differences=dict(zip(whole, differences.tolist(), strict=True)),
        left_out=len(common) - len(whole),
        baseline_mean=_mean(first),
        mean=_mean(second),
        difference=_mean(differences),
        interval=bootstrap_mean(differences, confidence=confidence),
        test=paired_test(differences, test=test),
        effect=rank_biserial(differences),
    )


def paired_test(
    differences: Sequence[float] | NDArray[np.float64], *, test: Test = "permutation", seed: int = 0
) -> PairedTest:
    """Test whether paired differences lie around 0, by turning their signs.

    If it made no difference which of two models a figure comes from, each difference could as well
    have the other sign. ``permutation`` asks how many of all signs give a sum as far from 0;
    ``wilcoxon`` asks the same of ranks (Wilcoxon, Biometrics Bull 1:80, 1945), so that one case
    that is far off weighs less. Neither assumes normal values. Differences of 0 tell nothing and
    are left out, ties share their ranks, and up to 13 differences the test is exact.

    Args:
        differences: One a case, all finite.
        test: Which of the two.
        seed: Of the signs that are drawn where there are too many cases to go through all.

    Example:
        >>> paired_test([0.1, 0.2, 0.3, 0.4, 0.5])
        PairedTest(p=0.0625, smallest_possible_p=0.0625, exact=True)
    """
    values = np.asarray(differences, np.float64)
    least = _smallest_possible_p(values.size)
    values = values[values != 0]
    if values.size < 2:
        return PairedTest(1.0, least, exact=True)
    weights = _signed_ranks(values) if test == "wilcoxon" else values
    turned = stats.permutation_test(
        (_whole(weights),),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        rng=np.random.default_rng(seed),
    )
    return PairedTest(float(turned.pvalue), least, exact=_all_gone_through(values.size))


def rank_biserial(differences: Sequence[float] | NDArray[np.float64]) -> float:
    """Effect size: the matched-pairs rank-biserial correlation (Kerby, Compr Psychol 3:1, 2014).

    Rank sum of the positive differences less that of the negative ones, over both: 1 where all that
    differ are positive, -1 where all are negative, 0 where neither prevails. Unlike a difference in
    SDs it is bounded, and one case that is far off does not carry it.

    Returns:
        NaN where all differences are 0, or there are none.

    Example:
        >>> rank_biserial([1, 2, -3])
        0.0
    """
    values = np.asarray(differences, np.float64)
    ranks = _signed_ranks(values[values != 0])
    return float(ranks.sum() / np.abs(ranks).sum()) if ranks.size else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p for how many there are (Holm, Scand J Stat 6:65, 1979).

    The smallest of m is taken times m, the next times m - 1, and so on; none comes out below one
    that was smaller, nor above 1.

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
    """Correct the p of all comparisons that are told of together, each of one case at least."""
    p_values = [one.test.p for one in comparisons]
    adjusted = holm(p_values)
    return [
        replace(
            one,
            adjusted_p=adjusted[place],
            least_adjusted_p=holm(
                [*p_values[:place], one.test.smallest_possible_p, *p_values[place + 1 :]]
            )[place],
        )
        for place, one in enumerate(comparisons)
    ]


def _all_gone_through(count: int) -> bool:
    return 2**count <= _FLIPS


def _smallest_possible_p(count: int) -> float:
    return 2 / 2 ** max(count, 1) if _all_gone_through(count) else 2 / (_FLIPS + 1)


def _oriented(figures: Sequence[float], metric: Metric) -> NDArray[np.float64]:
    values = np.array(figures, np.float64)
    return np.abs(values) if metric.absolute else values


def _rounded(
    differences: NDArray[np.float64], magnitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Without the rounding errors of the subtraction, which would break ties between ranks."""
    return np.round(differences, _decimals(magnitudes))


def _whole(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In proportion, as whole numbers: sums that are equal on paper are equal then."""
    return np.rint(values * 10.0 ** _decimals(values))


def _decimals(values: NDArray[np.float64]) -> int:
    largest = float(np.abs(values).max(initial=0))
    return _DIGITS - math.floor(math.log10(largest)) if largest else 0


def _signed_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * stats.rankdata(np.abs(values))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
