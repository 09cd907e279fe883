"""Lesions counted one by one: how many were found, and how many of those predicted are true."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from thorax.imaging.grid import mask_box

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner are of one lesion (26 neighbours)."""

ROUNDING = 1e-9
"""Relative: 27 voxels of 0.001 mL are no smaller than 0.027 mL."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Lesions:
    """Counts of lesions in one scan, or in several: counts add up.

    Found and true are counted separately, because pieces do not pair up one to one: where one
    predicted piece covers two lesions, both are found and one prediction is true.

    Args:
        truth: Lesions in the truth.
        predicted: Pieces in the prediction.
        found: Those of the truth that the prediction overlaps.
        true: Those of the prediction that overlap the truth.

    Example:
        >>> Lesions(truth=2, predicted=1, found=2, true=1) + Lesions(truth=2, predicted=3)
        Lesions(truth=4, predicted=4, found=2, true=1)
        >>> Lesions(truth=4, predicted=4, found=2, true=1).f1
        0.3333333333333333
    """

    truth: int = 0
    predicted: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: "Lesions") -> "Lesions":
        return Lesions(
            self.truth + other.truth,
            self.predicted + other.predicted,
            self.found + other.found,
            self.true + other.true,
        )

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that were found; NaN if there are none."""
        return self.found / self.truth if self.truth else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted pieces that are true; NaN if there are none."""
        return self.true / self.predicted if self.predicted else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision.

        As Dice for empty masks (`overlap.Overlap`): NaN if there are lesions neither in the truth
        nor in the prediction, 0 if there are some in just one of them, or if none was found.
        """
        if not self.truth and not self.predicted:
            return math.nan
        if not self.found or not self.true:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


def count_lesions(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    voxel_ml: float,
    smallest_ml: float = 0.0,
    overlap: float = 0.0,
) -> Lesions:
    """Count the lesions of two masks of one scan.

    Args:
        truth: Binary mask with three axes; each of its connected pieces is a lesion.
        predicted: Another of the same shape.
        voxel_ml: Volume of a voxel, in mL.
        smallest_ml: Pieces smaller than this are dropped from both masks before anything else, so
            that a lesion which only a dropped piece overlaps is not found.
        overlap: A piece counts as found, or as true, if more than this share of its volume lies in
            the other mask; at 0 a voxel is enough.

    Raises:
        ValueError: The shapes differ, there are not three axes, or the share is not within 0 to 1
            (1 excluded).

    Example:
        >>> truth, predicted = np.zeros((2, 1, 1, 7), bool)
        >>> truth[..., [0, 1, 3, 6]] = predicted[..., 1:4] = True
        >>> count_lesions(truth, predicted, voxel_ml=0.5)
        Lesions(truth=3, predicted=1, found=2, true=1)
        >>> count_lesions(truth, predicted, voxel_ml=0.5, smallest_ml=1.0)
        Lesions(truth=1, predicted=1, found=1, true=1)
    """
    if truth.shape != predicted.shape or truth.ndim != 3:
        raise ValueError(
            f"masks must have one shape of three axes, got {truth.shape} and {predicted.shape}"
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"`overlap` must be 0 or more and below 1, got {overlap}")
    box = mask_box(truth, predicted)
    least = smallest_ml / voxel_ml * (1 - ROUNDING)
    true_pieces, predicted_pieces = (_pieces(mask[box] != 0, least) for mask in (truth, predicted))
    found = _covered(true_pieces, predicted_pieces != 0, overlap)
    true = _covered(predicted_pieces, true_pieces != 0, overlap)
    return Lesions(len(found), len(true), int(found.sum()), int(true.sum()))


def _pieces(mask: Mask, least: float) -> NDArray[np.int32]:
    """Number the pieces of at least so many voxels from 1; 0 elsewhere."""
    numbers, _ = ndimage.label(mask, TOUCHING)
    keep = np.bincount(numbers[mask], minlength=1) >= max(least, 1)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[numbers]


def _covered(pieces: NDArray[np.int32], other: Mask, share: float) -> Mask:
    """Tell of each piece whether more than a share of it lies in the other mask."""
    sizes = np.bincount(pieces[pieces > 0])[1:]
    inside = np.bincount(pieces[(pieces > 0) & other], minlength=len(sizes) + 1)[1:]
    return inside > share * sizes
