"""Scores of predicted masks: figures of single cases, tables of them, and what they sum up to.

All figures are volumetric, on the native grid, in mm and mL, one case at a time.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thorax.common.tables import as_csv
from thorax.evaluation.bootstrap import Method, bootstrap_mean
from thorax.evaluation.empty_masks import AppliedMetrics, EmptyMaskConvention, find_convention
from thorax.evaluation.lesions import Lesions
from thorax.evaluation.surface_distance import SurfaceDistances
from thorax.imaging.overlap import Overlap

OVERLAPS = ("dice", "iou", "sensitivity", "precision")

DISTANCES = ("hd95_mm", "mean_distance_mm")

SURFACES = ("nsd", *DISTANCES)

VOLUMES = ("truth_ml", "predicted_ml", "difference_ml", "difference_percent")

SHARES = ("truth_share", "predicted_share")

LESIONS = (
    "lesions", "lesions_predicted", "lesions_found", "lesions_true",
    "lesion_sensitivity", "lesion_precision", "lesion_f1",
)  # fmt: skip

FIGURES = (*OVERLAPS, *SURFACES, *VOLUMES, *SHARES)

COLUMNS = ("case", "site", "region", *FIGURES, *LESIONS, "brier", "certainty", "ceiling_dice")

SIDE_COLUMNS = ("case", "site", "region", "side", *FIGURES)

POOLED = ("dice", "iou")

SUMMED_UP = (
    *OVERLAPS, *SURFACES, "difference_ml", "difference_percent",
    "lesion_sensitivity", "lesion_precision", "lesion_f1", "brier",
)  # fmt: skip

HEADLINE = ("mean", "median", "sd", "pooled")
"""Of Dice and IoU, in `metrics.json`."""

HEADLINE_MEANS = ("nsd", "hd95_mm")
"""Of which `metrics.json` has the mean alone, so that DVC's tables can be read."""

THORAX = find_convention("thorax")

Summary = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Score:
    """One region of one case, or one side of it.

    Args:
        case: Name of the case.
        region: Name of the region.
        overlap: Voxel counts on the native grid.
        voxel_ml: Volume of a voxel in mL.
        ceiling: Overlap of the truth with itself placed on the canvas and restored, where known.
        surfaces: Distances of the surfaces, where they were measured.
        tolerance_mm: Of the surface Dice.
        parent_overlap: Voxels of the first region in truth and prediction; None for the first region.
        diagonal_mm: Of the scan, the worst that a distance could be.
        lesions: Counts lesion by lesion, for regions that are counted so.
        brier: Brier score of the probabilities, where they are known; NaN elsewhere.
        certainty: Mean certainty of the model, which needs no reference; see
            `thorax.inference.quality.certainty`. NaN
            where it is not known.
        site: Where the case comes from, if there are several.
        side: `right` or `left`; empty for the whole.
        patient: Whose scan it is; empty: of a patient of its own.
    """

    case: str
    region: str
    overlap: Overlap
    voxel_ml: float
    ceiling: Overlap | None = None
    surfaces: SurfaceDistances | None = None
    tolerance_mm: float = 1.0
    parent_overlap: Overlap | None = None
    diagonal_mm: float = math.nan
    lesions: Lesions | None = None
    brier: float = math.nan
    certainty: float = math.nan
    site: str = ""
    side: str = ""
    patient: str = ""

    def row(self, convention: EmptyMaskConvention = THORAX) -> dict[str, Any]:
        """The figures by name, for a table; those that were not measured are left out.

        Args:
            convention: Says what figures of empty masks are.
        """
        named = {"case": self.case, "site": self.site, "region": self.region, "side": self.side}
        return named | self.figures(convention).shown

    def figures(self, convention: EmptyMaskConvention = THORAX) -> AppliedMetrics:
        """The figures by name: as a table shows them, and as means take them."""
        ceiling = self.ceiling.dice if self.ceiling else math.nan
        measured = self._overlaps() | self._distances() | self._volumes() | self._shares()
        rest = {"brier": self.brier, "certainty": self.certainty, "ceiling_dice": ceiling}
        return convention.apply(
            measured | self._pieces() | rest,
            truth_empty=not self.overlap.truth,
            predicted_empty=not self.overlap.predicted,
            diagonal_mm=self.diagonal_mm,
        )

    def _overlaps(self) -> dict[str, float]:
        return {name: getattr(self.overlap, name) for name in OVERLAPS}

    def _distances(self) -> dict[str, float]:
        surfaces = self.surfaces
        if surfaces is None:
            return {}
        distances = surfaces.nsd(self.tolerance_mm), surfaces.hausdorff_mm(), surfaces.mean_mm
        return dict(zip(SURFACES, distances, strict=True))

    def _volumes(self) -> dict[str, float]:
        truth, predicted = self.overlap.truth, self.overlap.predicted
        excess = predicted - truth
        percent = 100 * excess / truth if truth else math.nan
        volumes = (truth * self.voxel_ml, predicted * self.voxel_ml, excess * self.voxel_ml)
        return dict(zip(VOLUMES, (*volumes, percent), strict=True))

    def _shares(self) -> dict[str, float]:
        if self.parent_overlap is None:
            return {}
        pairs = (
            (self.overlap.truth, self.parent_overlap.truth),
            (self.overlap.predicted, self.parent_overlap.predicted),
        )
        shares = (part / whole if whole else math.nan for part, whole in pairs)
        return dict(zip(SHARES, shares, strict=True))

    def _pieces(self) -> dict[str, float]:
        pieces = self.lesions
        if pieces is None:
            return {}
        counts = (pieces.truth, pieces.predicted, pieces.found, pieces.true)
        rates = (pieces.sensitivity, pieces.precision, pieces.f1)
        return dict(zip(LESIONS, (*counts, *rates), strict=True))


@dataclass(frozen=True)
class Intervals:
    """How intervals of means are worked out.

    Args:
        method: Of the bootstrap over patients, each with all of its cases.
        confidence: Share of such intervals that hold the true mean.
        resamples: Of the bootstrap.
    """

    method: Method = "bca"
    confidence: float = 0.95
    resamples: int = 9999


def scores_csv(scores: Sequence[Score], convention: EmptyMaskConvention = THORAX) -> str:
    """The scores as CSV, one row a case and region; undefined figures are empty."""
    return _csv(scores, convention, COLUMNS)


def sides_csv(scores: Sequence[Score], convention: EmptyMaskConvention = THORAX) -> str:
    """The scores of single sides as CSV, one row a case, region and side."""
    return _csv(scores, convention, SIDE_COLUMNS)


def summarise(
    scores: Sequence[Score],
    convention: EmptyMaskConvention = THORAX,
    intervals: Intervals | None = None,
) -> Summary:
    """Figures over cases for each region.

    Mean, median and SD (of the sample, n - 1) go over cases; what happens to those where a figure
    is undefined, because truth and prediction are both empty, says the convention: ours leaves
    them out, and ``cases`` says how many went in. Pooled figures add the voxels of all cases up
    first.

    Args:
        scores: Of single cases.
        convention: Says what figures of empty masks are.
        intervals: How to work out the interval of each mean; None: none is.

    Returns:
        Region → figure → ``mean``, ``median``, ``sd``, ``cases``, with intervals also ``low``,
        ``high`` and ``method``, for Dice and IoU also ``pooled``, for distances also ``infinite``;
        the mean ``ceiling_dice``; and ``cases``, those whose Dice goes into its mean.
    """
    by_region: dict[str, list[Score]] = {}
    for score in scores:
        by_region.setdefault(score.region, []).append(score)
    return {region: _summary(group, convention, intervals) for region, group in by_region.items()}


def headline(summary: Mapping[str, Mapping[str, Any]]) -> Summary:
    """Of a summary what belongs into `metrics.json`: few enough figures for DVC's tables."""
    return {
        region: {
            **{name: {key: figures[name][key] for key in HEADLINE} for name in POOLED},
            **{name: figures[name]["mean"] for name in HEADLINE_MEANS if name in figures},
            "ceiling_dice": figures["ceiling_dice"],
            "cases": figures["cases"],
        }
        for region, figures in summary.items()
    }


def _csv(scores: Sequence[Score], convention: EmptyMaskConvention, columns: Sequence[str]) -> str:
    rows = (score.row(convention) for score in scores)
    return as_csv(({name: row[name] for name in columns if name in row} for row in rows), columns)


def _summary(
    group: Sequence[Score], convention: EmptyMaskConvention, intervals: Intervals | None
) -> dict[str, Any]:
    applied = [score.figures(convention) for score in group]
    told = [(one, score.patient or score.case) for one, score in zip(applied, group, strict=True)]
    measured = [name for name in SUMMED_UP if any(name in one.counted for one in applied)]
    found: dict[str, Any] = {
        name: _over_cases(
            [(one.counted[name], of) for one, of in told if name in one.counted], intervals
        )
        for name in measured
    }
    for name in DISTANCES:
        if name in found:
            found[name]["infinite"] = sum(name in one.left_out for one in applied)
    pooled = sum((score.overlap for score in group), Overlap())
    for name in POOLED:
        found[name]["pooled"] = _rounded(getattr(pooled, name))
    ceilings = [(one.counted["ceiling_dice"], of) for one, of in told]
    found["ceiling_dice"] = _over_cases(ceilings, None)["mean"]
    return found | {"cases": found["dice"]["cases"]}


def _over_cases(
    by_patient: Sequence[tuple[float, str]], intervals: Intervals | None
) -> dict[str, Any]:
    """Mean, median and SD of the values that are defined, and how many they are.

    Some conventions keep infinite distances; then only the median can be finite.
    """
    told = [(value, patient) for value, patient in by_patient if not math.isnan(value)]
    defined = [value for value, _ in told]
    finite = all(map(math.isfinite, defined))
    figures: dict[str, Any] = {
        "mean": _rounded(statistics.fmean(defined)) if defined else None,
        "median": _rounded(statistics.median(defined)) if defined else None,
        "sd": _rounded(statistics.stdev(defined)) if finite and len(defined) > 1 else None,
        "cases": len(defined),
    }
    return figures | (_interval(told if finite else [], intervals) if intervals else {})


def _interval(by_patient: Sequence[tuple[float, str]], how: Intervals) -> dict[str, Any]:
    found = bootstrap_mean(
        [value for value, _ in by_patient],
        [patient for _, patient in by_patient],
        method=how.method,
        confidence=how.confidence,
        resamples=how.resamples,
    )
    if found is None:
        return {"low": None, "high": None, "method": None}
    return {"low": _rounded(found.low), "high": _rounded(found.high), "method": found.method}


def _rounded(value: float) -> float | None:
    """To six digits after the point; None where JSON has no number for it."""
    return round(value, 6) if math.isfinite(value) else None
