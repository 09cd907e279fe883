"""Results of a benchmark as text and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thorax.common.tables import aligned, to_json
from thorax.common.text import percent
from thorax.evaluation.summary import Intervals
from thorax.experiments.benchmark.other_masks import OURS
from thorax.experiments.benchmark.protocols import TOLERANCE_MM, Protocol
from thorax.experiments.benchmark.published import RESULTS, SOURCES, PublishedResult
from thorax.experiments.benchmark.scores import REGIONS, score_table, summarise_regions
from thorax.experiments.comparison import (
    ComparisonOptions,
    compare_tables,
    comparison_json,
    comparison_table,
)
from thorax.experiments.paired_tests import Comparison
from thorax.experiments.summaries import Row, summarise_folds

NOISE = (
    "With an SD of 0.11 to 0.22 over cases, a difference of 0.02 between two means of 20 cases is\n"
    "noise: the standard error of each mean is 0.02 to 0.05. Compare by case, with --masks."
)
"""Caution about differences between means."""

_SUMMARY = (
    "masks", "region", "cases", "dice_mean", "dice_sd", "dice_low", "dice_high", "nsd_mean",
    "nsd_sd", "nsd_low", "nsd_high",
)  # fmt: skip

_PUBLISHED = (
    "source", "method", "cases", *REGIONS, "infection_sd", "infection_nsd",
)  # fmt: skip

_HEADING = "mean Dice; SD and NSD of infection"

_DIGITS = dict.fromkeys(_PUBLISHED, 3)


@dataclass(frozen=True)
class BenchmarkResults:
    """Everything that a benchmark prints.

    Args:
        protocol: The protocol.
        rows: Scores of our models, see `thorax.experiments.benchmark.scores`.
        patients: Patient of each case.
        intervals: Settings of bootstrap intervals.
        others: Name of another tool → scores of its masks.
        notes: Cautions about the folds.
    """

    protocol: Protocol
    rows: Sequence[Row]
    patients: Mapping[str, str]
    intervals: Intervals
    others: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def summaries(self) -> list[Row]:
        """One row per tool and region; ours first."""
        tables = {OURS: self.rows, **self.others}
        return [
            {"masks": name, **summary}
            for name, rows in tables.items()
            for summary in summarise_regions(rows, self.patients, self.intervals)
        ]

    @property
    def comparison_options(self) -> ComparisonOptions:
        """Options of the comparison with other tools."""
        return ComparisonOptions(confidence=self.intervals.confidence)

    def compare(self) -> tuple[list[Comparison], list[str]]:
        """Compare the Dice of other tools with ours, case by case; nothing without other tools."""
        if not self.others:
            return [], []
        tables = [score_table(name, rows) for name, rows in self.others.items()]
        return compare_tables([score_table(OURS, self.rows), *tables], self.comparison_options)


def benchmark_text(results: BenchmarkResults) -> str:
    """Write all tables and what they mean."""
    comparisons, notes = results.compare()
    parts = [
        f"protocol {results.protocol.name}: {results.protocol.summary}",
        *(f"Note: {note}" for note in (*results.notes, *notes)),
        "over all cases\n" + aligned(results.summaries, _SUMMARY) + f"\n\n{_methods(results)}",
        "mean Dice by fold\n" + _fold_table(results.rows),
        published_text(results.protocol),
        NOISE,
    ]
    if comparisons:
        parts.append(comparison_table(comparisons, results.comparison_options))
    return "\n\n".join(parts)


def benchmark_json(results: BenchmarkResults) -> str:
    """Write all tables as JSON."""
    comparisons, notes = results.compare()
    compared = comparison_json(comparisons, results.comparison_options) if comparisons else "null"
    return to_json(
        {
            "protocol": results.protocol.name,
            "split_method": results.protocol.method,
            "notes": [*results.notes, *notes],
            "cases": list(results.rows),
            "masks": {name: list(rows) for name, rows in results.others.items()},
            "folds": summarise_folds(results.rows),
            "regions": results.summaries,
            "published": [result.row() for result in RESULTS],
            "sources": SOURCES,
            "comparison": json.loads(compared),
        }
    )


def published_text(protocol: Protocol) -> str:
    """Write published results: those of the same protocol first, then the others."""
    same = [result for result in RESULTS if result.protocol == protocol.name]
    others = [result for result in RESULTS if result.protocol != protocol.name]
    remarks = [
        f"{result.source}, {result.cases}: {result.note}" for result in RESULTS if result.note
    ]
    parts = [
        f"published, same protocol: {_HEADING}\n{_published_table(same)}"
        if same
        else "no published results with this protocol are known",
        f"published, other protocols, not comparable: {_HEADING}\n{_published_table(others)}",
        "\n".join([*remarks, *(f"{name}: {source}" for name, source in SOURCES.items())]),
    ]
    return "\n\n".join(parts)


def _published_table(results: Sequence[PublishedResult]) -> str:
    rows: list[dict[str, Any]] = [result.row() for result in results]
    return aligned(rows, _PUBLISHED, digits=_DIGITS)


def _fold_table(rows: Sequence[Row]) -> str:
    folds = summarise_folds(rows)
    return aligned(folds, folds[0])


def _methods(results: BenchmarkResults) -> str:
    """Explain the columns of the first table."""
    lung, infection = TOLERANCE_MM["lung"], TOLERANCE_MM["infection"]
    intervals = results.intervals
    method = "BCa bootstrap" if intervals.method == "bca" else "percentile bootstrap"
    return (
        f"NSD: surface Dice at {lung} mm for lungs and {infection} mm for infection\n"
        "SD: over cases; a case that several models tested counts once, with its mean\n"
        f"low, high: {percent(intervals.confidence)} {method} interval of the mean, by patient\n"
        "lung, left lung, right lung: with the infection in them. The left and right lung of the\n"
        "truth are its labels; masks without such labels, as ours, are divided by shape."
    )
