"""Scans to review: failed ones, those with quality warnings, and outliers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from thorax.common.text import UNDEFINED, counted, shown
from thorax.evaluation.cohort.outliers import Outlier, without_sides
from thorax.evaluation.cohort.scans import WHOLE, Cohort, CohortScan, PartMeasurements
from thorax.reporting.report.tables import Cell, ReportTable, simple_table

FAILED, WARNING, OUTLIER = "error", "warning", "note-severity"
"""Style classes of the reasons, most severe first."""

DONE = "done"

MOST_OUTLYING = 40
"""Scans in the table of outliers."""


@dataclass(frozen=True)
class Reason:
    """A reason to review a scan.

    Args:
        kind: `FAILED`, `WARNING` or `OUTLIER`.
        text: The reason.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class ReviewCard:
    """A scan to review.

    Args:
        key: Name of the card in links.
        scan: The scan.
        reasons: Reasons, most severe first.
        rows: Pairs of name and value.
    """

    key: str
    scan: CohortScan
    reasons: tuple[Reason, ...]
    rows: tuple[tuple[str, str], ...]


def review_cards(cohort: Cohort, outliers: Iterable[Outlier]) -> list[ReviewCard]:
    """Return the scans to review: failed ones, then by quality warnings, then by distance."""
    by_case: dict[str, list[Outlier]] = {}
    for outlier in outliers:
        by_case.setdefault(outlier.case, []).append(outlier)
    reviewed = [
        (scan, by_case.get(scan.case, []))
        for scan in cohort.scans
        if scan.status != DONE or scan.quality_warnings or scan.case in by_case
    ]
    reviewed.sort(key=lambda pair: _rank(*pair))
    return [
        ReviewCard(f"scan-{number}", scan, tuple(_reasons(scan, own)), tuple(_rows(scan)))
        for number, (scan, own) in enumerate(reviewed, start=1)
    ]


def _rank(scan: CohortScan, outliers: Sequence[Outlier]) -> tuple[bool, int, float, str]:
    farthest = max((abs(outlier.robust_sds) for outlier in outliers), default=0.0)
    return scan.status == DONE, -len(scan.quality_warnings), -farthest, scan.case


def _reasons(scan: CohortScan, outliers: Iterable[Outlier]) -> list[Reason]:
    failure = scan.error or f"not finished ({scan.status})"
    return [
        *([Reason(FAILED, failure)] if scan.status != DONE else []),
        *(Reason(WARNING, text) for text in scan.quality_warnings),
        *(Reason(OUTLIER, _outlier_text(outlier)) for outlier in without_sides(outliers)),
    ]


def _outlier_text(outlier: Outlier) -> str:
    measure = outlier.measure
    value, median = (shown(v, measure.digits) for v in (outlier.value, outlier.median))
    side = "" if outlier.side == WHOLE else f", {outlier.side}"
    return (
        f"{outlier.region}{side}: {measure.title} {value} {measure.unit}; median {median} "
        f"{measure.unit} ({_signed(outlier.robust_sds)} SD)"
    )


def _signed(value: float) -> str:
    text = shown(value, 1)
    return text if value < 0 else f"+{text}"


def _rows(scan: CohortScan) -> list[tuple[str, str]]:
    whole = [part for part in scan.parts if part.side == WHOLE]
    rows = [(part.region, _part_text(part)) for part in whole]
    return [*rows, *((f"{part.region}, quality", _quality(part)) for part in whole)]


def _part_text(part: PartMeasurements) -> str:
    volume = UNDEFINED if part.volume_ml is None else f"{shown(part.volume_ml, 0)} mL"
    return volume if part.mean_hu is None else f"{volume}, {shown(part.mean_hu, 0)} HU"


def _quality(part: PartMeasurements) -> str:
    if part.expected_dice is not None:
        return f"expected Dice {part.expected_dice:.2f}"
    return UNDEFINED if part.certainty is None else f"certainty {part.certainty:.2f}"


def outlier_table(outliers: Sequence[Outlier], links: Mapping[str, str]) -> ReportTable:
    """List the outliers by scan, those farthest from the median first."""
    by_case: dict[str, list[Outlier]] = {}
    for outlier in without_sides(outliers):
        by_case.setdefault(outlier.case, []).append(outlier)
    groups = tuple(
        tuple(_outlier_cells(outlier, links.get(case, "")) for outlier in own)
        for case, own in list(by_case.items())[:MOST_OUTLYING]
    )
    more = len(by_case) - len(groups)
    return ReportTable(
        "Outliers, farthest from the median first",
        ("Scan", "Region", "Side", "Measure", "Value", "Median", "Distance (robust SD)"),
        groups,
        text_columns=4,
        notes=(f"{more:,} more scans have outliers.",) if more else (),
    )


def _outlier_cells(outlier: Outlier, href: str) -> tuple[Cell, ...]:
    measure = outlier.measure
    return (
        Cell(outlier.case, href=href),
        Cell(outlier.region),
        Cell(outlier.side),
        Cell(measure.title),
        Cell(f"{shown(outlier.value, measure.digits)} {measure.unit}"),
        Cell(f"{shown(outlier.median, measure.digits)} {measure.unit}"),
        Cell(_signed(outlier.robust_sds)),
    )


def remaining_table(cards: Sequence[ReviewCard]) -> ReportTable:
    """List the scans to review that have no picture."""
    rows = [
        [card.scan.case, card.scan.status, "; ".join(reason.text for reason in card.reasons)]
        for card in cards
    ]
    caption = f"{counted(len(cards), 'more scan')} to review, without a picture"
    return simple_table(caption, ("Scan", "Status", "Reasons"), rows, text_columns=3, folded=True)
