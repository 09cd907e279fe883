"""Comparison of score tables, as text and as JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thorax.common.errors import InputError
from thorax.common.tables import aligned, to_json
from thorax.common.text import listed
from thorax.experiments.conclusions import conclusion, metric_label
from thorax.experiments.paired_tests import (
    Comparison,
    TestMethod,
    adjust_p_values,
    compare_values,
    compared_metric,
)
from thorax.experiments.score_tables import ScoreTable, check_metric

_FEW = 10
"""With fewer cases a bootstrap interval is clearly too narrow."""

_TRUTH = "truth_ml"

_TOLERANCE = 1e-4
"""Relative; tables have six digits."""


@dataclass(frozen=True)
class ComparisonOptions:
    """Options of a comparison.

    Args:
        metric: Column to compare.
        regions: Regions to compare; empty for all regions that two tables share.
        confidence: Confidence of intervals; the level of the tests is 1 - confidence.
        test: See `thorax.experiments.paired_tests.paired_test`.
    """

    metric: str = "dice"
    regions: tuple[str, ...] = ()
    confidence: float = 0.95
    test: TestMethod = "permutation"


@dataclass(frozen=True)
class _NamedValues:
    """Name of a table, and its values of one metric by region and case."""

    name: str
    regions: Mapping[str, Mapping[str, float]]


def compare_tables(
    tables: Sequence[ScoreTable], options: ComparisonOptions
) -> tuple[list[Comparison], list[str]]:
    """Compare all tables with the first, region by region.

    Returns:
        The comparisons with adjusted p values, and notes for the user.

    Raises:
        InputError: The metric or a region is missing, or the tables share no defined case.
    """
    check_metric(options.metric, tables)
    first, *others = tables
    before = _NamedValues(first.name, first.values(options.metric))
    comparisons: list[Comparison] = []
    notes: list[str] = []
    for other in others:
        after = _NamedValues(other.name, other.values(options.metric))
        comparisons += _compare(before, after, options)
        notes += [*_missing(before, after, options), *_different_truth(first, other)]
    defined = [comparison for comparison in comparisons if comparison.cases]
    if not defined:
        raise InputError(
            f"a case must have a {options.metric} in both tables, but it is undefined or infinite "
            "in one of them for every case; choose another metric"
        )
    return adjust_p_values(defined), [*notes, *_warnings(comparisons)]


def comparison_table(comparisons: Sequence[Comparison], options: ComparisonOptions) -> str:
    """Write a table, a sentence for each comparison, and the methods."""
    rows = [_row(comparison) for comparison in comparisons]
    title = f"{metric_label(comparisons[0].metric)} against {comparisons[0].baseline}"
    sentences = [conclusion(comparison, options.confidence) for comparison in comparisons]
    parts = (aligned(rows, rows[0]), "\n".join(sentences), _methods(comparisons, options))
    return f"{title}\n" + "\n\n".join(parts)


def comparison_json(comparisons: Sequence[Comparison], options: ComparisonOptions) -> str:
    """Write comparisons as JSON, with the difference of each case."""
    return to_json(
        {
            "metric": options.metric,
            "absolute": comparisons[0].metric.absolute,
            "better": comparisons[0].metric.better,
            "baseline": comparisons[0].baseline,
            "confidence": options.confidence,
            "test": options.test,
            "comparisons": [_json(comparison, options) for comparison in comparisons],
        }
    )


def _json(comparison: Comparison, options: ComparisonOptions) -> dict[str, Any]:
    return {
        **{key.replace(" ", "_"): value for key, value in _row(comparison).items()},
        "interval_method": comparison.interval.method if comparison.interval else None,
        "exact": comparison.test.exact,
        "least_adjusted_p": comparison.least_adjusted_p,
        "differences": dict(comparison.differences),
        "conclusion": conclusion(comparison, options.confidence),
    }


def _compare(
    before: _NamedValues, after: _NamedValues, options: ComparisonOptions
) -> list[Comparison]:
    pairs = {
        region: (before.regions[region], after.regions[region])
        for region in _regions(before, after, options)
    }
    if not any(set(first) & set(second) for first, second in pairs.values()):
        raise InputError(
            f"tables must have a case in common, but {before.name} has {_cases_of(before)} and "
            f"{after.name} has {_cases_of(after)}; give tables of the same dataset"
        )
    return [
        compare_values(
            (before.name, first),
            (after.name, second),
            region=region,
            metric=compared_metric(options.metric),
            confidence=options.confidence,
            test=options.test,
        )
        for region, (first, second) in pairs.items()
    ]


def _regions(before: _NamedValues, after: _NamedValues, options: ComparisonOptions) -> list[str]:
    """Return the requested regions, or all regions of both tables."""
    shared = [region for region in before.regions if region in after.regions]
    for table in (before, after):
        for region in options.regions or ([] if shared else list(before.regions)):
            if region not in table.regions:
                raise InputError(
                    f"a region must be in both tables, but {table.name} has no {region}; it has "
                    f"{', '.join(table.regions)}"
                )
    return list(dict.fromkeys(options.regions)) or shared


def _missing(before: _NamedValues, after: _NamedValues, options: ComparisonOptions) -> list[str]:
    """List regions and cases that only one table has."""
    notes: dict[str, list[str]] = {}
    for table, other in ((before, after), (after, before)):
        for region, cases in table.regions.items():
            if options.regions and region not in options.regions:
                continue
            missing = [case for case in cases if case not in other.regions.get(region, {})]
            names = ", ".join(missing) if region in other.regions else "all cases"
            if missing:
                notes.setdefault(f"not in {other.name}, left out: {names}", []).append(region)
    return [f"{note} ({', '.join(regions)})" for note, regions in notes.items()]


def _different_truth(first: ScoreTable, other: ScoreTable) -> list[str]:
    """Warn if the true volumes differ: the tables were scored against different masks."""
    if _TRUTH not in first.metrics or _TRUTH not in other.metrics:
        return []
    before, after = first.values(_TRUTH), other.values(_TRUTH)
    changed = {
        case: None
        for region in before
        for case, volume in before[region].items()
        if not _equal(volume, after.get(region, {}).get(case, volume))
    }
    if not changed:
        return []
    return [
        f"{first.name} and {other.name} were scored against different masks: {_TRUTH} differs for "
        f"{', '.join(changed)}"
    ]


def _warnings(comparisons: Iterable[Comparison]) -> list[str]:
    """List pairs that are left out, and warn of intervals that are too narrow."""
    notes = [
        f"left out, undefined or infinite: {comparison.left_out} of "
        f"{comparison.left_out + comparison.cases} pairs of {comparison.name} and "
        f"{comparison.baseline} ({comparison.region})"
        for comparison in comparisons
        if comparison.left_out
    ]
    if any(comparison.interval and comparison.cases < _FEW for comparison in comparisons):
        notes.append(f"with fewer than {_FEW} cases a bootstrap interval is too narrow")
    return notes


def _row(comparison: Comparison) -> dict[str, Any]:
    interval = comparison.interval
    return {
        "region": comparison.region,
        "table": comparison.name,
        "cases": comparison.cases,
        "left out": comparison.left_out,
        "baseline": comparison.baseline_mean,
        "mean": comparison.mean,
        "difference": comparison.difference,
        "low": interval.low if interval else math.nan,
        "high": interval.high if interval else math.nan,
        "p": comparison.test.p,
        "adjusted p": comparison.adjusted_p,
        "effect": comparison.effect,
    }


def _methods(comparisons: Sequence[Comparison], options: ComparisonOptions) -> str:
    exact = all(comparison.test.exact for comparison in comparisons)
    signs = "all signs" if exact else "all signs up to 13 cases, else 9999 random ones,"
    of = "ranks of the differences" if options.test == "wilcoxon" else "differences"
    return (
        f"low, high: {100 * options.confidence:g} % BCa bootstrap interval of the mean difference "
        f"over cases\np: two-sided {options.test} test, {signs} of the paired {of}\n"
        f"adjusted p: Holm's correction, number of comparisons: {len(comparisons)}\n"
        "effect: matched-pairs rank-biserial correlation, from -1 to 1\n"
        "The comparison is between two trained models. Another seed may change scores as much; to\n"
        "compare settings, use tables of several seeds (thorax cross-validate --seeds --csv)."
    )


def _equal(first: float, second: float) -> bool:
    return (
        math.isclose(first, second, rel_tol=_TOLERANCE) or math.isnan(first) or math.isnan(second)
    )


def _cases_of(table: _NamedValues) -> str:
    """Name some cases of a table."""
    cases = dict.fromkeys(case for values in table.regions.values() for case in values)
    return listed(cases, at_most=3)
