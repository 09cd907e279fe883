"""Whether probabilities mean what they say: of voxels at 0.8, are eight in ten in the truth?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10

Row = dict[str, float]


@dataclass(frozen=True, eq=False)
class ReliabilityCounts:
    """Voxel counts by level of probability, in scans or parts of them: counts add up.

    Voxels at level 0 that lie outside the truth are left out, here and in all figures below. They
    are nearly all of a scan, all of them right, and how many there are depends on the field of
    view: with them every Brier score would be near 0. Level 0 inside the truth is kept. So the
    lowest bin looks worse than it is: it lacks the voxels that were rightly given nothing at all.

    Args:
        inside: Voxels of the truth at each level, shape ``(top + 1,)``; level ``top`` is 1.
        outside: The same for voxels outside the truth; none at level 0.

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
        """No voxels at all, to add others to."""
        return cls(np.zeros(top + 1, np.int64), np.zeros(top + 1, np.int64))

    def __add__(self, other: "ReliabilityCounts") -> "ReliabilityCounts":
        if len(self.inside) != len(other.inside):
            raise ValueError(
                f"counts must have one number of levels, got {len(self.inside)} and "
                f"{len(other.inside)}"
            )
        return ReliabilityCounts(self.inside + other.inside, self.outside + other.outside)

    @property
    def voxels(self) -> int:
        """How many voxels were counted."""
        return int(self.inside.sum() + self.outside.sum())

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The probability that each level stands for."""
        return np.arange(len(self.inside)) / (len(self.inside) - 1)

    @property
    def brier(self) -> float:
        """Mean squared difference of probability and truth (Brier, Mon Weather Rev 1950;78:1-3).

        0 is best; 1 is worst; NaN if no voxels were counted.
        """
        errors = self.inside @ (1 - self.probabilities) ** 2
        errors += self.outside @ self.probabilities**2
        return float(errors / self.voxels) if self.voxels else float("nan")

    @property
    def expected_error(self) -> float:
        """Expected calibration error in ten bins (Naeini, Cooper & Hauskrecht, AAAI 2015).

        The mean over voxels of how far, in their bin, the share of the truth is from the mean
        probability; NaN if no voxels were counted.
        """
        filled = [row for row in self.curve() if row["voxels"]]
        apart = [abs(row["observed"] - row["mean_probability"]) * row["voxels"] for row in filled]
        return sum(apart) / self.voxels if filled else float("nan")

    def curve(self, bins: int = BINS) -> list[Row]:
        """The reliability curve, lowest bin first.

        Args:
            bins: How many bins of one width; each holds its lower bound, the last both.

        Returns:
            For each bin ``low``, ``high``, ``mean_probability``, ``observed`` (the share of its
            voxels that lie in the truth) and ``voxels``; mean and share are NaN in an empty bin.

        Raises:
            ValueError: There is not at least one bin.
        """
        if bins < 1:
            raise ValueError(f"`bins` must be at least 1, got {bins}")
        top = len(self.inside) - 1
        places = np.minimum(np.arange(top + 1) * bins // top, bins - 1)
        both = self.inside + self.outside
        inside, voxels, summed = (
            np.bincount(places, counts, minlength=bins)
            for counts in (self.inside, both, both * self.probabilities)
        )
        with np.errstate(invalid="ignore"):
            means, shares = summed / voxels, inside / voxels
        return [
            {
                "low": place / bins,
                "high": (place + 1) / bins,
                "mean_probability": float(means[place]),
                "observed": float(shares[place]),
                "voxels": int(voxels[place]),
            }
            for place in range(bins)
        ]


def count_reliability(
    levels: NDArray[Any], truth: NDArray[Any], top: int = 255
) -> ReliabilityCounts:
    """Count the voxels of a scan, or of a part of it, by their level of probability.

    Args:
        levels: Probabilities as whole numbers 0 to `top` (8 or 16 bits), any shape.
        truth: Binary mask of the same shape.
        top: The level that stands for probability 1.

    Raises:
        ValueError: The shapes differ, the levels are no whole numbers, or one lies beyond `top`.
    """
    if levels.shape != truth.shape:
        raise ValueError(
            f"levels and truth must have one shape, got {levels.shape} and {truth.shape}"
        )
    if not np.issubdtype(levels.dtype, np.integer):
        raise ValueError(f"levels must be whole numbers, got {levels.dtype}")
    inside = truth != 0
    counts = [_count(levels[chosen], top) for chosen in (inside, ~inside & (levels != 0))]
    return ReliabilityCounts(*counts)


def _count(levels: NDArray[Any], top: int) -> NDArray[np.int64]:
    lowest, highest = (int(levels.min()), int(levels.max())) if levels.size else (0, 0)
    if lowest < 0 or highest > top:
        raise ValueError(f"levels must be 0 to {top}, got {lowest if lowest < 0 else highest}")
    return np.bincount(levels, minlength=top + 1)
