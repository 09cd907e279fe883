"""Figures over cases: means with their intervals, and which case to look at first."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from thorax.evaluation.bootstrap import Interval, bootstrap_mean
from thorax.evaluation.empty_masks import find_convention
from thorax.reporting.report.results import Figures, Results, Row, number

FEW = 5
"""Cases from which on an interval says something."""


@dataclass(frozen=True)
class Estimate:
    """A figure over cases; NaN where it is undefined.

    Args:
        mean: Over the cases where it is defined.
        median: The same.
        low: Lower end of the interval of the mean.
        high: Upper end.
        cases: Where it is defined.
        infinite: How many of these are infinite; whether they go into the mean, the convention
            for empty masks says.
    """

    mean: float = math.nan
    median: float = math.nan
    low: float = math.nan
    high: float = math.nan
    cases: int = 0
    infinite: int = 0


def estimate(results: Results, region: str, figure: str) -> Estimate:
    """A figure of a region over all test cases, as `summary.json` gives it, else as `over`."""
    rows = results.rows_for(region)
    known = results.metrics.get(region, {}).get(figure)
    worked_out = over(results, rows, figure)
    if not isinstance(known, Mapping) or known.get("mean") is None:
        return worked_out
    told = {name: number(known.get(name)) for name in ("mean", "median", "low", "high")}
    return replace(worked_out, **told)  # type: ignore[arg-type]


def over(results: Results, rows: Sequence[Row], figure: str) -> Estimate:
    """Mean, median and interval of a figure, as the convention for empty masks counts it.

    The interval is drawn by patient, each with all of the cases that it has here. The scores do not
    tell the diagonal of a scan: where it would stand in for a distance that cannot be had, the case
    is left out.
    """
    convention = results.params.evaluate.convention
    all_cases = [(row.case, counted(row, figure, convention)) for row in rows]
    by_case = [(case, value) for case, value in all_cases if not math.isnan(value)]
    values = [value for _, value in by_case]
    infinite = sum(math.isinf(row[figure]) for row in rows)
    cases = sum(not math.isnan(row[figure]) for row in rows)
    if not values:
        return Estimate(cases=cases, infinite=infinite)
    interval = None if any(map(math.isinf, values)) else _interval(results, by_case)
    return Estimate(
        mean=statistics.fmean(values),
        median=statistics.median(values),
        low=interval.low if interval else math.nan,
        high=interval.high if interval else math.nan,
        cases=cases,
        infinite=infinite,
    )


def counted(row: Row, figure: str, convention: str) -> float:
    """What a figure counts as in means."""
    applied = find_convention(convention).apply(
        {figure: row[figure]},
        truth_empty=row["truth_ml"] == 0,
        predicted_empty=row["predicted_ml"] == 0,
        diagonal_mm=math.nan,
    )
    return applied.counted[figure]


def worst_first(results: Results) -> list[str]:
    """The cases in the order in which to look at them.

    First comes the one with the lowest Dice of any region, each taken relative to its ceiling;
    cases where no Dice is defined come last.
    """
    return sorted(results.cases, key=lambda case: (_relative(results, case), case))


def expected_error(bins: Sequence[Figures]) -> float:
    """Expected calibration error of a reliability curve; NaN where it counts no voxel.

    Example:
        >>> expected_error([{"mean_probability": 0.25, "observed": 0.5, "voxels": 10},
        ...                 {"mean_probability": 0.75, "observed": 0.75, "voxels": 30}])
        0.0625
    """
    filled = [row for row in bins if row.get("voxels", 0) > 0]
    voxels = sum(row["voxels"] for row in filled)
    gaps = (row["voxels"] * abs(row["observed"] - row["mean_probability"]) for row in filled)
    return sum(gaps) / voxels if voxels else math.nan


def pairs(rows: Iterable[Row], truth: str, predicted: str) -> list[tuple[Row, float, float]]:
    """Rows where two figures are finite, with both."""
    both = ((row, row[truth], row[predicted]) for row in rows)
    return [(row, a, b) for row, a, b in both if math.isfinite(a) and math.isfinite(b)]


def _interval(results: Results, by_case: Iterable[tuple[str, float]]) -> Interval | None:
    params = results.params.evaluate
    told = [(value, results.patients.get(case, case)) for case, value in by_case]
    return bootstrap_mean(
        [value for value, _ in told],
        [patient for _, patient in told],
        method=params.interval,
        confidence=params.confidence,
        resamples=params.resamples,
    )


def _relative(results: Results, case: str) -> float:
    shares = [_share(row) for row in results.rows if row.case == case]
    return min((share for share in shares if not math.isnan(share)), default=math.inf)


def _share(row: Row) -> float:
    ceiling = row["ceiling_dice"]
    return row["dice"] / ceiling if ceiling > 0 else row["dice"]
