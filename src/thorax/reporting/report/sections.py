"""The parts of the report in their order; where a part has nothing to show, it says why."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from thorax.reporting.report.charts import (
    SHARES,
    SURE,
    VOLUMES,
    Chart,
    agreement,
    distribution,
    learning,
    reliability,
)
from thorax.reporting.report.results import Results
from thorax.reporting.report.tables import (
    Table,
    calibration_table,
    case_table,
    headline_table,
    lesion_table,
    side_table,
    site_table,
)

STRIPS = ("dice", "nsd", "hd95_mm", "difference_percent", "lesion_sensitivity")

NO_CASE = (
    "There are no figures: no case was set aside for testing. Give `split.fold` a number, or name "
    "cases under `split.test`, to train a model that can be tested."
)


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Args:
        key: Names it in links.
        title: Its heading.
        words: Paragraphs that stand first.
        tables: Then these.
        charts: Then these.
    """

    key: str
    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


def figure_parts(results: Results) -> list[Part]:
    """All parts that stand before the single cases; what only test cases give needs some."""
    if not results.cases:
        return [Part("regions", "Region by region", (NO_CASE,)), learning_part(results)]
    makers: tuple[Callable[[Results], Part], ...] = (
        regions_part,
        sites_part,
        order_part,
        distributions_part,
        agreement_part,
        calibration_part,
        certainty_part,
        learning_part,
    )
    return [make(results) for make in makers]


def regions_part(results: Results) -> Part:
    """Means by region."""
    lesions = lesion_table(results)
    sides = side_table(results) if results.sides else None
    tables = tuple(filter(None, (headline_table(results), lesions, sides)))
    return Part("regions", "Region by region", (), tables)


def sites_part(results: Results) -> Part:
    """Means by site, where there are several."""
    key, title = "sites", "Site by site"
    if results.sites:
        return Part(key, title, (), (site_table(results),))
    return Part(
        key,
        title,
        (
            "The test cases are not told apart by site: the dataset names none, or all come from "
            "one.",
        ),
    )


def order_part(results: Results) -> Part:
    """The cases, those to look at first at the top."""
    return Part("order", "Case by case", (), (case_table(results),))


def distributions_part(results: Results) -> Part:
    """Each figure of each case as a point."""
    charts = tuple(filter(None, (distribution(results, name) for name in STRIPS)))
    words = (
        "Every point is a test case and leads to its section. The box holds the middle half of the "
        "cases where there are at least five, the thick line is the median. Each region has a "
        "scale of its own."
    )
    return Part("spread", "How the cases spread", (words,), (), charts)


def agreement_part(results: Results) -> Part:
    """Volumes and shares, found against true."""
    key, title = "agreement", "Volumes, found against true"
    charts = [
        agreement(results, region, kind) for kind in (VOLUMES, SHARES) for region in results.regions
    ]
    words = (
        "Bland and Altman's plots: the difference of each case over the mean of both. The solid "
        "line is the mean difference, the dashed ones are the limits between which 95 % of "
        "differences are expected."
    )
    found = tuple(filter(None, charts))
    if not found:
        return Part(key, title, ("The scores have no volumes.",))
    shares = any(math.isfinite(row["truth_share"]) for row in results.rows)
    why = "only one region was measured" if len(results.regions) < 2 else "the scores have none"
    none = () if shares else (f"There is no share to compare: {why}.",)
    return Part(key, title, (words, *none), (), found)


def calibration_part(results: Results) -> Part:
    """Whether a probability of 0.7 means that 70 of 100 voxels are true."""
    key, title = "calibration", "What the probabilities are worth"
    charts = tuple(filter(None, (reliability(results, name) for name in results.calibration)))
    if charts:
        words = (
            "Voxels outside the truth that were given no probability at all are left out: they "
            "are most of a scan, and would make every Brier score and expected calibration error "
            "(ECE) small. The lowest bin lacks them, and looks worse than it is."
        )
        return Part(key, title, (words,), (calibration_table(results),), charts)
    why = (
        "no maps of probabilities were kept (`predict.bits: 0`)"
        if results.params.predict.bits == 0
        else "there is no reports/calibration.csv, or it counts no voxel"
    )
    return Part(key, title, (f"Calibration was not measured: {why}.",))


def certainty_part(results: Results) -> Part:
    """Whether what the model thinks of its masks can be believed."""
    key, title = "certainty", "What the model thinks of itself"
    charts = tuple(filter(None, (agreement(results, one, SURE) for one in results.regions)))
    if not charts:
        return Part(key, title, ("The predictions do not tell how sure the model was.",))
    words = (
        "Certainty is worked out without the truth: how much the probabilities look like those of "
        "a mask, as a Dice of both. Here it is set against the Dice that came out. Where points "
        "lie near 0, it can be read as a Dice on scans without a truth; above 0 "
        "it flatters, below 0 it is too modest."
    )
    return Part(key, title, (words,), (), charts)


def learning_part(results: Results) -> Part:
    """How the training went."""
    key, title = "learning", "How the training went"
    charts = tuple(learning(results))
    words = [] if charts else ["There is no reports/history.csv, or it holds no epoch."]
    if charts and all(math.isnan(row.get("dice", math.nan)) for row in results.history):
        words.append("No case watched the training, so that there is no validation Dice.")
    return Part(key, title, tuple(words), (), charts)
