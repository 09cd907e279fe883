"""Lung labels of a dataset, by the names of its regions."""

import re

from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.regions import MOST_LABELS

_WORD = re.compile(r"[a-z]+")

_LUNG = {"lung", "lungs"}


def lung_labels(spec: DatasetSpec) -> tuple[int, ...]:
    """List the label values of all regions with ``lung`` in their name, else of the first region.

    Example:
        >>> lung_labels(DatasetSpec({"left_lung": [1], "right_lung": [2], "heart": [3]}))
        (1, 2)
    """
    lungs = [values for region, values in spec.regions.items() if _words(region) & _LUNG]
    regions = lungs or list(spec.regions.values())[:1]
    return tuple(sorted({value for values in regions for value in values if value < MOST_LABELS}))


def side_labels(spec: DatasetSpec, side: str) -> tuple[int, ...]:
    """List the label values of lung regions with ``left``, or ``right``, in their name.

    Example:
        >>> side_labels(DatasetSpec({"left_lung": [1], "right_lung": [2]}), "left")
        (1,)
    """
    return tuple(
        value
        for region, values in spec.regions.items()
        if {side} <= _words(region) and _words(region) & _LUNG
        for value in values
    )


def _words(region: str) -> set[str]:
    return set(_WORD.findall(region.lower()))
