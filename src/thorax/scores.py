"""Scores of predicted masks: volumetric, on the native grid, one case at a time."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thorax.canvases import open_mask
from thorax.errors import InputError
from thorax.overlap import Overlap, overlap
from thorax.regions import MOST_REGIONS, Regions
from thorax.scans import Scan
from thorax.tables import as_csv

COLUMNS = ("case", "region", "dice", "iou", "truth_ml", "predicted_ml", "ceiling_dice")


@dataclass(frozen=True)
class Score:
    """One region of one case.

    Args:
        case: Name of the case.
        region: Name of the region.
        overlap: Voxel counts on the native grid.
        voxel_ml: Volume of a voxel in mL.
        ceiling: Overlap of the truth with itself placed on the canvas and restored, where known.
    """

    case: str
    region: str
    overlap: Overlap
    voxel_ml: float
    ceiling: Overlap | None = None

    def row(self) -> dict[str, Any]:
        """The figures by name, for a table."""
        return {
            "case": self.case,
            "region": self.region,
            "dice": self.overlap.dice,
            "iou": self.overlap.iou,
            "truth_ml": self.overlap.truth * self.voxel_ml,
            "predicted_ml": self.overlap.predicted * self.voxel_ml,
            "ceiling_dice": self.ceiling.dice if self.ceiling else math.nan,
        }


def score_masks(truth: Scan, predicted: Scan, regions: Regions) -> dict[str, Overlap]:
    """Count the overlap of each region of two masks of one scan, slab by slab.

    Args:
        truth: The mask that is taken for true.
        predicted: The mask to score, on the same grid.
        regions: Which label values make which region, in both masks.

    Raises:
        InputError: The masks lie on different grids, or hold labels that no region names.
    """
    open_mask(predicted, truth)
    counts = dict.fromkeys(regions.names, Overlap())
    for start, planes in truth.slabs():
        found = predicted.planes(start, start + len(planes))
        pairs = zip(regions.names, regions.split(planes), regions.split(found), strict=True)
        for name, true_region, found_region in pairs:
            counts[name] += overlap(true_region, found_region)
    return counts


def found_regions(*masks: Scan) -> Regions:
    """One region for each label value that any of the masks holds.

    Raises:
        InputError: The masks are empty, or hold more label values than there may be regions.
    """
    values = {
        int(value) for mask in masks for _, planes in mask.slabs() for value in np.unique(planes)
    } - {0}
    if not 1 <= len(values) <= MOST_REGIONS:
        raise InputError(
            f"masks must show 1 to {MOST_REGIONS} label values unless regions are named, but "
            f"{' and '.join(str(mask.path) for mask in masks)} show {len(values)}; give --region"
        )
    return Regions({f"label_{value}": (value,) for value in sorted(values)})


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """Figures over cases for each region.

    Mean, median and SD (of the sample, n - 1) go over cases and leave out those where a figure
    is undefined because truth and prediction are both empty; ``cases`` says how many went in.
    Pooled figures add the voxels of all cases up first.

    Returns:
        Region → ``dice`` and ``iou`` (each ``mean``, ``median``, ``sd``, ``pooled``), the mean
        ``ceiling_dice`` and ``cases``.
    """
    by_region: dict[str, list[Score]] = {}
    for score in scores:
        by_region.setdefault(score.region, []).append(score)
    return {region: _summary(group) for region, group in by_region.items()}


def scores_csv(scores: Sequence[Score]) -> str:
    """The scores as CSV, one row a case and region; undefined figures are empty."""
    return as_csv((score.row() for score in scores), COLUMNS)


def _summary(group: Sequence[Score]) -> dict[str, Any]:
    pooled = sum((score.overlap for score in group), Overlap())
    rows = [score.row() for score in group]
    dices, ious, ceilings = (
        [row[key] for row in rows if not math.isnan(row[key])]
        for key in ("dice", "iou", "ceiling_dice")
    )
    return {
        "dice": _figures(dices, pooled.dice),
        "iou": _figures(ious, pooled.iou),
        "ceiling_dice": _rounded(statistics.fmean(ceilings)) if ceilings else None,
        "cases": len(dices),
    }


def _figures(values: Sequence[float], pooled: float) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "median": None, "sd": None, "pooled": None}
    return {
        "mean": _rounded(statistics.fmean(values)),
        "median": _rounded(statistics.median(values)),
        "sd": _rounded(statistics.stdev(values)) if len(values) > 1 else None,
        "pooled": _rounded(pooled),
    }


def _rounded(value: float) -> float:
    return round(value, 6)
