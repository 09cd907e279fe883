"""Scoring masks: from two files of one scan to the figures of each region, and of each side."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.params import EvaluateParams
from thorax.evaluation.calibration import ReliabilityCounts, count_reliability
from thorax.evaluation.lesions import Lesions, count_lesions
from thorax.evaluation.scores import Score
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.grid import check_same_grid, mask_box
from thorax.imaging.lung_sides import LUNG, mask_sides, side_names
from thorax.imaging.overlap import Overlap, overlap
from thorax.imaging.regions import Regions
from thorax.io import Scan

TOLERANCE_MM = 1.0
"""Of the surface Dice, for regions that have none of their own."""

Mask = NDArray[np.bool_]

Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One of two masks, without the planes, rows and columns where both are empty.

    Args:
        labels: Shape ``(n, x, y)``.
        regions: Which label values make which region.
        sides: 1 right and 2 left in and around the lungs, of the same shape; None if not told.
    """

    labels: Labels
    regions: Regions
    sides: Labels | None

    def mask(self, region: str, side: int = 0) -> Mask:
        """One region, or one side of it: 1 right, 2 left."""
        mask = np.isin(self.labels, self.regions.labels[region])
        return mask & (self.sides == side) if side else mask


@dataclass(frozen=True, eq=False)
class MaskPair:
    """The true mask and the predicted one of a scan, read by `open_pair`.

    Args:
        truth: The mask that is taken for true.
        predicted: The mask to score; it has the same regions.
        spacing_mm: Along the axes of the masks.
        voxel_ml: Volume of a voxel, also where the planes of a scan are sheared.
        diagonal_mm: Of the scan.
    """

    truth: LabelMap
    predicted: LabelMap
    spacing_mm: tuple[float, float, float]
    voxel_ml: float
    diagonal_mm: float

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions."""
        return self.truth.regions.names

    def masks(self, region: str, side: int = 0) -> tuple[Mask, Mask]:
        """One region of both, or one side of it as each mask has it."""
        return self.truth.mask(region, side), self.predicted.mask(region, side)


@dataclass(frozen=True)
class CaseScores:
    """What is known of a case, or of several.

    Args:
        whole: One a region.
        sides: One a region and side.
        reliability: Of the probabilities of each region, where there are any.
    """

    whole: list[Score] = field(default_factory=list)
    sides: list[Score] = field(default_factory=list)
    reliability: dict[str, ReliabilityCounts] = field(default_factory=dict)

    def __add__(self, other: "CaseScores") -> "CaseScores":
        regions = dict.fromkeys((*self.reliability, *other.reliability))
        nothing = ReliabilityCounts.none()
        added = {
            region: self.reliability.get(region, nothing) + other.reliability.get(region, nothing)
            for region in regions
        }
        return CaseScores(self.whole + other.whole, self.sides + other.sides, added)


def open_pair(
    truth: Scan,
    predicted: Scan,
    regions: Regions,
    *,
    predicted_regions: Regions | None = None,
    sided: bool = True,
) -> MaskPair:
    """Read two masks of a scan.

    Args:
        truth: The mask that is taken for true.
        predicted: The mask to score, on the same grid.
        regions: Which label values make which region.
        predicted_regions: The same for the predicted mask, if it is labelled otherwise.
        sided: Whether to tell the right lung from the left.

    Raises:
        InputError: They lie on different grids, or hold labels that no region names.
    """
    check_same_grid(predicted, truth)
    known = regions, predicted_regions or regions
    both = [_labels(*each) for each in zip((truth, predicted), known, strict=True)]
    box, told = mask_box(*both), sided and LUNG in regions.names
    first, second = (
        LabelMap(labels[box].copy(), each, _sides(labels, each, box) if told else None)
        for labels, each in zip(both, known, strict=True)
    )
    grid = truth.grid
    x_mm, y_mm, z_mm = grid.spacing_mm
    diagonal = math.hypot(*np.multiply(grid.shape, grid.spacing_mm))
    return MaskPair(first, second, (z_mm, x_mm, y_mm), grid.voxel_ml, diagonal)


def score_pair(
    pair: MaskPair,
    settings: EvaluateParams,
    *,
    case: str,
    site: str = "",
    patient: str = "",
    ceiling: Mapping[str, Overlap] | None = None,
    reliabilities: Mapping[str, ReliabilityCounts] | None = None,
    certainties: Mapping[str, float] | None = None,
) -> CaseScores:
    """Score each region of a case, and each side of it.

    Args:
        pair: The masks.
        settings: Tolerances, and which regions are counted lesion by lesion.
        case: Its name.
        site: Where it comes from.
        patient: Whose scan it is; empty: of a patient of its own.
        ceiling: The best that any network can reach on the canvas, by region.
        reliabilities: Of the probabilities, by region.
        certainties: How sure the model was, by region.
    """
    known = dict(reliabilities or {})
    about: dict[str, Any] = {"site": site, "patient": patient}
    whole, sides = [], []
    for region in pair.regions:
        of_whole: dict[str, Any] = {
            "ceiling": (ceiling or {}).get(region),
            "brier": known[region].brier if region in known else math.nan,
            "certainty": (certainties or {}).get(region, math.nan),
        }
        if region in settings.lesions:
            of_whole["lesions"] = _lesions(pair, region, settings)
        whole.append(Score(case, region, **about, **_figures(pair, region, settings), **of_whole))
        for side, name in side_names.items() if pair.truth.sides is not None else ():
            figures = _figures(pair, region, settings, side=side)
            sides.append(Score(case, region, side=name, **about, **figures))
    return CaseScores(whole, sides, known)


def measure_reliability(
    probabilities: Mapping[str, Scan], truth: Scan, regions: Regions
) -> dict[str, ReliabilityCounts]:
    """Compare the probabilities of regions with the truth, slab by slab.

    Args:
        probabilities: Of some regions, on the grid of the truth, as
            ``thorax predict --probabilities`` writes them.
        truth: The mask that is taken for true.
        regions: Which label values make which region.

    Raises:
        InputError: The grids differ, or the truth holds labels that no region names.
    """
    for one in probabilities.values():
        check_same_grid(one, truth)
    counts = dict.fromkeys(probabilities, ReliabilityCounts.none())
    for start, planes in truth.slabs() if counts else ():
        split = dict(zip(regions.names, regions.split(planes), strict=True))
        for region, one in probabilities.items():
            levels = np.rint(one.planes(start, start + len(planes)) * 255).astype(np.uint8)
            counts[region] += count_reliability(levels, split[region])
    return counts


def _labels(mask: Scan, regions: Regions) -> Labels:
    x, y, depth = mask.grid.shape
    labels = np.empty((depth, x, y), dtype=np.uint8)
    for start, planes in mask.slabs():
        regions.check(planes)
        labels[start : start + len(planes)] = planes
    return labels


def _sides(labels: Labels, regions: Regions, box: tuple[slice, ...]) -> Labels:
    return mask_sides(np.isin(labels, regions.labels[LUNG]))[box].copy()


def _figures(
    pair: MaskPair, region: str, settings: EvaluateParams, *, side: int = 0
) -> dict[str, Any]:
    truth, predicted = pair.masks(region, side)
    first = pair.regions[0]
    return {
        "overlap": overlap(truth, predicted),
        "voxel_ml": pair.voxel_ml,
        "surfaces": surface_distances(truth, predicted, pair.spacing_mm),
        "diagonal_mm": pair.diagonal_mm,
        "tolerance_mm": settings.tolerance_mm.get(region, TOLERANCE_MM),
        "within": None if region == first else overlap(*pair.masks(first, side)),
    }


def _lesions(pair: MaskPair, region: str, settings: EvaluateParams) -> Lesions:
    truth, predicted = pair.masks(region)
    return count_lesions(
        truth,
        predicted,
        voxel_ml=pair.voxel_ml,
        smallest_ml=settings.smallest_lesion_ml,
        overlap=settings.lesion_overlap,
    )
