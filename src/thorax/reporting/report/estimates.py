"""Statistics for the tables: means and intervals over cases, and the order of cases."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.scores import ScoreRow
from thorax.evaluation.summary import Intervals, summarise_values
from thorax.reporting.report.results import Results

FEW = 5
"""With fewer cases an interval is not meaningful."""


@dataclass(frozen=True)
class Estimate:
    """Statistics of a metric over cases; NaN where undefined.

    Args:
        mean: Mean of the defined values.
        median: Median of the defined values.
        low: Lower limit of the interval of the mean.
        high: Upper limit of the interval.
        cases: Number of cases with a defined value, infinite values included.
        infinite: Number of infinite values. The convention for empty masks decides if they enter
            the mean.
    """

    mean: float = math.nan
    median: float = math.nan
    low: float = math.nan
    high: float = math.nan
    cases: int = 0
    infinite: int = 0


def estimate(results: Results, region: str, metric: str) -> Estimate:
    """Return the statistics of a region, from `summary.json` if it has them."""
    rows = results.rows_for(region)
    summary = results.summary.get(region, {}).get(metric)
    if not isinstance(summary, Mapping) or summary.get("mean") is None:
        return estimate_rows(results, rows, metric)
    mean, median, low, high = (_number(summary.get(k)) for k in ("mean", "median", "low", "high"))
    return Estimate(mean, median, low, high, *_count(rows, metric))


def estimate_rows(results: Results, rows: Sequence[ScoreRow], metric: str) -> Estimate:
    """Compute mean, median and interval of some rows, by the run's convention for empty masks.

    Intervals resample patients, each with all cases of these rows. Scores do not contain the
    diagonal of the scan: a case whose distance it would replace is left out.
    """
    params = results.params.evaluate
    values = [averaged_value(row, metric, params.convention) for row in rows]
    patients = [results.patients.get(row.case, row.case) for row in rows]
    settings = Intervals(params.interval, params.confidence, params.resamples)
    summary = summarise_values(values, patients, settings)
    interval = summary.interval
    limits = (interval.low, interval.high) if interval else (math.nan, math.nan)
    return Estimate(summary.mean, summary.median, *limits, *_count(rows, metric))


def averaged_value(row: ScoreRow, metric: str, convention: str) -> float:
    """Return the value of a metric that enters means."""
    applied = find_convention(convention).apply(
        {metric: row[metric]},
        truth_empty=row["truth_ml"] == 0,
        predicted_empty=row["predicted_ml"] == 0,
        diagonal_mm=math.nan,
    )
    return applied.averaged[metric]


def worst_first(results: Results) -> list[str]:
    """Sort the cases by their lowest Dice of any region, relative to its ceiling.

    Cases without a defined Dice are last.
    """
    return sorted(results.cases, key=lambda case: (_lowest_dice(results, case), case))


def finite_pairs(
    rows: Iterable[ScoreRow], truth: str, predicted: str
) -> list[tuple[ScoreRow, float, float]]:
    """Return the rows in which two metrics are finite, with both values."""
    pairs = ((row, row[truth], row[predicted]) for row in rows)
    return [(row, a, b) for row, a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def _count(rows: Sequence[ScoreRow], metric: str) -> tuple[int, int]:
    """Number of cases with a defined value, and with an infinite one."""
    return (
        sum(not math.isnan(row[metric]) for row in rows),
        sum(math.isinf(row[metric]) for row in rows),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _lowest_dice(results: Results, case: str) -> float:
    dice = [_relative_dice(row) for row in results.rows if row.case == case]
    return min((value for value in dice if not math.isnan(value)), default=math.inf)


def _relative_dice(row: ScoreRow) -> float:
    ceiling = row["ceiling_dice"]
    return row["dice"] / ceiling if ceiling > 0 else row["dice"]
