"""Scores of predicted masks: metrics of single cases, and tables of them.

All metrics are volumetric: one case at a time, on the original grid, in mm and mL.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from thorax.common.errors import InputError
from thorax.common.tables import as_csv
from thorax.evaluation.empty_masks import AppliedMetrics, EmptyMaskConvention, find_convention
from thorax.evaluation.lesions import Lesions
from thorax.evaluation.surface_distance import SurfaceScores
from thorax.imaging.overlap import Overlap

OVERLAPS = ("dice", "iou", "sensitivity", "precision")

DISTANCES = ("hd95_mm", "mean_distance_mm")

SURFACES = ("nsd", *DISTANCES)

VOLUMES = ("truth_ml", "predicted_ml", "difference_ml", "difference_percent")

SHARES = ("truth_share", "predicted_share")

LESION_METRICS = (
    "lesions", "lesions_predicted", "lesions_found", "lesions_true",
    "lesion_sensitivity", "lesion_precision", "lesion_f1",
)  # fmt: skip

METRIC_COLUMNS = (*OVERLAPS, *SURFACES, *VOLUMES, *SHARES)

SCORE_COLUMNS = (
    "case",
    "site",
    "region",
    *METRIC_COLUMNS,
    *LESION_METRICS,
    "brier",
    "certainty",
    "ceiling_dice",
)

SIDE_COLUMNS = ("case", "site", "region", "side", *METRIC_COLUMNS)

LABELS = ("case", "site", "region", "side", "seed", "fold")
"""Columns of score tables that identify a row; all others are metrics."""

THORAX = find_convention("thorax")


@dataclass(frozen=True)
class Score:
    """Scores of one region of one case, or of one side of it.

    Args:
        case: Name of the case.
        region: Name of the region.
        overlap: Voxel counts on the original grid.
        voxel_ml: Volume of a voxel in mL.
        ceiling: Overlap of the truth with itself after placing it on the canvas and restoring it.
        surfaces: Metrics of the surfaces, if they were measured. Distances of single surface
            elements are not kept: those of many cases do not fit into memory.
        parent_overlap: Overlap of the first region; None for the first region itself.
        diagonal_mm: Diagonal of the scan, the largest possible distance.
        lesions: Lesion counts, for regions that are scored lesion-wise.
        brier: Brier score of the probabilities; NaN if they were not kept.
        certainty: Mean certainty of the model, see `thorax.inference.quality.certainty`; NaN if it
            was not kept.
        site: Site of the case, if there are several.
        side: `right` or `left`; empty for both together.
        patient: Patient of the case; empty if every case is from a different patient.
    """

    case: str
    region: str
    overlap: Overlap
    voxel_ml: float
    ceiling: Overlap | None = None
    surfaces: SurfaceScores | None = None
    parent_overlap: Overlap | None = None
    diagonal_mm: float = math.nan
    lesions: Lesions | None = None
    brier: float = math.nan
    certainty: float = math.nan
    site: str = ""
    side: str = ""
    patient: str = ""

    def row(self, convention: EmptyMaskConvention = THORAX) -> dict[str, Any]:
        """Return labels and metrics by name, for a table; metrics not measured are left out.

        Args:
            convention: Convention for empty masks.
        """
        labels = {"case": self.case, "site": self.site, "region": self.region, "side": self.side}
        return labels | self.metrics(convention).reported

    def metrics(self, convention: EmptyMaskConvention = THORAX) -> AppliedMetrics:
        """Return the metrics by name, as reported and as they enter means."""
        ceiling = self.ceiling.dice if self.ceiling else math.nan
        measured = self._overlaps() | self._distances() | self._volumes() | self._shares()
        rest = {"brier": self.brier, "certainty": self.certainty, "ceiling_dice": ceiling}
        return convention.apply(
            measured | self._lesions() | rest,
            truth_empty=not self.overlap.truth,
            predicted_empty=not self.overlap.predicted,
            diagonal_mm=self.diagonal_mm,
        )

    def _overlaps(self) -> dict[str, float]:
        return {name: getattr(self.overlap, name) for name in OVERLAPS}

    def _distances(self) -> dict[str, float]:
        return {} if self.surfaces is None else asdict(self.surfaces)

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

    def _lesions(self) -> dict[str, float]:
        lesions = self.lesions
        if lesions is None:
            return {}
        counts = (lesions.truth, lesions.predicted, lesions.detected, lesions.true_positives)
        rates = (lesions.sensitivity, lesions.precision, lesions.f1)
        return dict(zip(LESION_METRICS, (*counts, *rates), strict=True))


def scores_csv(scores: Sequence[Score], convention: EmptyMaskConvention = THORAX) -> str:
    """Write the scores as CSV, one row per case and region; undefined values are empty."""
    return _csv(scores, convention, SCORE_COLUMNS)


def sides_csv(scores: Sequence[Score], convention: EmptyMaskConvention = THORAX) -> str:
    """Write the scores of single sides as CSV, one row per case, region and side."""
    return _csv(scores, convention, SIDE_COLUMNS)


def _csv(scores: Sequence[Score], convention: EmptyMaskConvention, columns: Sequence[str]) -> str:
    rows = (score.row(convention) for score in scores)
    return as_csv(({name: row[name] for name in columns if name in row} for row in rows), columns)


@dataclass(frozen=True)
class ScoreRow:
    """One row of a score table.

    Args:
        case: Name of the case.
        region: Name of the region.
        metrics: Metric → value; NaN if undefined.
        site: Site of the case; may be empty.
        side: ``right`` or ``left``; empty for both together.
        seed: Seed of the run, in tables of several runs.
        fold: Fold of the run, in tables of several runs.
    """

    case: str
    region: str
    metrics: Mapping[str, float]
    site: str = ""
    side: str = ""
    seed: str = ""
    fold: str = ""

    def __getitem__(self, metric: str) -> float:
        """Return the value of a metric; NaN if it is undefined or was not measured."""
        return self.metrics.get(metric, math.nan)


def read_score_rows(
    rows: Iterable[Mapping[str, str]], metrics: Sequence[str] | None = None, *, source: str
) -> Iterator[ScoreRow]:
    """Read the rows of a score table.

    Args:
        rows: Column → cell, as `thorax.common.tables.read_csv` returns them.
        metrics: Columns to read as numbers; None for all that are not labels. Empty cells are NaN.
        source: Name of the table, for errors.

    Raises:
        InputError: A cell is not a number.

    Example:
        >>> rows = [{"case": "ann", "region": "lung", "dice": "0.5"}]
        >>> next(read_score_rows(rows, source="scores.csv"))["dice"]
        0.5
    """
    for row in rows:
        labels = {name: row.get(name, "") for name in LABELS}
        names = [name for name in row if name not in LABELS] if metrics is None else metrics
        yield ScoreRow(metrics={name: _number(row, name, source) for name in names}, **labels)


def _number(row: Mapping[str, str], metric: str, source: str) -> float:
    cell = row[metric]
    try:
        return float(cell or "nan")
    except ValueError:
        labels = ", ".join(filter(None, (row.get("case"), row.get("region"))))
        raise InputError(
            f"{source}: `{metric}` must be a number, got {cell!r} in row {labels or '?'}; correct "
            "the file or create it again"
        ) from None
