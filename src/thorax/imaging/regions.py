"""Regions: named parts of the body in a mask, and the label values that form them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.grid import NamedSlabs

MOST_LABELS = 256

LONGEST_NAME = 64

MOST_REGIONS = 8

WHOLE = 1e-5
"""Largest distance of a label value from a whole number; scaling by a header leaves such rests."""


@dataclass(frozen=True)
class Regions:
    """Named regions, each formed by label values; regions may nest or share labels.

    The network has one sigmoid map per region. A label map of predicted regions uses the label
    values of the original masks: each combination of regions becomes the lowest label that belongs
    to exactly these regions. With ``lung: [1, 2, 3]`` and ``infection: [3]``, healthy lung becomes
    1 and infection 3, so the same regions describe truth and prediction. A combination without a
    label (infection outside the lung) becomes the label of its last region.

    Args:
        labels: Region name → its label values, in the order of the network's channels.
        ignored: Label values that may occur but belong to no region.

    Raises:
        InputError: No region or more than 8, a name that cannot be part of a file name, a region
            without labels, a label outside 1..255, or a label both ignored and in a region.

    Example:
        >>> regions = Regions({"lung": (1, 2, 3), "infection": (3,)})
        >>> regions.split(np.array([0, 1, 2, 3])).astype(int).tolist()
        [[0, 1, 1, 1], [0, 0, 0, 1]]
        >>> regions.merge(np.array([[0, 1, 1, 0], [0, 0, 1, 1]], bool)).tolist()
        [0, 1, 3, 3]
    """

    labels: Mapping[str, tuple[int, ...]]
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MOST_REGIONS:
            raise InputError(f"there must be 1 to {MOST_REGIONS} regions, got {len(self.labels)}")
        for name, values in self.labels.items():
            _check_name(name)
            if not values or min(values) < 1 or max(values) >= MOST_LABELS:
                raise InputError(
                    f"region `{name}` must be made of label values 1..255, got {list(values)}"
                )
        both = set(self.ignored) & self._named
        if both:
            raise InputError(f"labels {sorted(both)} cannot be both ignored and in a region")

    @property
    def names(self) -> tuple[str, ...]:
        """Region names in the order of the channels."""
        return tuple(self.labels)

    @property
    def _named(self) -> set[int]:
        return {value for values in self.labels.values() for value in values}

    def split(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Convert label values of any shape to one binary mask per region, shape ``(R, …)``.

        Raises:
            InputError: A label value is in no region and not ignored.
        """
        whole = whole_labels(labels)
        self.check(whole)
        return self._membership[:, whole]

    def check(self, labels: NDArray[Any]) -> None:
        """Raise `InputError` if a label value is in no region and not ignored."""
        present = {*_present(whole_labels(labels))}
        unknown = sorted(present - self._named - {0, *self.ignored})
        if unknown:
            raise InputError(
                f"label values {unknown} belong to no region: name them in a region of "
                f"{dict(self.labels)} or under `ignored`"
            )

    def merge(self, masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Convert one binary mask per region, shape ``(R, …)``, to label values, ``(…)``."""
        codes = np.zeros(masks.shape[1:], dtype=np.uint8)
        for bit, mask in enumerate(masks):
            codes |= mask.astype(np.uint8) << np.uint8(bit)
        return self._label_of_code.take(codes)

    def label_alone(self, name: str) -> int:
        """Return the label that `merge` gives to voxels of one region and no other."""
        return int(self._label_of_code[1 << self.names.index(name)])

    @cached_property
    def _membership(self) -> NDArray[np.bool_]:
        table = np.zeros((len(self.labels), MOST_LABELS), dtype=bool)
        for row, values in zip(table, self.labels.values(), strict=True):
            row[list(values)] = True
        return table

    @cached_property
    def _label_of_code(self) -> NDArray[np.uint8]:
        bits = 1 << np.arange(len(self.labels))
        code_of = {value: int(self._membership[:, value] @ bits) for value in self._named}
        label_of = np.zeros(2 ** len(self.labels), dtype=np.uint8)
        for code in range(1, len(label_of)):
            exact = [value for value, own in code_of.items() if own == code]
            label_of[code] = min(exact) if exact else self._label_of_last(code, code_of)
        return label_of

    def _label_of_last(self, code: int, code_of: Mapping[int, int]) -> int:
        """Label for a combination without one: that of its last region."""
        last = list(self.labels.values())[code.bit_length() - 1]
        return min(last, key=lambda value: (code_of[value].bit_count(), value))


def parse_regions(options: Iterable[str]) -> Regions:
    """Parse the ``name=1,2`` options of the command line.

    Raises:
        InputError: An option has another format, or a region has two options.

    Example:
        >>> dict(parse_regions(["lung=1,2,3", "infection=3"]).labels)
        {'lung': (1, 2, 3), 'infection': (3,)}
    """
    labels: dict[str, tuple[int, ...]] = {}
    for option in options:
        name, _, values = option.partition("=")
        try:
            numbers = tuple(int(value) for value in values.split(","))
        except ValueError:
            raise InputError(f"a region must look like lung=1,2, got `{option}`") from None
        if not name.isidentifier() or name in labels:
            raise InputError(f"each region needs a unique name, like lung=1,2, got `{option}`")
        labels[name] = numbers
    return Regions(labels)


def whole_labels(values: NDArray[Any], *, path: object = None) -> NDArray[np.uint8]:
    """Convert label values of any type to 8 bits; values close to a whole number are rounded.

    Args:
        values: Label values of any shape.
        path: File for the message; None: not named.

    Raises:
        InputError: A value is more than `WHOLE` from a whole number 0..255.

    Example:
        >>> whole_labels(np.array([0.0, 1.0000001, 2.9999999])).tolist()
        [0, 1, 3]
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    is_float = values.dtype.kind == "f"
    if not -WHOLE <= low <= high <= MOST_LABELS - 1 + WHOLE:
        wrong = high if low >= -WHOLE else low
    elif is_float and (apart := np.abs(values - np.rint(values))).max(initial=0) > WHOLE:
        wrong = values.ravel()[int(apart.argmax())]
    else:
        return (np.rint(values) if is_float else values).astype(np.uint8)
    place = "" if path is None else f" in {path}"
    raise InputError(
        f"label values must be whole numbers 0..255, got {wrong:.8g} ({values.dtype}){place}; save "
        "the mask with one whole number per label"
    )


def label_slabs(mask: NamedSlabs) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Read a mask slab by slab as label values; yield the first index and the planes.

    Raises:
        InputError: The file cannot be read, or a value is no label.
    """
    for start, planes in mask.slabs():
        yield start, whole_labels(planes, path=mask.path)


def _present(labels: NDArray[np.uint8]) -> list[int]:
    return np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=1)).tolist()


def _check_name(name: str) -> None:
    """Raise `InputError` for a name that cannot be part of a file name."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or set(name) & set("/\\"):
        raise InputError(
            f"the name of a region must have 1 to {LONGEST_NAME} characters, without slashes and "
            f"control characters, got {name[:LONGEST_NAME]!r}"
        )


def parse_rois(options: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Parse ``name=Lung_L,Lung_R`` options: regions and the regions of interest that form them.

    Raises:
        InputError: An option has another format, or a region has two options.

    Example:
        >>> parse_rois(["lung=Lung_L,Lung_R"])
        {'lung': ('Lung_L', 'Lung_R')}
    """
    rois: dict[str, tuple[str, ...]] = {}
    for option in options:
        name, _, texts = option.partition("=")
        if not texts.strip(", "):
            raise InputError(f"a region must look like lung=Lung_L,Lung_R, got `{option}`")
        if not name.isidentifier() or name in rois:
            raise InputError(
                f"each region needs a unique name, like lung=Lung_L,Lung_R, got `{option}`"
            )
        rois[name] = tuple(texts.split(","))
    return rois


def regions_of_codes(names: Sequence[str]) -> Regions:
    """Make regions for label values that are sums of ``2**i`` over all regions ``i`` of a voxel.

    Example:
        >>> dict(regions_of_codes(["lung", "lesion"]).labels)
        {'lung': (1, 3), 'lesion': (2, 3)}
    """
    codes = range(1, 2 ** len(names))
    return Regions(
        {
            name: tuple(code for code in codes if code >> index & 1)
            for index, name in enumerate(names)
        }
    )


def regions_in_masks(*masks: NamedSlabs) -> Regions:
    """Make one region for each label value in the masks.

    Raises:
        InputError: The masks are empty, or have more than 8 label values.
    """
    values = {
        int(value)
        for mask in masks
        for _, planes in label_slabs(mask)
        for value in _present(planes)
    } - {0}
    if not 1 <= len(values) <= MOST_REGIONS:
        raise InputError(
            f"masks must have 1 to {MOST_REGIONS} label values unless regions are named, but "
            f"{' and '.join(str(mask.path) for mask in masks)} have {len(values)}; give --region"
        )
    return Regions({f"label_{value}": (value,) for value in sorted(values)})
