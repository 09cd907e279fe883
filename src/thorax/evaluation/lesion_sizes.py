"""Detection of lesions by their size, with intervals of shares."""

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from scipy import stats

from thorax.evaluation.lesions import Lesion, MaskName

LIMITS_ML = (0.1, 1.0, 10.0)
"""Volumes at which the next class of sizes begins, in mL."""

_ROUNDING = 1e-9
"""Relative: 100 voxels of 0.001 mL must not be smaller than 0.1 mL."""


@dataclass(frozen=True)
class SizeClass:
    """Lesions of one class of sizes; a predicted component has the class of its own volume.

    Args:
        name: Volumes of the class, in mL.
        lesions: Lesions of the truth.
        detected: Those that are detected.
        median_overlap: Median, over the lesions of the truth, of the share of their volume that is
            predicted; NaN without lesions.
        predicted: Components of the prediction.
        false_positives: Those that are no true positives.
    """

    name: str
    lesions: int
    detected: int
    median_overlap: float
    predicted: int
    false_positives: int

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that are detected; NaN without lesions."""
        return self.detected / self.lesions if self.lesions else math.nan


def size_classes(lesions: Iterable[Lesion]) -> list[SizeClass]:
    """Count lesions by size, the smallest first, then all of them together.

    Example:
        >>> lesions = [Lesion("truth", 0.5, 1.0, True), Lesion("predicted", 20.0, 0.0, False)]
        >>> [(size.name, size.detected, size.false_positives) for size in size_classes(lesions)]
        [('< 0.1', 0, 0), ('0.1 to 1', 1, 0), ('1 to 10', 0, 0), ('≥ 10', 0, 1), ('all', 1, 1)]
    """
    listed = list(lesions)
    by_size: list[list[Lesion]] = [[] for _ in range(len(LIMITS_ML) + 1)]
    for lesion in listed:
        by_size[size_index(lesion.volume_ml)].append(lesion)
    named = zip((*size_names(), "all"), (*by_size, listed), strict=True)
    return [_size_class(name, members) for name, members in named]


def size_index(volume_ml: float) -> int:
    """Return the position of the class of a volume: that of the smallest is 0.

    Example:
        >>> [size_index(volume_ml) for volume_ml in (0.099, 0.1, 100 * 0.001, 10.0)]
        [0, 1, 1, 3]
    """
    return sum(volume_ml * (1 + _ROUNDING) >= limit for limit in LIMITS_ML)


def size_names() -> Iterator[str]:
    """Return the names of the classes, the smallest first."""
    yield f"< {LIMITS_ML[0]:g}"
    for low, high in pairwise(LIMITS_ML):
        yield f"{low:g} to {high:g}"
    yield f"≥ {LIMITS_ML[-1]:g}"


def _size_class(name: str, lesions: list[Lesion]) -> SizeClass:
    truth, predicted = _of(lesions, "truth"), _of(lesions, "predicted")
    return SizeClass(
        name,
        lesions=len(truth),
        detected=sum(lesion.matched for lesion in truth),
        median_overlap=statistics.median([lesion.overlap for lesion in truth] or [math.nan]),
        predicted=len(predicted),
        false_positives=sum(not lesion.matched for lesion in predicted),
    )


def _of(lesions: list[Lesion], mask: MaskName) -> list[Lesion]:
    return [lesion for lesion in lesions if lesion.mask == mask]


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Interval of a share (Wilson, J Am Stat Assoc 22:209, 1927); None without trials.

    It assumes independent trials. Lesions of one patient are similar, so that an interval over the
    lesions of several patients is too narrow.

    Args:
        successes: Number of successes.
        trials: Number of trials.
        confidence: Share of samples whose interval should contain the true share.

    Raises:
        ValueError: `successes` is not 0 to `trials`.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"`successes` must be 0 to `trials`, got {successes} of {trials}")
    if not trials:
        return None
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
