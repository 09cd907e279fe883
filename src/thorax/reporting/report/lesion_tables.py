"""Tables of lesions by size, and of false positives on scans without the region."""

import math
from collections.abc import Sequence

from thorax.common.text import percent, shown
from thorax.evaluation.lesion_sizes import SizeClass, size_classes, wilson_interval
from thorax.evaluation.scores import ScoreRow
from thorax.reporting.report.estimates import estimate_rows
from thorax.reporting.report.results import Results
from thorax.reporting.report.sentences import estimate_detail
from thorax.reporting.report.tables import Cell, ReportTable

SIZE_COLUMNS = (
    "Region", "Size (mL)", "Lesions", "Detected", "Sensitivity", "Median overlap",
    "Predicted lesions", "False positives", "Per scan",
)  # fmt: skip

EMPTY_TRUTH_COLUMNS = (
    "Region", "Scans", "With false positives", "False positives per scan",
    "False-positive volume per scan (mL)",
)  # fmt: skip

EMPTY_TRUTH_METRICS = (("lesions_predicted", 1), ("predicted_ml", 2))
"""Metrics of scans without the region, all of whose prediction is false, and their decimals."""


def lesion_regions(results: Results) -> list[str]:
    """Return the regions that were scored lesion by lesion."""
    return [
        region
        for region in results.regions
        if any(not math.isnan(row["lesions"]) for row in results.rows_for(region))
    ]


def size_table(results: Results) -> ReportTable | None:
    """Detection of lesions and false positives by size; None if no lesions were listed."""
    regions = lesion_regions(results)
    if results.lesions is None or not regions:
        return None
    confidence = results.params.evaluate.confidence
    groups = []
    for region in regions:
        sizes = size_classes(row.lesion for row in results.lesions if row.region == region)
        scans = len(results.rows_for(region))
        groups.append(tuple(_size_cells(region, size, scans, confidence) for size in sizes))
    notes = (
        f"Sensitivity is given with its {percent(confidence)} interval (Wilson), which takes "
        "lesions as independent: with several lesions per patient it is too narrow.",
        "Median overlap: share of a lesion that is predicted, the median over all lesions. "
        "False positives: predicted lesions that do not overlap the truth"
        f"{' enough' if results.params.evaluate.lesion_overlap else ''}, by their own size.",
    )
    return ReportTable(
        "Detection by lesion size", SIZE_COLUMNS, tuple(groups), text_columns=2, notes=notes
    )


def _size_cells(region: str, size: SizeClass, scans: int, confidence: float) -> tuple[Cell, ...]:
    interval = wilson_interval(size.detected, size.lesions, confidence=confidence)
    return (
        Cell(region),
        Cell(size.name),
        Cell(f"{size.lesions:,}"),
        Cell(f"{size.detected:,}"),
        Cell(shown(size.sensitivity), " to ".join(map(shown, interval or ()))),
        Cell(shown(size.median_overlap)),
        Cell(f"{size.predicted:,}"),
        Cell(f"{size.false_positives:,}"),
        Cell(shown(size.false_positives / scans, 2)),
    )


def empty_truth_rows(results: Results, region: str) -> list[ScoreRow]:
    """Return the scores of the cases whose truth does not have the region."""
    return [row for row in results.rows_for(region) if row["truth_ml"] == 0]


def empty_truth_table(results: Results) -> ReportTable | None:
    """False positives on scans without a region; None if there is no such scan."""
    by_region = {name: empty_truth_rows(results, name) for name in lesion_regions(results)}
    groups = tuple((_empty_truth_cells(results, *item),) for item in by_region.items() if item[1])
    if not groups:
        return None
    return ReportTable(
        "False positives on scans without the region",
        EMPTY_TRUTH_COLUMNS,
        groups,
        notes=(
            "The truth of these scans does not have the region, so all of its prediction is false.",
        ),
    )


def _empty_truth_cells(results: Results, region: str, rows: Sequence[ScoreRow]) -> tuple[Cell, ...]:
    positive = sum(row["lesions_predicted"] > 0 for row in rows)
    means = []
    for name, digits in EMPTY_TRUTH_METRICS:
        mean = estimate_rows(results, rows, name)
        means.append(Cell(shown(mean.mean, digits), estimate_detail(mean, digits)))
    return Cell(region), Cell(f"{len(rows):,}"), Cell(f"{positive:,}"), *means


def empty_truth_sentences(results: Results) -> tuple[str, ...]:
    """State for each region that all test cases have that its false positives were not measured."""
    return tuple(
        f"No test case is without {region}: false positives on scans without it were not measured."
        for region in lesion_regions(results)
        if not empty_truth_rows(results, region)
    )
