"""Cases that stand out: by the volume of their lungs, their spacing, their intensity."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.datasets.audit.checks.masks import mean_hu
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.dataset import DatasetSpec

OUTLIER = 5.0
"""Robust z-score above which a case is told of: 0.6745 · distance from the median / MAD (Iglewicz
and Hoaglin, 1993, who take 3.5; but lungs are less alike than what they had in mind)."""

ENOUGH = 8
"""Cases below which none is called an outlier."""

LEAST_MAD = 0.1
"""MAD at least, as a share of a volume or a spacing: like cases make no other stand out."""

LEAST_MAD_HU = 30


def volumes(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that are much larger or smaller than those of the others."""
    labels = lung_labels(spec)
    found = {each.case: each.volume_ml(labels) for each in facts}
    for case, value, middle in _outliers({k: v for k, v in found.items() if v}, _share):
        yield Finding(
            "outlier-volume",
            "warning",
            f"the lungs have {value:.0f} mL, where the median of the dataset is {middle:.0f} mL",
            "look at the mask, and at the spacing of the scan",
            case,
        )


def spacings(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Voxels much larger or smaller than those of the others, in the plane or between planes."""
    grids = {each.case: each.scan.grid for each in facts if each.scan and each.scan.grid}
    for where, axis in (("in the plane", 0), ("between planes", 2)):
        found = {case: grid.spacing_mm[axis] for case, grid in grids.items() if grid}
        for case, value, middle in _outliers(found, _ratio):
            yield Finding(
                "outlier-spacing",
                "warning",
                f"the spacing {where} is {value:.3g} mm, where the median of the dataset is "
                f"{middle:.3g} mm",
                "look whether the header is right; if it is, the case differs from the others",
                case,
            )


def intensities(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs much brighter or darker than those of the others."""
    labels = lung_labels(spec)
    means = {each.case: mean_hu(each, labels, spec) for each in facts}
    known = {case: value for case, value in means.items() if value is not None}
    for case, value, middle in _outliers(known, _hu):
        yield Finding(
            "outlier-intensity",
            "warning",
            f"the lungs have a mean of {value:.0f} HU, where the median of the dataset is "
            f"{middle:.0f} HU",
            "look whether scan and mask belong together, and whether its values are HU",
            case,
        )


def _share(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return values, LEAST_MAD * float(np.median(values))


def _ratio(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return np.log(values), float(np.log1p(LEAST_MAD))


def _hu(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return values, LEAST_MAD_HU


def _outliers(
    known: Mapping[str, float],
    scale: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], float]],
) -> Iterator[tuple[str, float, float]]:
    """Cases that stand out, with their value and the median.

    Args:
        known: Case → value.
        scale: Gives the values as they are to be compared, and the least MAD that is taken.
    """
    if len(known) < ENOUGH:
        return
    values = np.array(list(known.values()))
    compared, least = scale(values)
    away = np.abs(compared - np.median(compared))
    scores = 0.6745 * away / max(float(np.median(away)), least)
    for (case, value), score in zip(known.items(), scores, strict=True):
        if score > OUTLIER:
            yield case, value, float(np.median(values))
