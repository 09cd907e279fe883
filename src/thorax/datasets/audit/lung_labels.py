"""Which labels of a dataset are lung, as far as the names of its regions tell."""

import re

from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.regions import MOST_LABELS

_WORD = re.compile(r"[a-z]+")

_LUNG = {"lung", "lungs"}


def lung_labels(spec: DatasetSpec) -> tuple[int, ...]:
    """Label values of all regions with ``lung`` in their name; of the first if none has.

    Example:
        >>> lung_labels(DatasetSpec({"left_lung": [1], "right_lung": [2], "heart": [3]}))
        (1, 2)
    """
    named = [values for region, values in spec.regions.items() if _words(region) & _LUNG]
    chosen = named or list(spec.regions.values())[:1]
    return tuple(sorted({value for values in chosen for value in values if value < MOST_LABELS}))


def side_labels(spec: DatasetSpec, side: str) -> tuple[int, ...]:
    """Label values of the lung regions that have ``left``, or ``right``, in their name.

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
