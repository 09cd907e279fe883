"""Overlap of a predicted mask and the truth, as counts that can be added."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of two masks of the same scan, or of parts of it.

    Counts of parts add up to the counts of the whole, so a volume may be scored slab by slab and
    cases may be pooled. Slices are never averaged.

    Empty masks: if truth and prediction are both empty, Dice and IoU are *undefined* (NaN) and
    means omit the case. If only one of them is empty, both are 0. nnU-Net and surface-distance
    define Dice in the same way.

    Args:
        both: Voxels in truth and prediction.
        truth: Voxels in the truth.
        predicted: Voxels in the prediction.

    Example:
        >>> Overlap(both=3, truth=4, predicted=6).dice
        0.6
        >>> Overlap(both=3, truth=4, predicted=6) + Overlap(0, 0, 2)
        Overlap(both=3, truth=4, predicted=8)
    """

    both: int = 0
    truth: int = 0
    predicted: int = 0

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.both + other.both, self.truth + other.truth, self.predicted + other.predicted
        )

    @property
    def dice(self) -> float:
        """Dice coefficient, 2·both / (truth + predicted); NaN if both masks are empty."""
        total = self.truth + self.predicted
        return 2 * self.both / total if total else float("nan")

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard index); NaN if both masks are empty."""
        union = self.truth + self.predicted - self.both
        return self.both / union if union else float("nan")

    @property
    def sensitivity(self) -> float:
        """Share of the truth that was predicted (recall); NaN if the truth is empty."""
        return self.both / self.truth if self.truth else float("nan")

    @property
    def precision(self) -> float:
        """Share of the prediction that is true (positive predictive value); NaN if it is empty."""
        return self.both / self.predicted if self.predicted else float("nan")


def overlap(truth: NDArray[Any], predicted: NDArray[Any]) -> Overlap:
    """Count the overlap of two binary masks of one shape.

    Raises:
        ValueError: The shapes differ.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"masks must have one shape, got {truth.shape} and {predicted.shape}")
    truth, predicted = truth.astype(bool, copy=False), predicted.astype(bool, copy=False)
    return Overlap(
        both=int(np.count_nonzero(truth & predicted)),
        truth=int(np.count_nonzero(truth)),
        predicted=int(np.count_nonzero(predicted)),
    )


def mean_defined(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none.

    Example:
        >>> mean_defined([0.5, float("nan"), 1.0])
        0.75
    """
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
