"""Checks for outliers: lung volume, spacing and lung intensity."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.datasets.audit.checks.masks import mean_hu
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.dataset import DatasetSpec

OUTLIER = 5.0
"""Robust z-score above which a case is reported: 0.6745 · distance from the median / MAD. Iglewicz
and Hoaglin (1993) suggest 3.5; lungs vary more than their data."""

LEAST_CASES = 8
"""Fewest cases for which outliers are defined."""

LEAST_MAD = 0.1
"""Smallest MAD, as a share of a volume or a spacing: in a uniform dataset, small differences are
no outliers."""

LEAST_MAD_HU = 30

Values = NDArray[np.float64]


def volumes(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs much larger or smaller than those of the other cases."""
    labels = lung_labels(spec)
    volumes_ml = {case.case: case.volume_ml(labels) or 0.0 for case in facts}
    present = {case: volume for case, volume in volumes_ml.items() if volume}
    for case, volume, median in _outliers(present, _scaled_volumes):
        yield Finding(
            "outlier-volume",
            "warning",
            f"the lungs have {volume:.0f} mL; the median of the dataset is {median:.0f} mL",
            "check the mask and the spacing of the scan",
            case,
        )


def spacings(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Voxels much larger or smaller than those of the other cases, in plane or between planes."""
    grids = {case.case: case.scan.grid for case in facts if case.scan and case.scan.grid}
    for direction, axis in (("in the plane", 0), ("between planes", 2)):
        spacings_mm = {case: grid.spacing_mm[axis] for case, grid in grids.items() if grid}
        for case, spacing, median in _outliers(spacings_mm, _scaled_spacings):
            yield Finding(
                "outlier-spacing",
                "warning",
                f"the spacing {direction} is {spacing:.3g} mm; the median of the dataset is "
                f"{median:.3g} mm",
                "check the header; if it is right, this case differs from the others",
                case,
            )


def intensities(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs much brighter or darker than those of the other cases."""
    labels = lung_labels(spec)
    means = {case.case: mean_hu(case, labels, spec) for case in facts}
    present = {case: mean for case, mean in means.items() if mean is not None}
    for case, mean, median in _outliers(present, _scaled_hu):
        yield Finding(
            "outlier-intensity",
            "warning",
            f"the lungs have a mean of {mean:.0f} HU; the median of the dataset is {median:.0f} HU",
            "check that scan and mask belong together, and that the values are HU",
            case,
        )


def _scaled_volumes(volumes_ml: Values) -> tuple[Values, float]:
    return volumes_ml, LEAST_MAD * float(np.median(volumes_ml))


def _scaled_spacings(spacings_mm: Values) -> tuple[Values, float]:
    return np.log(spacings_mm), float(np.log1p(LEAST_MAD))


def _scaled_hu(means_hu: Values) -> tuple[Values, float]:
    return means_hu, LEAST_MAD_HU


def _outliers(
    values: Mapping[str, float], scale: Callable[[Values], tuple[Values, float]]
) -> Iterator[tuple[str, float, float]]:
    """Find the outliers, each with its value and the median.

    Args:
        values: Case → value.
        scale: Returns the values on the scale of comparison, and the smallest MAD on it.
    """
    if len(values) < LEAST_CASES:
        return
    numbers = np.array(list(values.values()))
    scaled, least_mad = scale(numbers)
    distances = np.abs(scaled - np.median(scaled))
    scores = 0.6745 * distances / max(float(np.median(distances)), least_mad)
    for (case, value), score in zip(values.items(), scores, strict=True):
        if score > OUTLIER:
            yield case, value, float(np.median(numbers))
