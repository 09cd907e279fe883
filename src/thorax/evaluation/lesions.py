"""Lesion-wise detection: sensitivity, precision and F1 over connected components."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import mask_box

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner belong to one lesion (26 neighbours)."""

_ROUNDING = 1e-9
"""Relative: 27 voxels of 0.001 mL must not be smaller than 0.027 mL."""

Mask = NDArray[np.bool_]

MaskName = Literal["truth", "predicted"]


@dataclass(frozen=True)
class Lesion:
    """One connected component of the truth or of the prediction.

    Args:
        mask: The mask that contains it.
        volume_ml: Volume, in mL.
        overlap: Share of its volume that is in the other mask.
        matched: True for a lesion of the truth that is detected, and for a predicted component that
            is a true positive.
    """

    mask: MaskName
    volume_ml: float
    overlap: float
    matched: bool


@dataclass(frozen=True)
class Lesions:
    """Counts of lesions in one scan or several: counts can be added.

    Detected lesions and true positives are counted separately, because components do not pair up
    one to one: if one predicted component covers two lesions, both lesions are detected and there
    is one true positive.

    Args:
        truth: Lesions in the truth.
        predicted: Components of the prediction.
        detected: Lesions of the truth that the prediction overlaps.
        true_positives: Predicted components that overlap the truth.

    Example:
        >>> Lesions(truth=2, predicted=1, detected=2, true_positives=1) + Lesions(2, 3)
        Lesions(truth=4, predicted=4, detected=2, true_positives=1)
        >>> Lesions(truth=4, predicted=4, detected=2, true_positives=1).f1
        0.3333333333333333
    """

    truth: int = 0
    predicted: int = 0
    detected: int = 0
    true_positives: int = 0

    def __add__(self, other: "Lesions") -> "Lesions":
        return Lesions(
            self.truth + other.truth,
            self.predicted + other.predicted,
            self.detected + other.detected,
            self.true_positives + other.true_positives,
        )

    @classmethod
    def of(cls, lesions: Iterable[Lesion]) -> "Lesions":
        """Count the lesions of a list.

        Example:
            >>> truth, predicted = np.zeros((2, 1, 1, 7), bool)
            >>> truth[..., [0, 1, 3, 6]] = predicted[..., 1:4] = True
            >>> Lesions.of(list_lesions(truth, predicted, voxel_ml=0.5))
            Lesions(truth=3, predicted=1, detected=2, true_positives=1)
            >>> Lesions.of(list_lesions(truth, predicted, voxel_ml=0.5, smallest_ml=1.0))
            Lesions(truth=1, predicted=1, detected=1, true_positives=1)
        """
        listed = list(lesions)
        truth, predicted = (
            [lesion.matched for lesion in listed if lesion.mask == mask]
            for mask in ("truth", "predicted")
        )
        return cls(len(truth), len(predicted), sum(truth), sum(predicted))

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that were detected; NaN without lesions."""
        return self.detected / self.truth if self.truth else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted components that are true positives; NaN without components."""
        return self.true_positives / self.predicted if self.predicted else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision.

        Empty masks follow the rule of Dice (`thorax.imaging.overlap.Overlap`): NaN without lesions
        in truth and prediction, 0 if only one has lesions, and 0 if no lesion was detected.
        """
        if not self.truth and not self.predicted:
            return math.nan
        if not self.detected or not self.true_positives:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


def list_lesions(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    voxel_ml: float,
    smallest_ml: float = 0.0,
    overlap: float = 0.0,
) -> list[Lesion]:
    """List the lesions of two masks of one scan: those of the truth, then those of the prediction.

    Args:
        truth: Binary mask with three axes; each connected component is a lesion.
        predicted: Binary mask of the same shape.
        voxel_ml: Volume of a voxel, in mL.
        smallest_ml: Components smaller than this are removed from both masks first. A lesion that
            only a removed component overlaps is therefore not detected.
        overlap: A lesion is detected, and a predicted component is a true positive, if more than
            this share of its volume is in the other mask; at 0 one voxel is enough.

    Raises:
        ValueError: The shapes differ, there are not three axes, or `overlap` is not 0 or more and
            below 1.

    Example:
        >>> truth, predicted = np.zeros((2, 1, 1, 7), bool)
        >>> truth[..., [0, 1, 3, 6]] = predicted[..., 1:4] = True
        >>> [(lesion.mask, lesion.volume_ml, lesion.overlap)
        ...  for lesion in list_lesions(truth, predicted, voxel_ml=0.5)][:3]
        [('truth', 1.0, 0.5), ('truth', 0.5, 1.0), ('truth', 0.5, 0.0)]
    """
    if truth.shape != predicted.shape or truth.ndim != 3:
        raise ValueError(
            f"masks must have the same shape with three axes, got {truth.shape} and "
            f"{predicted.shape}"
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"`overlap` must be 0 or more and below 1, got {overlap}")
    box = mask_box(truth, predicted)
    smallest = smallest_ml / voxel_ml * (1 - _ROUNDING)
    lesions, components = (_label(mask[box] != 0, smallest) for mask in (truth, predicted))
    return [
        *_compare(lesions, components != 0, "truth", voxel_ml, overlap),
        *_compare(components, lesions != 0, "predicted", voxel_ml, overlap),
    ]


def _label(mask: Mask, smallest: float) -> NDArray[np.int32]:
    """Number the components of at least `smallest` voxels from 1; 0 elsewhere."""
    numbers, _ = ndimage.label(mask, TOUCHING)
    keep = np.bincount(numbers[mask], minlength=1) >= max(smallest, 1)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[numbers]


def _compare(
    components: NDArray[np.int32], other: Mask, name: MaskName, voxel_ml: float, share: float
) -> list[Lesion]:
    """Compare each component with the other mask."""
    sizes = np.bincount(components[components > 0])[1:]
    inside = np.bincount(components[(components > 0) & other], minlength=len(sizes) + 1)[1:]
    return [
        Lesion(name, size * voxel_ml, common / size, common > share * size)
        for size, common in zip(sizes.tolist(), inside.tolist(), strict=True)
    ]
