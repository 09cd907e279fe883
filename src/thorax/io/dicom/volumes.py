"""Separate the volumes of a stack that have slices at the same positions.

A copy of a slice has the same position and the same pixels. An equal or empty SOPInstanceUID does
not make a copy: anonymisers write such UIDs. Volumes are separate, like the phases of a 4D scan,
only if most of their positions coincide; acquisitions that overlap in a few slices are one volume.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.io.dicom.geometry import heights_of, mean_orientation, position_ids
from thorax.io.dicom.headers import VOLUME_TAGS, Slice
from thorax.io.dicom.kernels import sharpness
from thorax.io.dicom.pixels import PixelReader

SEPARATE_SHARE = 0.5
"""Share of positions that a separate volume has in common with the largest one."""

MAX_AMBIGUOUS_SHARE = 0.1
"""Share of positions with different pixels above which a series is refused."""

_KERNEL = VOLUME_TAGS.index("ConvolutionKernel")

Slices = tuple[Slice, ...]


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume of a stack.

    Args:
        slices: Its slices, at different positions if the stack is not ambiguous.
        others: Slices of separate volumes of the stack, which are not read.
        notes: Notes for the user.
        warnings: Reasons to review the result.
    """

    slices: Slices
    others: Slices = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def largest_volume(slices: Slices, reader: PixelReader) -> Volume:
    """Remove copies of slices, and return the largest of several volumes at the same positions.

    Pixels are read only at positions that several slices have.

    Args:
        slices: The slices of a stack.
        reader: Reads pixels for the comparison.
    """
    volumes, copies = _partition(slices), 0
    if len(volumes) == 1 and has_repeats(slices):
        unique = _without_copies(slices, reader)
        copies = len(slices) - len(unique)
        volumes = _partition(unique)
    joined, separate = _joined(volumes)
    unique = _without_copies(joined, reader) if has_repeats(joined) else joined
    copies += len(joined) - len(unique)
    chosen, repeats = _first_at_each_position(unique)
    positions = len(chosen)
    if len(volumes) == 1 and repeats > MAX_AMBIGUOUS_SHARE * positions:
        chosen, repeats = unique, 0
    return Volume(
        chosen,
        tuple(slice_ for volume in separate for slice_ in volume),
        _notes(copies, separate, len(chosen)),
        _repeat_warning(repeats, positions),
    )


def has_repeats(slices: Sequence[Slice]) -> bool:
    """Return True if several slices have the same position."""
    return len(set(_ids(slices))) < len(slices)


def _ids(slices: Sequence[Slice]) -> list[int]:
    """Number of the position of each slice."""
    orientation = mean_orientation([slice_.orientation for slice_ in slices])
    heights = heights_of(np.array([slice_.position_mm for slice_ in slices]), orientation)
    return [int(number) for number in position_ids(heights)]


def _partition(slices: Slices) -> list[Slices]:
    """Separate slices by the first tag that leaves no position repeated within a volume.

    Returns:
        The volumes, the largest first; all slices if no tag separates them.
    """
    ids = dict(zip(slices, _ids(slices), strict=True))
    multiplicity = max(Counter(ids.values()).values())
    if multiplicity == 1:
        return [slices]
    for index, values in enumerate(_separating_values(slices)):
        volumes: dict[str, list[Slice]] = {}
        for slice_, value in zip(slices, values, strict=True):
            volumes.setdefault(value, []).append(slice_)
        distinct = all(
            len({ids[slice_] for slice_ in volume}) == len(volume) for volume in volumes.values()
        )
        if distinct and len(volumes) <= multiplicity:
            order = sorted(volumes, key=lambda value: (-len(volumes[value]), _rank(value, index)))
            return [tuple(volumes[value]) for value in order]
    return [slices]


def _separating_values(slices: Slices) -> Iterable[list[str]]:
    for index in range(len(VOLUME_TAGS)):
        yield [slice_.volume_tags[index] for slice_ in slices]
    yield [_origin_in_plane(slice_) for slice_ in slices]
    yield [slice_.frame_of_reference for slice_ in slices]


def _origin_in_plane(slice_: Slice) -> str:
    """Position of the first pixel along rows and columns, to the millimetre."""
    return str(np.rint(slice_.orientation @ slice_.position_mm).tolist())


def _rank(value: str, index: int) -> tuple[float, str]:
    """Order of volumes of equal size: numbers ascending; soft kernels before sharp ones."""
    if index == _KERNEL:
        return sharpness(value), value
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _joined(volumes: list[Slices]) -> tuple[Slices, list[Slices]]:
    """Join volumes that mostly lie at other positions than the largest; return the separate."""
    every = tuple(slice_ for volume in volumes for slice_ in volume)
    ids = dict(zip(every, _ids(every), strict=True))
    chosen, separate = list(volumes[0]), []
    covered = {ids[slice_] for slice_ in chosen}
    for volume in volumes[1:]:
        common = sum(ids[slice_] in covered for slice_ in volume)
        if common >= SEPARATE_SHARE * len(volume):
            separate.append(volume)
        else:
            chosen += volume
            covered |= {ids[slice_] for slice_ in volume}
    return tuple(chosen), separate


def _without_copies(slices: Slices, reader: PixelReader) -> Slices:
    """Keep the first of several slices with the same position and the same pixels."""
    ids = _ids(slices)
    counts = Counter(ids)
    kept: list[Slice] = []
    pixels_at: dict[int, list[NDArray[np.generic]]] = {}
    for slice_, position in zip(slices, ids, strict=True):
        if counts[position] > 1:
            pixels = _pixels(slice_, reader)
            others = pixels_at.setdefault(position, [])
            if any(np.array_equal(pixels, other) for other in others):
                continue
            others.append(pixels)
        kept.append(slice_)
    return tuple(kept)


def _pixels(slice_: Slice, reader: PixelReader) -> NDArray[np.generic]:
    """HU of a slice; without values if they cannot be read, which is reported later."""
    try:
        hu: NDArray[np.generic] = reader.hu(slice_)
    except InputError:
        return np.array([np.nan])
    return hu


def _first_at_each_position(slices: Slices) -> tuple[Slices, int]:
    """The first slice at each position, and the number of the others."""
    first: dict[int, Slice] = {}
    for slice_, position in zip(slices, _ids(slices), strict=True):
        first.setdefault(position, slice_)
    return tuple(first.values()), len(slices) - len(first)


def _notes(copies: int, separate: list[Slices], count: int) -> tuple[str, ...]:
    notes = []
    if copies:
        notes.append(f"copies of slices left out: {copies}")
    if separate:
        notes.append(
            f"the series has {len(separate) + 1} volumes at the same positions, like a 4D scan, "
            "several acquisitions or several kernels; the largest was read, of equal ones the "
            f"first or softest ({count} slices)"
        )
    return tuple(notes)


def _repeat_warning(repeats: int, positions: int) -> tuple[str, ...]:
    if not repeats:
        return ()
    return (
        f"{repeats} more slices of the series repeat one of its {positions} positions with other "
        "pixels; the first slice of each position was read",
    )
