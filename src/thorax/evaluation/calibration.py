"""Calibration of probabilities: Brier score, reliability curve, expected calibration error."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10

CurveBin = dict[str, float]


@dataclass(frozen=True, eq=False)
class ReliabilityCounts:
    """Voxel counts by probability level, of scans or parts of scans: counts can be added.

    Voxels at level 0 outside the truth are left out, here and in all metrics below. They are nearly
    all voxels of a scan, all of them correct, and their number depends on the field of view: they
    would make every Brier score nearly 0. Voxels at level 0 inside the truth are kept. The lowest
    bin therefore looks worse than it is: it lacks the voxels that correctly have probability 0.

    Args:
        inside: Voxels inside the truth at each level, shape ``(top + 1,)``; level ``top`` is 1.
        outside: Voxels outside the truth at each level; none at level 0.

    Example:
        >>> levels = np.array([0, 0, 2, 2, 4, 4], np.uint8)
        >>> truth = np.array([0, 1, 0, 1, 1, 1], bool)
        >>> counts = count_reliability(levels, truth, top=4)
        >>> counts.inside, counts.outside
        (array([1, 0, 1, 0, 2]), array([0, 0, 1, 0, 0]))
        >>> counts.brier  # (1² + 0.5² + 0.5² + 0² + 0²) / 5
        0.3
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    @classmethod
    def none(cls, top: int = 255) -> "ReliabilityCounts":
        """Counts of no voxels, the start of a sum."""
        return cls(np.zeros(top + 1, np.int64), np.zeros(top + 1, np.int64))

    def __add__(self, other: "ReliabilityCounts") -> "ReliabilityCounts":
        if len(self.inside) != len(other.inside):
            raise ValueError(
                f"counts must have the same number of levels, got {len(self.inside)} and "
                f"{len(other.inside)}"
            )
        return ReliabilityCounts(self.inside + other.inside, self.outside + other.outside)

    @property
    def voxels(self) -> int:
        """Number of counted voxels."""
        return int(self.inside.sum() + self.outside.sum())

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probability of each level."""
        return np.arange(len(self.inside)) / (len(self.inside) - 1)

    @property
    def brier(self) -> float:
        """Mean squared difference of probability and truth (Brier, Mon Weather Rev 1950;78:1-3).

        0 is best, 1 is worst; NaN if no voxels were counted.
        """
        errors = self.inside @ (1 - self.probabilities) ** 2
        errors += self.outside @ self.probabilities**2
        return float(errors / self.voxels) if self.voxels else float("nan")

    @property
    def expected_error(self) -> float:
        """Expected calibration error in ten bins; see `expected_calibration_error`."""
        return expected_calibration_error(self.curve())

    def curve(self, bins: int = BINS) -> list[CurveBin]:
        """Compute the reliability curve, lowest bin first.

        Args:
            bins: Number of bins of equal width; each includes its lower bound, the last also its
                upper bound.

        Returns:
            For each bin ``low``, ``high``, ``mean_probability``, ``observed`` (the share of its
            voxels inside the truth) and ``voxels``; mean and share are NaN in an empty bin.

        Raises:
            ValueError: `bins` is below 1.
        """
        if bins < 1:
            raise ValueError(f"`bins` must be at least 1, got {bins}")
        top = len(self.inside) - 1
        bin_of_level = np.minimum(np.arange(top + 1) * bins // top, bins - 1)
        both = self.inside + self.outside
        inside, voxels, summed = (
            np.bincount(bin_of_level, counts, minlength=bins)
            for counts in (self.inside, both, both * self.probabilities)
        )
        with np.errstate(invalid="ignore"):
            means, shares = summed / voxels, inside / voxels
        return [
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "mean_probability": float(means[number]),
                "observed": float(shares[number]),
                "voxels": int(voxels[number]),
            }
            for number in range(bins)
        ]


def expected_calibration_error(curve: Iterable[Mapping[str, float]]) -> float:
    """Expected calibration error of a curve (Naeini, Cooper & Hauskrecht, AAAI 2015).

    The mean over voxels of the distance, in their bin, between the observed share and the mean
    probability.

    Args:
        curve: Bins as `ReliabilityCounts.curve` returns them.

    Returns:
        NaN if no voxels were counted.

    Example:
        >>> expected_calibration_error([
        ...     {"mean_probability": 0.25, "observed": 0.5, "voxels": 10},
        ...     {"mean_probability": 0.75, "observed": 0.75, "voxels": 30},
        ... ])
        0.0625
    """
    filled = [row for row in curve if row.get("voxels", 0) > 0]
    voxels = sum(row["voxels"] for row in filled)
    errors = [abs(row["observed"] - row["mean_probability"]) * row["voxels"] for row in filled]
    return sum(errors) / voxels if voxels else float("nan")


def count_reliability(
    levels: NDArray[Any], truth: NDArray[Any], top: int = 255
) -> ReliabilityCounts:
    """Count the voxels of a scan, or of part of it, by probability level.

    Args:
        levels: Probabilities as integers 0 to `top` (8 or 16 bits), any shape.
        truth: Binary mask of the same shape.
        top: The level of probability 1.

    Raises:
        ValueError: The shapes differ, or the levels are not integers from 0 to `top`.
    """
    if levels.shape != truth.shape:
        raise ValueError(
            f"levels and truth must have the same shape, got {levels.shape} and {truth.shape}"
        )
    if not np.issubdtype(levels.dtype, np.integer):
        raise ValueError(f"levels must be integers, got {levels.dtype}")
    inside = truth != 0
    counts = [_count(levels[chosen], top) for chosen in (inside, ~inside & (levels != 0))]
    return ReliabilityCounts(*counts)


def _count(levels: NDArray[Any], top: int) -> NDArray[np.int64]:
    lowest, highest = (int(levels.min()), int(levels.max())) if levels.size else (0, 0)
    if lowest < 0 or highest > top:
        raise ValueError(f"levels must be 0 to {top}, got {lowest if lowest < 0 else highest}")
    return np.bincount(levels, minlength=top + 1)
