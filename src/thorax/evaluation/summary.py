"""Summaries of scores over cases: mean, median, SD and confidence interval."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thorax.common.text import rounded
from thorax.evaluation.bootstrap import Interval, Method, bootstrap_mean
from thorax.evaluation.empty_masks import AppliedMetrics, EmptyMaskConvention
from thorax.evaluation.scores import DISTANCES, OVERLAPS, SURFACES, THORAX, Score
from thorax.imaging.overlap import Overlap

POOLED = ("dice", "iou")

SUMMARISED = (
    *OVERLAPS, *SURFACES, "difference_ml", "difference_percent",
    "lesion_sensitivity", "lesion_precision", "lesion_f1", "brier",
)  # fmt: skip

HEADLINE_STATISTICS = ("mean", "median", "sd", "pooled")
"""Statistics of Dice and IoU in `metrics.json`."""

HEADLINE_MEANS = ("nsd", "hd95_mm")
"""Metrics with only their mean in `metrics.json`, to keep DVC's tables readable."""

Summary = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Intervals:
    """Settings of the confidence intervals of means.

    Args:
        method: Method of the bootstrap over patients, each with all cases.
        confidence: Share of intervals that should contain the true mean.
        resamples: Number of bootstrap resamples.
    """

    method: Method = "bca"
    confidence: float = 0.95
    resamples: int = 9999


@dataclass(frozen=True)
class ValueSummary:
    """Statistics of the defined values of a metric; NaN where undefined.

    Args:
        mean: Mean; infinite if a value is.
        median: Median.
        sd: Standard deviation of the sample (n - 1); NaN if a value is infinite.
        cases: Number of defined values.
        interval: Confidence interval of the mean, if requested and defined.
    """

    mean: float = math.nan
    median: float = math.nan
    sd: float = math.nan
    cases: int = 0
    interval: Interval | None = None


def summarise_values(
    values: Iterable[float],
    patients: Sequence[str] | None = None,
    intervals: Intervals | None = None,
) -> ValueSummary:
    """Summarise the defined values of a metric; NaN is left out.

    Args:
        values: One value per case.
        patients: Patient of each case; None if every case is from a different patient.
        intervals: Settings of the confidence interval; None for no interval.

    Example:
        >>> summarise_values([0.25, 0.5, 0.75, math.nan])
        ValueSummary(mean=0.5, median=0.5, sd=0.25, cases=3, interval=None)
    """
    values = list(values)
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return ValueSummary()
    finite = all(map(math.isfinite, defined))
    return ValueSummary(
        mean=statistics.fmean(defined),
        median=statistics.median(defined),
        sd=statistics.stdev(defined) if finite and len(defined) > 1 else math.nan,
        cases=len(defined),
        interval=_interval(values, patients, intervals) if intervals and finite else None,
    )


def _interval(
    values: Sequence[float], patients: Sequence[str] | None, settings: Intervals
) -> Interval | None:
    return bootstrap_mean(
        values,
        patients,
        method=settings.method,
        confidence=settings.confidence,
        resamples=settings.resamples,
    )


def summarise_scores(
    scores: Sequence[Score],
    convention: EmptyMaskConvention = THORAX,
    intervals: Intervals | None = None,
) -> Summary:
    """Summarise the metrics of each region over cases.

    Mean, median and SD (of the sample, n - 1) are over cases. The convention decides what happens
    to cases with empty masks; ours leaves undefined values out, and ``cases`` is the number of
    values used. Pooled metrics add the voxels of all cases first.

    Args:
        scores: Scores of single cases.
        convention: Convention for empty masks.
        intervals: Settings of the interval of each mean; None for no intervals.

    Returns:
        Region → metric → ``mean``, ``median``, ``sd``, ``cases``; with intervals also ``low``,
        ``high`` and ``method``; for Dice and IoU also ``pooled``; for distances also ``infinite``.
        Further the mean ``ceiling_dice``, and ``cases``, the number of cases in the mean Dice.
    """
    by_region: dict[str, list[Score]] = {}
    for score in scores:
        by_region.setdefault(score.region, []).append(score)
    return {
        region: _summarise_region(group, convention, intervals)
        for region, group in by_region.items()
    }


def headline_metrics(summary: Mapping[str, Mapping[str, Any]]) -> Summary:
    """Select the metrics for `metrics.json`: few enough for DVC's tables."""
    return {
        region: {
            **{name: {key: metrics[name][key] for key in HEADLINE_STATISTICS} for name in POOLED},
            **{name: metrics[name]["mean"] for name in HEADLINE_MEANS if name in metrics},
            "ceiling_dice": metrics["ceiling_dice"],
            "cases": metrics["cases"],
        }
        for region, metrics in summary.items()
    }


def _summarise_region(
    group: Sequence[Score], convention: EmptyMaskConvention, intervals: Intervals | None
) -> dict[str, Any]:
    applied = [score.metrics(convention) for score in group]
    patients = [score.patient or score.case for score in group]
    measured = [name for name in SUMMARISED if any(name in case.averaged for case in applied)]
    summary: dict[str, Any] = {
        name: _summarise_metric(applied, patients, name, intervals) for name in measured
    }
    for name in DISTANCES:
        if name in summary:
            summary[name]["infinite"] = sum(name in case.left_out for case in applied)
    pooled = sum((score.overlap for score in group), Overlap())
    for name in POOLED:
        summary[name]["pooled"] = rounded(getattr(pooled, name))
    ceilings = summarise_values(case.averaged["ceiling_dice"] for case in applied)
    return summary | {"ceiling_dice": rounded(ceilings.mean), "cases": summary["dice"]["cases"]}


def _summarise_metric(
    applied: Sequence[AppliedMetrics],
    patients: Sequence[str],
    name: str,
    intervals: Intervals | None,
) -> dict[str, Any]:
    values = [case.averaged.get(name, math.nan) for case in applied]
    summary = summarise_values(values, patients, intervals)
    statistic = {key: rounded(getattr(summary, key)) for key in ("mean", "median", "sd")}
    return statistic | {"cases": summary.cases} | (_limits(summary.interval) if intervals else {})


def _limits(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {"low": None, "high": None, "method": None}
    return {
        "low": rounded(interval.low),
        "high": rounded(interval.high),
        "method": interval.method,
    }
