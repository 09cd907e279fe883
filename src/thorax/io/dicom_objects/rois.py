"""Regions of interest by name, in a structure set or a segmentation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.io.dicom_objects.slice_stack import SliceStack

_LISTED = 20


@dataclass(frozen=True)
class RoiName:
    """Number and name of a region of interest (ROI), or of a segment."""

    number: int
    name: str


@dataclass(frozen=True, eq=False)
class RoiMask:
    """The mask of a region of interest.

    Args:
        mask: Shape ``(columns, rows, slices)``.
        notes: Notes for the user, without the name of the file.
        warnings: Reasons to review the mask.
    """

    mask: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class RoiFile(Protocol):
    """A file of regions of interest."""

    path: Path

    @property
    def series_uids(self) -> frozenset[str]:
        """SeriesInstanceUID of the series that it refers to; empty if it states none."""

    @property
    def names(self) -> tuple[RoiName, ...]:
        """Numbers and names, in the order of the file."""

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the planes, LPS+."""

    def mask(self, number: int, stack: SliceStack) -> RoiMask:
        """Place a region of interest on slices."""


def find_rois(file: RoiFile, texts: Sequence[str]) -> list[int]:
    """Find regions of interest by exact name, else by name in any case, else by number.

    Raises:
        InputError: There is none or more than one of that name.
    """
    whole = ",".join(texts)
    if len(texts) > 1 and any(roi.name == whole for roi in file.names):
        texts = [whole]
    return list(dict.fromkeys(_find_roi(file, text.strip()) for text in texts))


def _find_roi(file: RoiFile, text: str) -> int:
    matches = (
        [roi.number for roi in file.names if roi.name == text],
        [roi.number for roi in file.names if roi.name.casefold() == text.casefold()],
        [roi.number for roi in file.names if str(roi.number) == text],
    )
    numbers = next((numbers for numbers in matches if numbers), [])
    if len(numbers) > 1:
        raise InputError(
            f"a region of interest must be named once, but {file.path} has {len(numbers)} named "
            f"{text!r}; name one by its number, {listed(numbers)}"
        )
    if not numbers:
        names = listed((repr(roi.name) for roi in file.names), at_most=_LISTED)
        raise InputError(f"there is no region of interest {text!r} in {file.path}; it has {names}")
    return numbers[0]


def region_codes(
    file: RoiFile, regions: Mapping[str, Sequence[str]], stack: SliceStack
) -> tuple[NDArray[np.uint8], tuple[str, ...], tuple[str, ...]]:
    """Place regions on slices.

    Args:
        file: The regions of interest.
        regions: Name of each region → names of its regions of interest; at most 8 regions.
        stack: The slices.

    Returns:
        Codes of shape ``(columns, rows, slices)``: bit ``i`` is set in region ``i``, so overlaps
        are kept. Then notes and warnings.

    Raises:
        InputError: A region of interest is missing.
    """
    codes = np.zeros((*stack.shape, len(stack)), dtype=np.uint8)
    notes: list[str] = []
    warnings: list[str] = []
    names = {roi.number: roi.name for roi in file.names}
    numbers = [find_rois(file, texts) for texts in regions.values()]
    placed: dict[int, RoiMask] = {}
    for bit, of_region in enumerate(numbers):
        for number in of_region:
            if number not in placed:
                placed[number] = file.mask(number, stack)
                notes += _named(names[number], placed[number].notes)
                warnings += _named(names[number], placed[number].warnings)
            codes |= placed[number].mask.astype(np.uint8) << np.uint8(bit)
    return codes, tuple(notes), tuple(warnings)


def _named(name: str, remarks: Iterable[str]) -> list[str]:
    return [f"{name}: {remark}" for remark in remarks]
