"""Score two masks of one scan: metrics of each region, and of each side of the patient."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.params import EvaluateParams
from thorax.evaluation.calibration import ReliabilityCounts, count_reliability
from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion, Lesions, list_lesions
from thorax.evaluation.scores import Score
from thorax.evaluation.surface_distance import surface_distances
from thorax.imaging.grid import check_same_grid, mask_box
from thorax.imaging.lung_sides import LUNG, SIDE_NAMES, mask_sides
from thorax.imaging.overlap import Overlap, overlap
from thorax.imaging.regions import Regions, label_slabs
from thorax.io import Scan

TOLERANCE_MM = 1.0
"""Tolerance of the surface Dice, for regions without a setting."""

Mask = NDArray[np.bool_]

Labels = NDArray[np.uint8]

SideLabels = Mapping[str, Sequence[int]]
"""``left`` and ``right`` → label values that are on this side of the patient."""

NO_SIDES: SideLabels = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One of two masks, cropped to the box around both.

    Args:
        labels: Label values, shape ``(n, x, y)``.
        regions: Label values of each region.
        sides: 1 right and 2 left in and around the lungs, same shape; None if not determined.
    """

    labels: Labels
    regions: Regions
    sides: Labels | None

    def mask(self, region: str, side: int = 0) -> Mask:
        """Return the mask of a region, or of one side of it: 1 right, 2 left."""
        mask = np.isin(self.labels, self.regions.labels[region])
        return mask & (self.sides == side) if side else mask


@dataclass(frozen=True, eq=False)
class MaskPair:
    """The true and the predicted mask of a scan, read by `open_pair`.

    Args:
        truth: The true mask.
        predicted: The mask to score; it has the same regions.
        spacing_mm: Spacing along the axes of the masks.
        voxel_ml: Volume of a voxel; correct for sheared slices, too.
        diagonal_mm: Diagonal of the scan.
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
        """Return a region of both masks, or one side of it, determined in each mask separately."""
        return self.truth.mask(region, side), self.predicted.mask(region, side)


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case, or of several: scores can be added.

    Args:
        whole: One score per case and region.
        sides: One score per case, region and side.
        reliability: Reliability counts by region, if probabilities were kept.
        lesions: One row per lesion of the regions that are scored lesion-wise.
    """

    whole: list[Score] = field(default_factory=list)
    sides: list[Score] = field(default_factory=list)
    reliability: dict[str, ReliabilityCounts] = field(default_factory=dict)
    lesions: list[LesionRow] = field(default_factory=list)

    def __add__(self, other: "CaseScores") -> "CaseScores":
        regions = dict.fromkeys((*self.reliability, *other.reliability))
        zero = ReliabilityCounts.none()
        added = {
            region: self.reliability.get(region, zero) + other.reliability.get(region, zero)
            for region in regions
        }
        return CaseScores(
            self.whole + other.whole,
            self.sides + other.sides,
            added,
            self.lesions + other.lesions,
        )


def open_pair(
    truth: Scan,
    predicted: Scan,
    regions: Regions,
    *,
    predicted_regions: Regions | None = None,
    sides: tuple[SideLabels, SideLabels] = (NO_SIDES, NO_SIDES),
    sided: bool = True,
) -> MaskPair:
    """Read two masks of a scan.

    Each mask is divided by the shape of its own lungs, except voxels whose label has a side.

    Args:
        truth: The true mask.
        predicted: The mask to score, on the same grid; its affine may differ as
            `check_same_grid` permits.
        regions: Label values of each region.
        predicted_regions: Label values in the predicted mask, if they differ.
        sides: Label values on each side, of the true and of the predicted mask.
        sided: True to separate the right and the left lung.

    Raises:
        InputError: The grids differ, or a mask contains labels of no region.
    """
    check_same_grid(predicted, truth)
    regions_of = regions, predicted_regions or regions
    labels_of = [_labels(*mask) for mask in zip((truth, predicted), regions_of, strict=True)]
    box, with_sides = mask_box(*labels_of), sided and LUNG in regions.names
    true_map, predicted_map = (
        LabelMap(
            labels[box].copy(), named, _sides(labels, named, box, known) if with_sides else None
        )
        for labels, named, known in zip(labels_of, regions_of, sides, strict=True)
    )
    grid = truth.grid
    x_mm, y_mm, z_mm = grid.spacing_mm
    diagonal_mm = math.hypot(*np.multiply(grid.shape, grid.spacing_mm))
    return MaskPair(true_map, predicted_map, (z_mm, x_mm, y_mm), grid.voxel_ml, diagonal_mm)


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
        settings: Tolerances, and the regions scored lesion-wise.
        case: Name of the case.
        site: Site of the case.
        patient: Patient of the case; empty if every case is from a different patient.
        ceiling: Overlap of the truth with itself after the canvas, by region.
        reliabilities: Reliability counts of the probabilities, by region.
        certainties: Mean certainty of the model, by region.
    """
    reliability = dict(reliabilities or {})
    origin: dict[str, Any] = {"site": site, "patient": patient}
    whole, sides, lesion_rows = [], [], []
    for region in pair.regions:
        extra: dict[str, Any] = {
            "ceiling": (ceiling or {}).get(region),
            "brier": reliability[region].brier if region in reliability else math.nan,
            "certainty": (certainties or {}).get(region, math.nan),
        }
        if region in settings.lesions:
            lesions = _lesions(pair, region, settings)
            extra["lesions"] = Lesions.of(lesions)
            lesion_rows += [LesionRow(case, region, lesion) for lesion in lesions]
        whole.append(Score(case, region, **origin, **_measure(pair, region, settings), **extra))
        for side, name in SIDE_NAMES.items() if pair.truth.sides is not None else ():
            measured = _measure(pair, region, settings, side=side)
            sides.append(Score(case, region, side=name, **origin, **measured))
    return CaseScores(whole, sides, reliability, lesion_rows)


def measure_reliability(
    probabilities: Mapping[str, Scan], truth: Scan, regions: Regions
) -> dict[str, ReliabilityCounts]:
    """Compare the probabilities of regions with the truth, slab by slab.

    Args:
        probabilities: Probabilities by region, on the grid of the truth, as
            ``thorax predict --probabilities`` writes them.
        truth: The true mask.
        regions: Label values of each region.

    Raises:
        InputError: The grids differ, or the truth contains labels of no region.
    """
    for scan in probabilities.values():
        check_same_grid(scan, truth)
    counts = dict.fromkeys(probabilities, ReliabilityCounts.none())
    for start, planes in label_slabs(truth) if counts else ():
        split = dict(zip(regions.names, regions.split(planes), strict=True))
        for region, scan in probabilities.items():
            levels = np.rint(scan.planes(start, start + len(planes)) * 255).astype(np.uint8)
            counts[region] += count_reliability(levels, split[region])
    return counts


def _labels(mask: Scan, regions: Regions) -> Labels:
    x, y, depth = mask.grid.shape
    labels = np.empty((depth, x, y), dtype=np.uint8)
    for start, planes in label_slabs(mask):
        regions.check(planes)
        labels[start : start + len(planes)] = planes
    return labels


def _sides(labels: Labels, regions: Regions, box: tuple[slice, ...], known: SideLabels) -> Labels:
    sides = mask_sides(np.isin(labels, regions.labels[LUNG]))[box].copy()
    for side, name in SIDE_NAMES.items():
        sides[np.isin(labels[box], known.get(name, ()))] = side
    return sides


def _measure(
    pair: MaskPair, region: str, settings: EvaluateParams, *, side: int = 0
) -> dict[str, Any]:
    """Measure a region, or one side of it, as keyword arguments of `Score`."""
    truth, predicted = pair.masks(region, side)
    first = pair.regions[0]
    distances = surface_distances(truth, predicted, pair.spacing_mm)
    return {
        "overlap": overlap(truth, predicted),
        "voxel_ml": pair.voxel_ml,
        "surfaces": distances.scores(settings.tolerance_mm.get(region, TOLERANCE_MM)),
        "diagonal_mm": pair.diagonal_mm,
        "parent_overlap": None if region == first else overlap(*pair.masks(first, side)),
    }


def _lesions(pair: MaskPair, region: str, settings: EvaluateParams) -> list[Lesion]:
    truth, predicted = pair.masks(region)
    return list_lesions(
        truth,
        predicted,
        voxel_ml=pair.voxel_ml,
        smallest_ml=settings.smallest_lesion_ml,
        overlap=settings.lesion_overlap,
    )
