"""Sections of the report in order; an empty section states the reason."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from thorax.reporting.report.charts import (
    CERTAINTY_AGREEMENT,
    SHARE_AGREEMENT,
    VOLUME_AGREEMENT,
    Chart,
    agreement_chart,
    distribution_chart,
    reliability_chart,
)
from thorax.reporting.report.lesion_charts import volume_chart
from thorax.reporting.report.lesion_tables import (
    empty_truth_sentences,
    empty_truth_table,
    lesion_regions,
    size_table,
)
from thorax.reporting.report.results import Results
from thorax.reporting.report.tables import (
    ReportTable,
    calibration_table,
    case_table,
    headline_table,
    lesion_table,
    side_table,
    site_table,
)
from thorax.reporting.report.training_charts import training_charts

DISTRIBUTIONS = ("dice", "nsd", "hd95_mm", "difference_percent", "lesion_sensitivity")

NO_CASE = (
    "There are no results: the run has no test cases. To test a model, give `split.fold` a number "
    "or list cases in `split.test`."
)


@dataclass(frozen=True)
class Section:
    """A section of the report: paragraphs, then tables, then charts.

    Args:
        key: Name of the section in links.
        title: Heading.
        paragraphs: Paragraphs of text.
        tables: Tables.
        charts: Charts.
    """

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    charts: tuple[Chart, ...] = ()


def report_sections(results: Results) -> list[Section]:
    """Return all sections before the single cases."""
    if not results.cases:
        return [Section("regions", "Results by region", (NO_CASE,)), training_section(results)]
    sections: tuple[Callable[[Results], Section], ...] = (
        region_section,
        site_section,
        case_section,
        distribution_section,
        lesion_section,
        agreement_section,
        calibration_section,
        certainty_section,
        training_section,
    )
    return [section(results) for section in sections]


def region_section(results: Results) -> Section:
    """Means by region, lesions and sides."""
    lesions = lesion_table(results)
    sides = side_table(results) if results.sides else None
    tables = tuple(filter(None, (headline_table(results), lesions, sides)))
    return Section("regions", "Results by region", (), tables)


def site_section(results: Results) -> Section:
    """Means by site, if there are several."""
    key, title = "sites", "Results by site"
    if results.sites:
        return Section(key, title, (), (site_table(results),))
    reason = "The dataset states no sites, or all test cases are from one site."
    return Section(key, title, (reason,))


def case_section(results: Results) -> Section:
    """Metrics by case, lowest Dice first."""
    return Section("order", "Results by case", (), (case_table(results),))


def distribution_section(results: Results) -> Section:
    """Distributions of metrics over cases."""
    charts = tuple(filter(None, (distribution_chart(results, name) for name in DISTRIBUTIONS)))
    text = (
        "Every point is a test case and links to its section. The thick line is the median. With "
        "five or more cases the box contains the middle half. Each region has a separate scale."
    )
    return Section("distributions", "Distribution over cases", (text,), (), charts)


def lesion_section(results: Results) -> Section:
    """Dice by volume, detection by lesion size, and false positives where there is no lesion."""
    key, title = "lesions", "Lesions by size"
    regions = lesion_regions(results)
    if not regions:
        reason = "No region was scored lesion by lesion: `evaluate.lesions` names none of them."
        return Section(key, title, (reason,))
    missing = () if results.lesions is not None else ("reports/lesions.csv is missing.",)
    tables = tuple(filter(None, (size_table(results), empty_truth_table(results))))
    charts = tuple(filter(None, (volume_chart(results, region) for region in regions)))
    return Section(key, title, (*missing, *empty_truth_sentences(results)), tables, charts)


def agreement_section(results: Results) -> Section:
    """Bland-Altman plots of volumes and shares."""
    key, title = "agreement", "Agreement of volumes"
    plots = (
        agreement_chart(results, region, kind)
        for kind in (VOLUME_AGREEMENT, SHARE_AGREEMENT)
        for region in results.regions
    )
    charts = tuple(filter(None, plots))
    if not charts:
        return Section(key, title, ("The scores contain no volumes.",))
    text = (
        "Bland-Altman plots: the difference of each case over the mean of predicted and true "
        "value. The solid line is the mean difference. The dashed lines are the limits of "
        "agreement, between which 95 % of differences are expected."
    )
    has_shares = any(math.isfinite(row["truth_share"]) for row in results.rows)
    reason = "the model has one region" if len(results.regions) < 2 else "the scores contain none"
    no_shares = () if has_shares else (f"There are no shares to compare: {reason}.",)
    return Section(key, title, (text, *no_shares), (), charts)


def calibration_section(results: Results) -> Section:
    """Reliability of the probabilities."""
    key, title = "calibration", "Calibration of probabilities"
    charts = tuple(filter(None, (reliability_chart(results, name) for name in results.calibration)))
    if charts:
        text = (
            "Voxels outside the truth with probability 0 are left out. They are most of a scan and "
            "would make every Brier score and expected calibration error (ECE) small. The lowest "
            "bin lacks them and therefore looks worse than it is."
        )
        return Section(key, title, (text,), (calibration_table(results),), charts)
    reason = (
        "probability maps were not kept (`predict.bits: 0`)"
        if results.params.predict.bits == 0
        else "reports/calibration.csv is missing or counts no voxels"
    )
    return Section(key, title, (f"Calibration was not measured: {reason}.",))


def certainty_section(results: Results) -> Section:
    """Certainty of the model compared with the Dice."""
    key, title = "certainty", "Confidence against Dice"
    plots = (agreement_chart(results, region, CERTAINTY_AGREEMENT) for region in results.regions)
    charts = tuple(filter(None, plots))
    if not charts:
        return Section(key, title, ("The predictions contain no certainty.",))
    text = (
        "Certainty is the model's confidence in its mask: the agreement of the probabilities with "
        "the mask, computed like a Dice, without the truth. The charts show certainty minus Dice. "
        "Above 0 the "
        "model is overconfident, below 0 underconfident. If the points are near 0, certainty "
        "predicts the Dice of scans without a truth."
    )
    return Section(key, title, (text,), (), charts)


def training_section(results: Results) -> Section:
    """Loss, validation Dice and learning rate by epoch."""
    charts = tuple(training_charts(results))
    text = [] if charts else ["reports/history.csv is missing or has no epochs."]
    if charts and all(math.isnan(row.get("dice", math.nan)) for row in results.history):
        text.append("There is no validation Dice: the training had no validation cases.")
    return Section("training", "Training", tuple(text), (), charts)
