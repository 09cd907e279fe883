"""The page of a cohort: one file that opens from disk, in the style of the report."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from thorax.common.files import write_text
from thorax.common.text import counted, listed, percent
from thorax.evaluation.cohort.groups import Grouping
from thorax.evaluation.cohort.outliers import (
    LEAST_FACTOR,
    LEAST_HU,
    LEAST_SCANS,
    LEAST_SHARE_OF_VOLUME,
    NORMAL,
    ROBUST_SDS,
    find_outliers,
)
from thorax.evaluation.cohort.scans import Cohort, CohortScan
from thorax.reporting.cohort_page.distributions import quartile_table, region_charts
from thorax.reporting.cohort_page.pictures import Picture, draw_pictures
from thorax.reporting.cohort_page.review import (
    DONE,
    ReviewCard,
    outlier_table,
    remaining_table,
    review_cards,
)
from thorax.reporting.html import asset, data_uri, render_page

Draw = Callable[[Sequence[CohortScan]], Mapping[str, Picture]]

_PACKAGE = "thorax.reporting.cohort_page"


def write_page(
    path: Path, cohort: Cohort, name: str, *, grouping: Grouping | None, most: int
) -> None:
    """Write a cohort as one HTML file, atomically; the page sends no requests.

    Args:
        path: File to write.
        cohort: The scans; files of those to review are read for thumbnails.
        name: Name of the cohort.
        grouping: Groups that split the distributions.
        most: Most scans with a thumbnail.

    Raises:
        InputError: The file cannot be written.
    """
    page = render_cohort(cohort, name, grouping, lambda scans: draw_pictures(scans[:most]))
    write_text(path, page)


def render_cohort(cohort: Cohort, name: str, grouping: Grouping | None, draw: Draw) -> str:
    """Render a cohort as HTML; equal cohorts give equal text.

    Args:
        cohort: The scans.
        name: Name of the cohort.
        grouping: Groups that split the distributions.
        draw: Returns thumbnails by case of the scans to review; those without one are listed in a
            table.
    """
    outliers = find_outliers(cohort)
    review = review_cards(cohort, outliers)
    pictures = draw([card.scan for card in review])
    cards = [card for card in review if card.scan.case in pictures]
    links = {card.scan.case: f"#{card.key}" for card in cards}
    return render_page(
        _PACKAGE,
        "cohort.html",
        audit_style=Markup(asset("thorax.reporting.audit_page", "templates/audit.css")),
        name=name,
        headline=_headline(cohort, review),
        counts=_counts(cohort, review),
        overview=_overview(cohort, grouping),
        regions=region_charts(cohort, grouping, outliers, links),
        quartiles=quartile_table(cohort, grouping),
        rule=_rule(cohort, grouping),
        outliers=outlier_table(outliers, links),
        cards=cards,
        pictures={
            case: (data_uri(picture.jpeg, kind="jpeg"), picture.note)
            for case, picture in pictures.items()
        },
        remaining=remaining_table([card for card in review if card.scan.case not in pictures]),
        notes=cohort.notes,
    )


def _headline(cohort: Cohort, review: list[ReviewCard]) -> list[str]:
    scans, done = len(cohort.scans), cohort.status_counts.get(DONE, 0)
    return [
        f"{counted(scans, 'scan')}, {done:,} segmented and {len(review):,} to review.",
        "Scans to review failed, have a quality warning, or have an outlying measure. No rule "
        "finds every wrong mask: look at other masks, too.",
    ]


def _counts(cohort: Cohort, review: list[ReviewCard]) -> list[tuple[str, int, str]]:
    """Return the style class, number and title of each count."""
    counts = cohort.status_counts
    unfinished = len(cohort.scans) - counts.get(DONE, 0) - counts.get("failed", 0)
    return [
        ("", len(cohort.scans), "scans"),
        ("", counts.get(DONE, 0), "done"),
        ("error", counts.get("failed", 0), "failed"),
        *([("error", unfinished, "not finished")] if unfinished else []),
        ("warning", len(review), "to review"),
    ]


def _overview(cohort: Cohort, grouping: Grouping | None) -> list[tuple[str, str]]:
    measured = sum(bool(scan.first_region) for scan in cohort.scans)
    models = sorted({scan.model for scan in cohort.scans if scan.model})
    rows = [
        ("regions", listed(cohort.regions)),
        ("with statistics", f"{measured:,} of {counted(len(cohort.scans), 'scan')}"),
        ("model" if len(models) == 1 else "models", listed(models, at_most=5)),
    ]
    if cohort.patient_columns:
        joined = sum(scan.patient is not None for scan in cohort.scans)
        rows.append(("with a patient", f"{joined:,} of {counted(len(cohort.scans), 'scan')}"))
    if grouping:
        groups = (f"{group} ({len(scans):,})" for group, scans in grouping.groups.items())
        rows.append((f"groups by {grouping.column}", listed(groups)))
    return rows


def _rule(cohort: Cohort, grouping: Grouping | None) -> list[str]:
    group = " The median is that of all groups together." if grouping else ""
    shares = " A volume that has a share of another region is compared as that share."
    return [
        f"A value is an outlier if it is more than {ROBUST_SDS:g} robust standard deviations (SD) "
        "from the median of its region and side (Leys et al., J Exp Soc Psychol "
        f"2013;49:764-766). The robust SD is {NORMAL} times the median absolute deviation, but at "
        f"least {percent(LEAST_SHARE_OF_VOLUME)} of the median volume or {LEAST_HU:g} HU. "
        "Percentages p are skewed, and compared as log(1 + p), with a robust SD of at least "
        f"log({LEAST_FACTOR}).{shares if len(cohort.regions) > 1 else ''}{group}",
        f"Measures of fewer than {LEAST_SCANS} scans have no outliers. An outlier is not an "
        "error: disease and body size cause outliers, too. A side is listed if the whole region "
        "is no outlier.",
    ]
