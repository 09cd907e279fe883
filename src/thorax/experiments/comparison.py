"""Comparisons of score tables, for people and for programs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from thorax.common.errors import InputError
from thorax.common.tables import aligned, to_json
from thorax.experiments.conclusions import conclusion, label
from thorax.experiments.paired_tests import (
    Comparison,
    Test,
    adjust_p_values,
    compare_figures,
    metric,
)
from thorax.experiments.score_tables import ScoreTable, check_metric

_FEW = 10
"""Below so many cases a bootstrap interval is clearly narrower than it says."""

_TRUTH = "truth_ml"

_SAME = 1e-4
"""Relative; tables have six digits."""

Named = tuple[str, dict[str, dict[str, float]]]
"""A table's name, and its figures by region and case."""


@dataclass(frozen=True)
class Question:
    """What is asked of tables.

    Args:
        metric: A column.
        regions: Empty: all that two tables share.
        confidence: Of intervals; what it leaves over is the level of the tests.
        test: See `thorax.experiments.paired_tests.paired_test`.
    """

    metric: str = "dice"
    regions: tuple[str, ...] = ()
    confidence: float = 0.95
    test: Test = "permutation"


def compare_tables(
    tables: Sequence[ScoreTable], question: Question
) -> tuple[list[Comparison], list[str]]:
    """Compare all tables against the first, region by region.

    Returns:
        The comparisons, corrected for their number, and what a person should know besides.

    Raises:
        InputError: The metric, a region or every common case is missing.
    """
    check_metric(question.metric, tables)
    first, *others = tables
    before = (first.name, first.figures(question.metric))
    comparisons: list[Comparison] = []
    notes: list[str] = []
    for other in others:
        after = (other.name, other.figures(question.metric))
        comparisons += _compare(before, after, question)
        notes += [*_missing(before, after, question), *_other_truth(first, other)]
    counted = [one for one in comparisons if one.cases]
    if not counted:
        raise InputError(
            f"a case must have a {question.metric} in both tables, but it is undefined or infinite "
            "in one of them for every case"
        )
    return adjust_p_values(counted), [*notes, *_doubts(comparisons)]


def comparison_table(comparisons: Sequence[Comparison], question: Question) -> str:
    """A table, then a sentence for each comparison, then how the figures were made."""
    rows = [_row(one) for one in comparisons]
    title = f"{label(comparisons[0].metric)} against {comparisons[0].baseline}"
    sentences = [conclusion(one, question.confidence) for one in comparisons]
    parts = (aligned(rows, rows[0]), "\n".join(sentences), _methods(comparisons, question))
    return f"{title}\n" + "\n\n".join(parts)


def comparison_json(comparisons: Sequence[Comparison], question: Question) -> str:
    """Comparisons as JSON, with the difference of each case."""
    return to_json(
        {
            "metric": question.metric,
            "absolute": comparisons[0].metric.absolute,
            "better": comparisons[0].metric.better,
            "baseline": comparisons[0].baseline,
            "confidence": question.confidence,
            "test": question.test,
            "comparisons": [
                {
                    **{key.replace(" ", "_"): value for key, value in _row(one).items()},
                    "interval_method": one.interval.method if one.interval else None,
                    "exact": one.test.exact,
                    "least_adjusted_p": one.least_adjusted_p,
                    "differences": dict(one.differences),
                    "conclusion": conclusion(one, question.confidence),
                }
                for one in comparisons
            ],
        }
    )


def _compare(before: Named, after: Named, question: Question) -> list[Comparison]:
    names, asked = (before[0], after[0]), metric(question.metric)
    pairs = {
        region: (before[1][region], after[1][region])
        for region in _regions(before, after, question)
    }
    if not any(set(one) & set(other) for one, other in pairs.values()):
        raise InputError(
            f"tables must have a case in common, but {names[0]} has {_cases_of(before)} and "
            f"{names[1]} has {_cases_of(after)}"
        )
    return [
        compare_figures(
            (names[0], one),
            (names[1], other),
            region=region,
            metric=asked,
            confidence=question.confidence,
            test=question.test,
        )
        for region, (one, other) in pairs.items()
    ]


def _regions(before: Named, after: Named, question: Question) -> list[str]:
    """The regions to compare; all that both have unless some are asked for."""
    shared = [region for region in before[1] if region in after[1]]
    for name, figures in (before, after):
        for region in question.regions or ([] if shared else list(before[1])):
            if region not in figures:
                raise InputError(
                    f"a region must be in both tables, but {name} has no {region}; it has "
                    f"{', '.join(figures)}"
                )
    return list(dict.fromkeys(question.regions)) or shared


def _missing(before: Named, after: Named, question: Question) -> list[str]:
    """What one table has and the other lacks: whole regions, and cases of those compared."""
    notes: dict[str, list[str]] = {}
    for (_, mine), (name, theirs) in ((before, after), (after, before)):
        for region, cases in mine.items():
            if question.regions and region not in question.regions:
                continue
            lacking = [case for case in cases if case not in theirs.get(region, {})]
            what = ", ".join(lacking) if region in theirs else "every case"
            if lacking:
                notes.setdefault(f"not in {name}, so left out: {what}", []).append(region)
    return [f"{note} ({', '.join(regions)})" for note, regions in notes.items()]


def _other_truth(first: ScoreTable, other: ScoreTable) -> list[str]:
    """A warning where the true volumes differ: the tables were scored against other masks."""
    if _TRUTH not in first.metrics or _TRUTH not in other.metrics:
        return []
    before, after = first.figures(_TRUTH), other.figures(_TRUTH)
    changed = {
        case: None
        for region in before
        for case, volume in before[region].items()
        if not _alike(volume, after.get(region, {}).get(case, volume))
    }
    if not changed:
        return []
    return [
        f"{first.name} and {other.name} were scored against different masks: {_TRUTH} differs for "
        f"{', '.join(changed)}"
    ]


def _doubts(comparisons: Iterable[Comparison]) -> list[str]:
    """What pairs do not count, and where intervals are too narrow."""
    notes = [
        f"left out, undefined or infinite: {one.left_out} of {one.left_out + one.cases} pairs of "
        f"{one.name} and {one.baseline} ({one.region})"
        for one in comparisons
        if one.left_out
    ]
    if any(one.interval and one.cases < _FEW for one in comparisons):
        notes.append(f"below {_FEW} cases a bootstrap interval is narrower than it says")
    return notes


def _row(one: Comparison) -> dict[str, Any]:
    return {
        "region": one.region,
        "table": one.name,
        "cases": one.cases,
        "left out": one.left_out,
        "baseline": one.baseline_mean,
        "mean": one.mean,
        "difference": one.difference,
        "low": one.interval.low if one.interval else math.nan,
        "high": one.interval.high if one.interval else math.nan,
        "p": one.test.p,
        "adjusted p": one.adjusted_p,
        "effect": one.effect,
    }


def _methods(comparisons: Sequence[Comparison], question: Question) -> str:
    exact = all(one.test.exact for one in comparisons)
    signs = "all signs" if exact else "all signs up to 13 cases, else 9999 drawn ones,"
    what = "ranks of the differences" if question.test == "wilcoxon" else "differences"
    return (
        f"low, high: {100 * question.confidence:g} % BCa bootstrap interval of the mean difference "
        f"over cases\np: two-sided {question.test} test, {signs} of the paired {what}\n"
        f"adjusted p: Holm's, number of comparisons: {len(comparisons)}\n"
        "effect: matched-pairs rank-biserial correlation, from -1 to 1\n"
        "what is told apart are models: another seed of one recipe may differ as much, so recipes\n"
        "need tables of several seeds (thorax cross-validate --seeds --csv)"
    )


def _alike(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_SAME) or math.isnan(first) or math.isnan(second)


def _cases_of(table: Named) -> str:
    """Some of the cases of a table, to tell it by."""
    cases = list(dict.fromkeys(case for figures in table[1].values() for case in figures))
    return ", ".join(cases[:3]) + (", …" if len(cases) > 3 else "")
