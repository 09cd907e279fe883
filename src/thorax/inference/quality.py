"""How far a segmentation can be trusted, worked out without the truth.

All figures are of the canvas. None replaces a look at the mask; they say which to look at first.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.lung_sides import LUNG, PLAUSIBLE_ML, side_names
from thorax.imaging.overlap import overlap
from thorax.imaging.placement import place_whole
from thorax.models.spec import ExpectedDiceModel

LEAST_CERTAINTY = 0.9
"""Certainty below which a region is said to be in doubt."""

LEAST_AGREEMENT = 0.95
"""Dice between variants below which a region is said to be in doubt."""

LEAST_CONTINUITY = 0.5
"""Dice of neighbouring planes below which a region is said to jump."""

LEAST_PLANES = 6
"""Planes that a region must have for its continuity to be told."""

LEAST_SIDE = 0.1
"""Share of both lungs below which a side is said to be missing; the left one has about 0.45."""

STRAY = 0.01
"""What ends a region is no stray speck if at least this share of the region lies there."""

_AT_A_TIME = 32
"""Planes of which certainty is worked out together, because at twice the size they grow large."""

Masks = NDArray[np.bool_]


def continuity(mask: Masks) -> float | None:
    """The least Dice of neighbouring planes, in the middle two thirds of the region.

    A region that stops for some planes and goes on after them gives 0: planes on either side of
    the gap share a pixel. Where they share none, as lesions in several places do, the gap does not
    count. Nor do planes beyond which less than a hundredth of the region lies: a speck far above a
    lung would make all between a gap, and is a matter of cleaning, not of planes that are missing.
    """
    pixels = np.count_nonzero(mask, axis=(1, 2))
    below, above = np.cumsum(pixels), np.cumsum(pixels[::-1])[::-1]
    least = STRAY * pixels.sum()
    shown = np.flatnonzero((pixels > 0) & (below >= least) & (above >= least)).tolist()
    if len(shown) < LEAST_PLANES:
        return None
    sixth = (shown[-1] - shown[0] + 1) // 6
    first, last = shown[0] + sixth, shown[-1] - sixth
    found = [
        _alike(mask, low, high)
        for low, high in itertools.pairwise(shown)
        if high > first and low < last
    ]
    return min((dice for dice in found if dice is not None), default=None)


def agreement(masks: Sequence[Masks]) -> float | None:
    """The least Dice of any two masks; None for a single one, or if none finds anything."""
    pairs = [overlap(one, other).dice for one, other in itertools.combinations(masks, 2)]
    known = [dice for dice in pairs if dice == dice]
    return min(known) if known else None


def certainty(probabilities: NDArray[np.float32], *, threshold: float) -> float | None:
    """How much the probabilities look like those of a mask: 1 where each pixel is.

    A network that is sure of itself gives area fractions: 0 and 1, and what lies between along a
    border. So the mask that follows from the probabilities is drawn at twice the resolution, and
    its area fractions f are compared with the probabilities p by ``2 Σ min(p, f) / Σ (p + f)``.

    Args:
        probabilities: Shape ``(N, H, W)``, H as large as W.
        threshold: Of the mask.

    Returns:
        0 to 1; None where nothing was found.
    """
    side = probabilities.shape[1]
    finer = place_whole((2 * side, 2 * side), canvas=side)
    common = whole = drawn = 0.0
    for start in range(0, len(probabilities), _AT_A_TIME):
        slab = probabilities[start : start + _AT_A_TIME]
        fractions = finer.place(finer.restore(slab) >= threshold, fill=0.0)
        common += float(np.minimum(slab, fractions).sum(dtype=np.float64))
        drawn += float(fractions.sum(dtype=np.float64))
        whole += float(slab.sum(dtype=np.float64))
    return 2 * common / (whole + drawn) if drawn else None


@dataclass(frozen=True)
class QualityScores:
    """What speaks for and against one region of one scan.

    Args:
        certainty: See `certainty`; None where nothing was found.
        agreement: Least Dice between two variants or models; None where there was but one.
        continuity: Least Dice of two neighbouring planes within the region, its ends left out;
            None where it has fewer than six planes. See `continuity`.
    """

    certainty: float | None
    agreement: float | None
    continuity: float | None

    def warnings(self, region: str, expectation: ExpectedDiceModel | None = None) -> list[str]:
        """Why to look at this region, in words.

        Args:
            region: Its name.
            expectation: How sure the model was on held-out cases, where that is known.
        """
        found = []
        least = expectation.least_certainty if expectation else LEAST_CERTAINTY
        if self.certainty is not None and self.certainty < least:
            usual = f"; on held-out cases mostly above {least:.2f}" if expectation else ""
            found.append(
                f"{region}: the network is not sure of itself ({self.certainty:.2f}{usual})"
            )
        if self.agreement is not None and self.agreement < LEAST_AGREEMENT:
            found.append(f"{region}: variants agree by a Dice of {self.agreement:.2f} only")
        if self.continuity is not None and self.continuity < LEAST_CONTINUITY:
            found.append(f"{region}: neighbouring planes differ (Dice {self.continuity:.2f})")
        return found


def quality_scores(
    probabilities: NDArray[np.float32], each: Sequence[Masks], *, threshold: float
) -> list[QualityScores]:
    """The doubt about each region.

    Args:
        probabilities: Of the mean over variants, after cleaning, ``(N, H, W, R)``.
        each: Masks of each variant, of the same shape.
        threshold: Of the masks.
    """
    return [
        QualityScores(
            certainty(probabilities[..., region], threshold=threshold),
            agreement([one[..., region] for one in each]),
            continuity(probabilities[..., region] >= threshold),
        )
        for region in range(probabilities.shape[-1])
    ]


def plausibility_warnings(statistics: dict[str, Any]) -> Iterator[str]:
    """What is unlike a whole chest in the volumes of the lung: too small, one-sided, cut off.

    Args:
        statistics: As `thorax.inference.measurements.RegionMeasurements` gives them; without a region
            `lung` nothing is said.
    """
    lung = statistics["regions"].get(LUNG)
    if lung is None:
        return
    volume = lung["whole"]["volume_ml"]
    low, high = PLAUSIBLE_ML
    if not low <= volume <= high:
        yield f"{LUNG}: {volume:.0f} mL is unlike an adult's ({low} to {high} mL)"
    for side in side_names.values():
        if side in lung and lung[side]["volume_ml"] < LEAST_SIDE * volume:
            yield f"{LUNG}: hardly any of it is on the {side} ({lung[side]['volume_ml']:.0f} mL)"
    faces = ", ".join(lung["whole"]["touches"])
    if faces:
        yield f"{LUNG}: reaches the end of the scan ({faces}); some of it may not be there"


def _alike(mask: Masks, low: int, high: int) -> float | None:
    """Dice of two planes that follow each other; over a gap 0, or None if they share no pixel."""
    counts = overlap(mask[low], mask[high])
    if high - low == 1:
        return counts.dice
    return 0.0 if counts.both else None
