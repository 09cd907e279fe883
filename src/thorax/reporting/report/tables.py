"""The tables of the report, ready to be laid out as HTML or as Markdown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from thorax.common.text import listed, percent, shown
from thorax.reporting.report.estimates import Estimate, estimate, expected_error, over, worst_first
from thorax.reporting.report.metrics import METRICS, Metric, tolerance_mm
from thorax.reporting.report.results import Results, Row
from thorax.reporting.report.sentences import aside

HEADLINE = ("dice", "nsd", "hd95_mm", "difference_ml")

BY_CASE = (
    "dice", "ceiling_dice", "nsd", "hd95_mm", "truth_ml", "predicted_ml", "difference_ml",
    "difference_percent", "lesions", "lesions_found",
)  # fmt: skip

LESIONS = (
    "lesions", "lesions_found", "lesion_sensitivity", "lesions_predicted", "lesions_true",
    "lesion_precision", "lesion_f1",
)  # fmt: skip

COUNTS = ("lesions", "lesions_found", "lesions_predicted", "lesions_true")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: What it says.
        aside: Small print after it, such as an interval.
        href: Where it leads; empty for nowhere.
    """

    text: str
    aside: str = ""
    href: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Args:
        caption: What it shows.
        columns: Headings.
        groups: Rows that belong together; each row as long as ``columns``.
        words: How many of the first columns hold words, the others numbers.
        notes: Stand below it.
        folded: Whether it is shown only on demand.
    """

    caption: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[Cell, ...], ...], ...]
    words: int = 1
    notes: tuple[str, ...] = ()
    folded: bool = False


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell | str]], **options: object
) -> Table:
    """A table of rows of which each stands for itself."""
    groups = tuple(
        (tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row),) for row in rows
    )
    return Table(caption, tuple(columns), groups, **options)  # type: ignore[arg-type]


def anchors(results: Results) -> dict[str, str]:
    """Case → the name of its section in the page; case names may hold anything."""
    return {case: f"case-{number}" for number, case in enumerate(results.cases, start=1)}


def measured(results: Results, names: Iterable[str]) -> list[Metric]:
    """Those of the figures that are defined for any case."""
    return [METRICS[name] for name in names if _is_measured(results, name)]


def missing_note(results: Results, names: Iterable[str]) -> tuple[str, ...]:
    """Which of the figures no case has."""
    absent = [name for name in names if not _is_measured(results, name)]
    titles = [METRICS[name].heading for name in absent]
    return (f"Not measured, or undefined in every case: {listed(titles)}.",) if titles else ()


def _is_measured(results: Results, name: str) -> bool:
    return any(not math.isnan(row[name]) for row in results.rows)


def headline_table(results: Results) -> Table:
    """The figures of each region over all test cases."""
    figures = measured(results, HEADLINE)
    rows: list[list[Cell | str]] = [
        [
            region,
            str(estimate(results, region, "dice").cases),
            *_with_ceiling(results, region, figures),
        ]
        for region in results.regions
    ]
    headings = ["Region", "Cases", *_headings(figures)]
    return table(
        "Means over test cases",
        headings,
        rows,
        notes=(
            *_nsd_note(results),
            *_interval_note(results, figures),
            "Cases: those where Dice is defined. Ceiling: the best Dice that the canvas allows.",
            *_infinite_note(results, figures),
            *missing_note(results, HEADLINE),
        ),
    )


def _headings(figures: Iterable[Metric]) -> list[str]:
    found: list[str] = []
    for figure in figures:
        found.append(figure.heading)
        if figure.name == "dice":
            found.append("Ceiling")
    return found


def _with_ceiling(results: Results, region: str, figures: Iterable[Metric]) -> list[Cell]:
    cells: list[Cell] = []
    for figure in figures:
        cells.append(estimated(estimate(results, region, figure.name), figure))
        if figure.name == "dice":
            cells.append(Cell(shown(_ceiling(results, region))))
    return cells


def _ceiling(results: Results, region: str) -> float:
    known = results.metrics.get(region, {}).get("ceiling_dice")
    if isinstance(known, int | float):
        return float(known)
    return over(results, results.rows_for(region), "ceiling_dice").mean


def estimated(found: Estimate, figure: Metric) -> Cell:
    """A mean with its interval."""
    return Cell(shown(found.mean, figure.digits), aside(found, figure.digits))


def _interval_note(results: Results, figures: Sequence[Metric]) -> tuple[str, ...]:
    share = percent(results.params.evaluate.confidence)
    found = (estimate(results, region, one.name) for region in results.regions for one in figures)
    if not all(math.isnan(one.low) for one in found):
        return (f"Beside each mean: its {share} interval.",)
    return (f"No {share} interval is given: it takes more patients, or figures that differ.",)


def _nsd_note(results: Results) -> tuple[str, ...]:
    if not _is_measured(results, "nsd"):
        return ()
    parts = (f"{tolerance_mm(results, region):g} mm for {region}" for region in results.regions)
    return (f"Tolerance of the NSD: {', '.join(parts)}.",)


def _infinite_note(results: Results, figures: Iterable[Metric]) -> tuple[str, ...]:
    titles = [
        figure.title
        for figure in figures
        if any(math.isinf(row[figure.name]) for row in results.rows)
    ]
    if not titles:
        return ()
    counts = results.params.evaluate.convention == "surface-distance"
    means = "makes the mean infinite too" if counts else "is left out of the mean"
    return (
        f"∞: {listed(titles)} is infinite where only one of truth and prediction is empty; such a "
        f"case {means}.",
    )


def site_table(results: Results) -> Table:
    """The figures of each region, site by site."""
    figures = measured(results, HEADLINE)
    groups = []
    for region in results.regions:
        rows = [(site, results.rows_for(region, site=site)) for site in results.sites]
        groups.append(
            tuple(
                (Cell(region), Cell(site or "not named"), *_over(results, found, figures))
                for site, found in rows
            )
        )
    headings = ("Region", "Site", "Cases", *(figure.heading for figure in figures))
    return Table("Means by site", headings, tuple(groups), words=2)


def side_table(results: Results) -> Table:
    """The figures of each region, side by side."""
    figures = [
        METRICS[name] for name in HEADLINE if any(name in row.figures for row in results.sides)
    ]
    groups = []
    for region in results.regions:
        rows = [row for row in results.sides if row.region == region]
        sides = [(side, [row for row in rows if row.side == side]) for side in ("right", "left")]
        groups.append(
            tuple(
                (Cell(region), Cell(side), *_over(results, found, figures))
                for side, found in sides
                if found
            )
        )
    headings = ("Region", "Side", "Cases", *(figure.heading for figure in figures))
    return Table(
        "Means by side of the patient",
        headings,
        tuple(filter(None, groups)),
        words=2,
    )


def _over(results: Results, rows: Sequence[Row], figures: Iterable[Metric]) -> list[Cell]:
    cells = [estimated(over(results, rows, figure.name), figure) for figure in figures]
    defined = sum(not math.isnan(row["dice"]) for row in rows)
    return [Cell(str(defined)), *cells]


def case_table(results: Results) -> Table:
    """The figures of each case, those to look at first at the top."""
    figures = measured(results, BY_CASE)
    place = anchors(results)
    groups = []
    for case in worst_first(results):
        rows = [row for row in results.rows if row.case == case]
        head = Cell(case, href=f"#{place[case]}")
        groups.append(tuple(_case_cells(results, row, head, figures) for row in rows))
    site = ["Site"] if results.sites else []
    return Table(
        "The test cases, those to look at first at the top",
        ("Case", *site, "Region", *(figure.heading for figure in figures)),
        tuple(groups),
        words=2 + len(site),
        notes=(
            "Order: the lowest Dice of any region of the case, each relative to its ceiling. "
            "–: undefined.",
            *missing_note(results, BY_CASE),
        ),
    )


def _case_cells(
    results: Results, row: Row, head: Cell, figures: Iterable[Metric]
) -> tuple[Cell, ...]:
    site = [Cell(row.site)] if results.sites else []
    numbers = (Cell(shown(row[figure.name], figure.digits)) for figure in figures)
    return head, *site, Cell(row.region), *numbers


def figures_table(results: Results, case: str) -> Table:
    """The main figures of one case, by region and side."""
    return _of_case(results, case, BY_CASE, caption=f"Figures of {case}")


def more_figures_table(results: Results, case: str) -> Table:
    """All other figures of one case."""
    names = [name for name in METRICS if name not in BY_CASE]
    found = _of_case(results, case, names, caption=f"More figures of {case}")
    return replace(found, folded=True)


def _of_case(results: Results, case: str, names: Sequence[str], *, caption: str) -> Table:
    rows = [row for row in (*results.rows, *results.sides) if row.case == case]
    rows.sort(key=lambda row: results.regions.index(row.region))
    figures = [METRICS[name] for name in names if any(not math.isnan(row[name]) for row in rows)]
    lines = [
        [_place(row), *(shown(row[figure.name], figure.digits) for figure in figures)]
        for row in rows
    ]
    lines = lines if figures else []
    return table(caption, ["Region", *(figure.heading for figure in figures)], lines)


def _place(row: Row) -> str:
    return f"{row.region}, {row.side}" if row.side else row.region


def lesion_table(results: Results) -> Table | None:
    """Lesions over all test cases; None where none were counted."""
    rows = []
    for region in results.regions:
        held = [row for row in results.rows_for(region) if not math.isnan(row["lesions"])]
        total = {name: float(np.nansum([row[name] for row in held])) for name in COUNTS}
        if held:
            rows.append([region, str(len(held)), *_lesion_cells(total)])
    columns = ["Region", "Cases", *(METRICS[name].title for name in LESIONS)]
    note = "Shares are of the lesions of all cases together."
    return table("Lesion by lesion", columns, rows, notes=(note,)) if rows else None


def _lesion_cells(total: Mapping[str, float]) -> list[str]:
    truth, found = total["lesions"], total["lesions_found"]
    predicted, true = total["lesions_predicted"], total["lesions_true"]
    sensitivity = found / truth if truth else math.nan
    precision = true / predicted if predicted else math.nan
    both = sensitivity + precision
    f1 = 2 * sensitivity * precision / both if both > 0 else (0.0 if both == 0 else math.nan)
    counts = [f"{value:,.0f}" for value in (truth, found, predicted, true)]
    return [*counts[:2], shown(sensitivity), *counts[2:], shown(precision), shown(f1)]


def calibration_table(results: Results) -> Table:
    """Brier score and expected calibration error of each region."""
    rows: list[list[Cell | str]] = []
    for region, bins in results.calibration.items():
        brier = estimate(results, region, "brier")
        voxels = sum(row.get("voxels", 0) for row in bins)
        brier_cell = estimated(brier, METRICS["brier"])
        rows.append([region, f"{voxels:,.0f}", brier_cell, shown(expected_error(bins), 4)])
    columns = ["Region", "Voxels", "Brier, mean over cases", "ECE"]
    return table("How far the probabilities are to be trusted", columns, rows)
