"""Quality checks of a segmentation without a reference mask.

All metrics are computed on the canvas. They show which masks to
review first, and do not replace a visual review.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.lung_sides import LUNG, PLAUSIBLE_ML, SIDE_NAMES
from thorax.imaging.overlap import overlap
from thorax.imaging.placement import place_whole
from thorax.inference.postprocessing import near_masks
from thorax.inference.statistics import ScanStatistics
from thorax.models.spec import ExpectedDiceModel

LEAST_CERTAINTY = 0.9
"""Certainty below which a region gets a warning."""

LEAST_AGREEMENT = 0.95
"""Dice between predictions below which a region gets a warning."""

LEAST_CONTINUITY = 0.5
"""Dice of neighbouring slices below which a region gets a warning."""

LEAST_SLICES = 6
"""Number of slices that a region needs for its continuity to be measured."""

LEAST_SIDE_SHARE = 0.1
"""Share of both lungs below which a side counts as missing; the left lung has about 0.45."""

LEAST_END_SHARE = 0.01
"""Smallest share of a region in and beyond a slice for the slice to be part of the region."""

_SLICES_PER_BLOCK = 32
"""Number of slices per block; at twice the resolution, whole scans take too much memory."""

Masks = NDArray[np.bool_]


def continuity(mask: Masks) -> float | None:
    """Return the lowest Dice of neighbouring slices in the middle two thirds of a region.

    A region that is interrupted for some slices gives 0 if the slices next to the gap overlap. If
    they do not overlap, as with lesions in several places, the gap is ignored. End slices with less
    than a hundredth of the region in and beyond them are ignored too: a fragment far above a lung
    is an error that postprocessing removes, not a gap in the lung.

    Args:
        mask: Shape ``(N, H, W)``.

    Returns:
        0 to 1; None for regions of fewer than six slices.
    """
    pixels = np.count_nonzero(mask, axis=(1, 2))
    below, above = np.cumsum(pixels), np.cumsum(pixels[::-1])[::-1]
    least = LEAST_END_SHARE * pixels.sum()
    slices = np.flatnonzero((pixels > 0) & (below >= least) & (above >= least)).tolist()
    if len(slices) < LEAST_SLICES:
        return None
    sixth = (slices[-1] - slices[0] + 1) // 6
    first, last = slices[0] + sixth, slices[-1] - sixth
    dices = [
        _neighbour_dice(mask, low, high)
        for low, high in itertools.pairwise(slices)
        if high > first and low < last
    ]
    return min((dice for dice in dices if dice is not None), default=None)


def least_agreement(masks: Sequence[Masks]) -> float | None:
    """Return the lowest Dice of any two masks; None for a single mask, or if all are empty."""
    dices = [overlap(first, second).dice for first, second in itertools.combinations(masks, 2)]
    return min((dice for dice in dices if not np.isnan(dice)), default=None)


def certainty(probabilities: NDArray[np.float32], *, threshold: float) -> float | None:
    """Return how closely the probabilities resemble the area fractions of a mask.

    A certain network gives area fractions: 0, 1, and intermediate values along a border. So the
    mask is computed from the probabilities at twice the resolution. Its area fractions f are
    compared with the probabilities p by ``2 Σ min(p, f) / Σ (p + f)``.

    Args:
        probabilities: Shape ``(N, H, W)`` with H = W.
        threshold: Probability threshold of the mask.

    Returns:
        0 to 1, where 1 is certain; None if the mask is empty.
    """
    side = probabilities.shape[1]
    finer = place_whole((2 * side, 2 * side), canvas=side)
    minimum = probability_sum = fraction_sum = 0.0
    for start in range(0, len(probabilities), _SLICES_PER_BLOCK):
        block = probabilities[start : start + _SLICES_PER_BLOCK]
        probability_sum += float(block.sum(dtype=np.float64))
        rows, columns = finer.voxels_near(near_masks(block, threshold))
        # Whole pixels, each of which is two by two voxels of the finer grid.
        x, y = (slice(span.start // 2, -(-span.stop // 2)) for span in (rows, columns))
        fine = slice(2 * x.start, 2 * x.stop), slice(2 * y.start, 2 * y.stop)
        fractions = _area_fractions(finer.restore_part(block, fine) >= threshold)
        minimum += float(np.minimum(block[:, x, y], fractions).sum(dtype=np.float64))
        fraction_sum += float(fractions.sum(dtype=np.float64))
    return 2 * minimum / (probability_sum + fraction_sum) if fraction_sum else None


def _area_fractions(fine: Masks) -> NDArray[np.float32]:
    """Return the share of each block of 2×2 pixels that a mask covers."""
    pairs = fine[:, ::2].view(np.uint8) + fine[:, 1::2].view(np.uint8)
    covered = pairs[..., ::2] + pairs[..., 1::2]
    return covered * np.float32(0.25)


@dataclass(frozen=True)
class QualityScores:
    """Quality metrics of one region of one scan.

    Args:
        certainty: See `certainty`; None if the region is empty.
        agreement: Lowest Dice between two variants or models; None if there is only one.
        continuity: Lowest Dice of neighbouring slices, without the ends of the region; None for
            regions of fewer than six slices. See `continuity`.
    """

    certainty: float | None
    agreement: float | None
    continuity: float | None

    def warnings(self, region: str, expected_dice: ExpectedDiceModel | None = None) -> list[str]:
        """Return reasons to review this region, one sentence each.

        Args:
            region: Name of the region.
            expected_dice: Certainty of the model on held-out cases, if it is known.
        """
        warnings = []
        least = expected_dice.least_certainty if expected_dice else LEAST_CERTAINTY
        if self.certainty is not None and self.certainty < least:
            usual = f"; on held-out cases mostly above {least:.2f}" if expected_dice else ""
            warnings.append(f"{region}: the network is uncertain ({self.certainty:.2f}{usual})")
        if self.agreement is not None and self.agreement < LEAST_AGREEMENT:
            warnings.append(f"{region}: variants or models disagree (Dice {self.agreement:.2f})")
        if self.continuity is not None and self.continuity < LEAST_CONTINUITY:
            warnings.append(f"{region}: neighbouring slices differ (Dice {self.continuity:.2f})")
        return warnings


def quality_scores(
    probabilities: NDArray[np.float32], masks: Sequence[Masks], *, threshold: float
) -> list[QualityScores]:
    """Return the quality metrics of each region.

    Args:
        probabilities: Mean over variants and models after postprocessing, ``(N, H, W, R)``.
        masks: Mask of each variant and model, each of the same shape.
        threshold: Probability threshold of the masks.
    """
    return [
        QualityScores(
            certainty(probabilities[..., region], threshold=threshold),
            least_agreement([mask[..., region] for mask in masks]),
            continuity(probabilities[..., region] >= threshold),
        )
        for region in range(probabilities.shape[-1])
    ]


def plausibility_warnings(statistics: ScanStatistics) -> Iterator[str]:
    """Return reasons to review the region `lung`: empty, implausible volume, or one-sided.

    Lungs that the field of view truncates may have any volume below the highest.
    """
    lung = statistics.regions.get(LUNG)
    if lung is None:
        return
    volume = lung.whole.volume_ml
    if volume == 0:
        yield f"{LUNG}: the mask is empty; the scan may show no lungs"
        return
    low, high = PLAUSIBLE_ML
    if volume > high or (volume < low and not lung.whole.touches_border):
        yield f"{LUNG}: {volume:.0f} mL is outside the range of adults ({low} to {high} mL)"
    for side in SIDE_NAMES.values():
        if side in lung.sides and lung.sides[side].volume_ml < LEAST_SIDE_SHARE * volume:
            yield f"{LUNG}: nearly no volume on the {side} ({lung.sides[side].volume_ml:.0f} mL)"


def truncation_notes(statistics: ScanStatistics) -> Iterator[str]:
    """Return a note if the field of view truncates the region `lung`: its volume is a part."""
    lung = statistics.regions.get(LUNG)
    if lung is not None and lung.whole.touches_border:
        faces = ", ".join(lung.whole.touches_border)
        yield f"{LUNG}: reaches the border of the scan ({faces}); it may be truncated"


def _neighbour_dice(mask: Masks, low: int, high: int) -> float | None:
    """Return the Dice of two consecutive slices; over a gap 0, or None if they do not overlap."""
    counts = overlap(mask[low], mask[high])
    if high - low == 1:
        return counts.dice
    return 0.0 if counts.both else None
