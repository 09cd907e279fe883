"""Tables of the report, independent of HTML and Markdown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from thorax.common.text import listed, percent, shown
from thorax.evaluation.calibration import expected_calibration_error
from thorax.evaluation.lesions import Lesions
from thorax.evaluation.scores import ScoreRow
from thorax.reporting.report.estimates import Estimate, estimate, estimate_rows, worst_first
from thorax.reporting.report.metrics import METRICS, Metric, tolerance_mm
from thorax.reporting.report.results import Results
from thorax.reporting.report.sentences import estimate_detail

HEADLINE_COLUMNS = ("dice", "nsd", "hd95_mm", "difference_ml")

CASE_METRICS = (
    "dice", "ceiling_dice", "nsd", "hd95_mm", "truth_ml", "predicted_ml", "difference_ml",
    "difference_percent", "lesions", "lesions_found",
)  # fmt: skip

LESION_COLUMNS = (
    "lesions", "lesions_found", "lesion_sensitivity", "lesions_predicted", "lesions_true",
    "lesion_precision", "lesion_f1",
)  # fmt: skip

LESION_COUNTS = ("lesions", "lesions_predicted", "lesions_found", "lesions_true")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: Main text.
        detail: Small print after it, such as an interval.
        href: Target of a link; empty for no link.
    """

    text: str
    detail: str = ""
    href: str = ""


@dataclass(frozen=True)
class ReportTable:
    """A table whose first column names its rows.

    Args:
        caption: Caption.
        columns: Headings.
        groups: Groups of rows, separated by a rule; each row is as long as ``columns``.
        text_columns: Number of first columns that contain text; the others contain numbers.
        notes: Notes below the table.
        folded: True if the table is collapsed at first.
    """

    caption: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[Cell, ...], ...], ...]
    text_columns: int = 1
    notes: tuple[str, ...] = ()
    folded: bool = False


def simple_table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell | str]], **options: object
) -> ReportTable:
    """Build a table in which every row is a separate group."""
    groups = tuple(
        (tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row),) for row in rows
    )
    return ReportTable(caption, tuple(columns), groups, **options)  # type: ignore[arg-type]


def anchors(results: Results) -> dict[str, str]:
    """Return the link name of each case's section; case names may contain anything."""
    return {case: f"case-{number}" for number, case in enumerate(results.cases, start=1)}


def measured_metrics(results: Results, names: Iterable[str]) -> list[Metric]:
    """Return the metrics that are defined for at least one case."""
    return [METRICS[name] for name in names if _is_measured(results, name)]


def missing_note(results: Results, names: Iterable[str]) -> tuple[str, ...]:
    """List the metrics that are defined for no case."""
    titles = [METRICS[name].heading for name in names if not _is_measured(results, name)]
    return (f"Not measured, or undefined in every case: {listed(titles)}.",) if titles else ()


def _is_measured(results: Results, name: str) -> bool:
    return any(not math.isnan(row[name]) for row in results.rows)


def headline_table(results: Results) -> ReportTable:
    """Means of each region over all test cases."""
    metrics = measured_metrics(results, HEADLINE_COLUMNS)
    rows: list[list[Cell | str]] = [
        [
            region,
            str(estimate(results, region, "dice").cases),
            *_with_ceiling(results, region, metrics),
        ]
        for region in results.regions
    ]
    return simple_table(
        "Means over test cases",
        ["Region", "Cases", *_headings(metrics)],
        rows,
        notes=(
            *_nsd_note(results),
            *_interval_note(results, metrics),
            "Cases: number with a defined Dice. Ceiling: the best Dice that the canvas allows.",
            *_infinite_note(results, metrics),
            *missing_note(results, HEADLINE_COLUMNS),
        ),
    )


def _headings(metrics: Iterable[Metric]) -> list[str]:
    headings: list[str] = []
    for metric in metrics:
        headings.append(metric.heading)
        if metric.name == "dice":
            headings.append("Ceiling")
    return headings


def _with_ceiling(results: Results, region: str, metrics: Iterable[Metric]) -> list[Cell]:
    cells: list[Cell] = []
    for metric in metrics:
        cells.append(estimate_cell(estimate(results, region, metric.name), metric))
        if metric.name == "dice":
            cells.append(Cell(shown(_ceiling(results, region))))
    return cells


def _ceiling(results: Results, region: str) -> float:
    ceiling = results.summary.get(region, {}).get("ceiling_dice")
    if isinstance(ceiling, int | float):
        return float(ceiling)
    return estimate_rows(results, results.rows_for(region), "ceiling_dice").mean


def estimate_cell(value: Estimate, metric: Metric) -> Cell:
    """Build the cell of a mean with its interval."""
    return Cell(shown(value.mean, metric.digits), estimate_detail(value, metric.digits))


def _interval_note(results: Results, metrics: Sequence[Metric]) -> tuple[str, ...]:
    share = percent(results.params.evaluate.confidence)
    estimates = (
        estimate(results, region, metric.name) for region in results.regions for metric in metrics
    )
    if not all(math.isnan(value.low) for value in estimates):
        return (f"Each mean is given with its {share} interval.",)
    return (f"No {share} interval is given: it needs more patients, or values that differ.",)


def _nsd_note(results: Results) -> tuple[str, ...]:
    if not _is_measured(results, "nsd"):
        return ()
    parts = (f"{tolerance_mm(results, region):g} mm for {region}" for region in results.regions)
    return (f"Tolerance of the NSD: {', '.join(parts)}.",)


def _infinite_note(results: Results, metrics: Iterable[Metric]) -> tuple[str, ...]:
    titles = [
        metric.title
        for metric in metrics
        if any(math.isinf(row[metric.name]) for row in results.rows)
    ]
    if not titles:
        return ()
    averaged = results.params.evaluate.convention == "surface-distance"
    effect = "makes the mean infinite" if averaged else "is left out of the mean"
    return (
        f"∞: {listed(titles)} is infinite if only one of truth and prediction is empty; such a "
        f"case {effect}.",
    )


def site_table(results: Results) -> ReportTable:
    """Means of each region by site."""
    metrics = measured_metrics(results, HEADLINE_COLUMNS)
    groups = []
    for region in results.regions:
        by_site = [(site, results.rows_for(region, site=site)) for site in results.sites]
        groups.append(
            tuple(
                (Cell(region), Cell(site or "not named"), *_means(results, rows, metrics))
                for site, rows in by_site
            )
        )
    headings = ("Region", "Site", "Cases", *(metric.heading for metric in metrics))
    return ReportTable("Means by site", headings, tuple(groups), text_columns=2)


def side_table(results: Results) -> ReportTable:
    """Means of each region by side of the patient."""
    metrics = [
        METRICS[name]
        for name in HEADLINE_COLUMNS
        if any(name in row.metrics for row in results.sides)
    ]
    groups = []
    for region in results.regions:
        in_region = [row for row in results.sides if row.region == region]
        by_side = [(s, [row for row in in_region if row.side == s]) for s in ("right", "left")]
        groups.append(
            tuple(
                (Cell(region), Cell(side), *_means(results, rows, metrics))
                for side, rows in by_side
                if rows
            )
        )
    headings = ("Region", "Side", "Cases", *(metric.heading for metric in metrics))
    rows_by_region = tuple(filter(None, groups))
    return ReportTable("Means by side of the patient", headings, rows_by_region, text_columns=2)


def _means(results: Results, rows: Sequence[ScoreRow], metrics: Iterable[Metric]) -> list[Cell]:
    cells = [estimate_cell(estimate_rows(results, rows, metric.name), metric) for metric in metrics]
    defined = sum(not math.isnan(row["dice"]) for row in rows)
    return [Cell(str(defined)), *cells]


def case_table(results: Results) -> ReportTable:
    """Metrics of each case, lowest Dice first."""
    metrics = measured_metrics(results, CASE_METRICS)
    keys = anchors(results)
    groups = []
    for case in worst_first(results):
        rows = [row for row in results.rows if row.case == case]
        head = Cell(case, href=f"#{keys[case]}")
        groups.append(tuple(_case_cells(results, row, head, metrics) for row in rows))
    site = ["Site"] if results.sites else []
    return ReportTable(
        "Test cases, lowest Dice first",
        ("Case", *site, "Region", *(metric.heading for metric in metrics)),
        tuple(groups),
        text_columns=2 + len(site),
        notes=(
            "Order: the lowest Dice of any region of the case, relative to its ceiling. "
            "–: undefined.",
            *missing_note(results, CASE_METRICS),
        ),
    )


def _case_cells(
    results: Results, row: ScoreRow, head: Cell, metrics: Iterable[Metric]
) -> tuple[Cell, ...]:
    site = [Cell(row.site)] if results.sites else []
    numbers = (Cell(shown(row[metric.name], metric.digits)) for metric in metrics)
    return head, *site, Cell(row.region), *numbers


def main_metrics_table(results: Results, case: str) -> ReportTable:
    """Main metrics of one case, by region and side."""
    return _of_case(results, case, CASE_METRICS, caption=f"Metrics of {case}")


def more_metrics_table(results: Results, case: str) -> ReportTable:
    """All other metrics of one case."""
    names = [name for name in METRICS if name not in CASE_METRICS]
    table = _of_case(results, case, names, caption=f"More metrics of {case}")
    return replace(table, folded=True)


def _of_case(results: Results, case: str, names: Sequence[str], *, caption: str) -> ReportTable:
    rows = [row for row in (*results.rows, *results.sides) if row.case == case]
    rows.sort(key=lambda row: results.regions.index(row.region))
    metrics = [METRICS[name] for name in names if any(not math.isnan(row[name]) for row in rows)]
    lines = [
        [_region_and_side(row), *(shown(row[metric.name], metric.digits) for metric in metrics)]
        for row in rows
    ]
    lines = lines if metrics else []
    return simple_table(caption, ["Region", *(metric.heading for metric in metrics)], lines)


def _region_and_side(row: ScoreRow) -> str:
    return f"{row.region}, {row.side}" if row.side else row.region


def lesion_table(results: Results) -> ReportTable | None:
    """Lesion counts over all test cases; None if no lesions were counted."""
    rows = []
    for region in results.regions:
        counted = [row for row in results.rows_for(region) if not math.isnan(row["lesions"])]
        if counted:
            totals = (int(np.nansum([row[name] for row in counted])) for name in LESION_COUNTS)
            rows.append([region, str(len(counted)), *_lesion_cells(Lesions(*totals))])
    columns = ["Region", "Cases", *(METRICS[name].title for name in LESION_COLUMNS)]
    note = "Sensitivity, precision and F1 are of the lesions of all cases together."
    return simple_table("Lesion-wise detection", columns, rows, notes=(note,)) if rows else None


def _lesion_cells(lesions: Lesions) -> list[str]:
    return [
        f"{lesions.truth:,}",
        f"{lesions.detected:,}",
        shown(lesions.sensitivity),
        f"{lesions.predicted:,}",
        f"{lesions.true_positives:,}",
        shown(lesions.precision),
        shown(lesions.f1),
    ]


def calibration_table(results: Results) -> ReportTable:
    """Brier score and expected calibration error of each region."""
    rows: list[list[Cell | str]] = []
    for region, curve in results.calibration.items():
        voxels = sum(row.get("voxels", 0) for row in curve)
        brier = estimate_cell(estimate(results, region, "brier"), METRICS["brier"])
        error = shown(expected_calibration_error(curve), 4)
        rows.append([region, f"{voxels:,.0f}", brier, error])
    columns = ["Region", "Voxels", "Brier, mean over cases", "ECE"]
    return simple_table("Calibration by region", columns, rows)
