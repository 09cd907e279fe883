"""A DICOM series as one volume.

Where a folder holds several series, the CT series with the most slices is read, and a note tells
of the others. Stored values become HU with the slope and intercept of each slice. pydicom decodes
pixels; ITK's GDCM does where pydicom has no decoder (JPEG Lossless).
"""

import locale
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from thorax.common.errors import InputError
from thorax.io.dicom.codestreams import declared_frame_sizes
from thorax.io.dicom.files import Part, find_parts
from thorax.io.dicom.geometry import Layout, lay_out
from thorax.io.dicom.headers import Slice, group, quiet, read_slices, split_phases, without_copies
from thorax.io.stored_image import LPS_TO_RAS, check_room, check_shape

Stack = list[Slice]

UNPACKED = frozenset(
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, "")
)
"""Transfer syntaxes whose pixels have no size of their own."""

BY_GDCM = frozenset((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1))
"""Those that pydicom has no decoder for that could be shipped."""

_LISTED = 8


class DicomSeries:
    """The CT series in a folder, in a zip, or beside a file of it.

    Stored axes are column, row and slice, the slices in the order of their positions.

    Args:
        path: A folder, which is searched with all below it; a ``.zip``; or one file of a series.
        series: SeriesInstanceUID or number of the series to read.

    Raises:
        InputError: There is no such series, or it is no volume of CT.
    """

    def __init__(self, path: Path, *, series: str | None = None) -> None:
        parts = find_parts(path)
        read = [(part, read_slices(part)) for part in parts]
        slices = [each for _, found in read for each in found]
        if not slices:
            raise InputError(f"there is no DICOM image in {path}; give the folder of a CT series")
        stacks = group(slices)
        chosen = _choose(path, stacks, series=series)
        volume, notes = _one_volume(chosen)
        layout = _laid_out(path, volume)
        self.slices = tuple(volume[index] for index in layout.order)
        self.affine: NDArray[np.float64] = LPS_TO_RAS @ layout.affine
        self.shape: tuple[int, ...] = (*volume[0].family.shape, len(volume))
        self.dtype = _dtype(volume)
        check_shape(path, self.shape)
        self._path = path
        self._looked_at: set[str] = set()
        self.notes: tuple[str, ...] = (
            *_unread(read),
            *_which(chosen, stacks),
            *notes,
            *_not_rescaled(volume),
            *layout.notes,
        )

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """HU of the slices ``start..stop-1``, shape ``(columns, rows, stop - start)``."""
        check_room(self._path, math.prod(self.shape[:2]) * (stop - start) * self.dtype.itemsize)
        block = np.empty((*self.shape[:2], stop - start), self.dtype, order="F")
        for index, each in enumerate(self.slices[start:stop]):
            block[:, :, index] = self._pixels(each).T
        return block

    def _pixels(self, each: Slice) -> NDArray[Any]:
        """HU of one slice, shape ``(rows, columns)``."""
        with quiet():
            try:
                self._check_stream(each)
                pixels = _decoder(each.syntax)(each)
            # Decoders raise errors of many kinds for damaged pixels.
            except Exception:
                raise InputError(
                    f"the pixels of {each.part.name} cannot be read: the file is cut short or "
                    "damaged, or is compressed in an unknown way; copy it again from its source"
                ) from None
        if pixels.shape != self.shape[1::-1]:
            raise InputError(
                f"{each.part.name} holds {pixels.shape} pixels, but its header says "
                f"{self.shape[1::-1]}; copy it again from its source"
            )
        return np.rint(pixels) if self.dtype.kind == "i" else pixels

    def _check_stream(self, each: Slice) -> None:
        """Raise `ValueError` for pixels that unpack to another size than the header tells of."""
        if each.syntax in UNPACKED or each.part.name in self._looked_at:
            return
        if any(size != self.shape[:2] for size in declared_frame_sizes(each.part.read())):
            raise ValueError
        self._looked_at.add(each.part.name)


def _decoder(syntax: str) -> Callable[[Slice], NDArray[Any]]:
    """What reads pixels of a transfer syntax; `ValueError` if nothing does.

    GDCM is given what it alone can read, and nothing else: for files whose kind it has to guess it
    may take gigabytes.
    """
    if not syntax:
        return _untold
    if _has_decoder(syntax):
        return _decoded
    if syntax in BY_GDCM:
        return _by_gdcm
    raise ValueError(f"nothing reads {syntax}")


def _decoded(each: Slice) -> NDArray[np.float64]:
    with each.part.seekable() as stream:
        return _in_hu(pixel_array(stream, index=each.frame), each)


def _untold(each: Slice) -> NDArray[np.float64]:
    """Pixels of a file that does not name its transfer syntax: as its header was found to be."""
    with each.part.seekable() as stream:
        whole = dcmread(stream, force=True)
    is_implicit, is_little = whole.original_encoding
    plain = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    whole.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else plain
    return _in_hu(pixel_array(whole, index=each.frame), each)


def _in_hu(stored: NDArray[Any], each: Slice) -> NDArray[np.float64]:
    return stored.astype(np.float64) * each.slope + each.intercept


def _by_gdcm(each: Slice) -> NDArray[Any]:
    """Decode by ITK, which works out HU itself, and reads files alone."""
    if each.part.path:
        return _itk_voxels(str(each.part.path))[each.frame]
    with tempfile.NamedTemporaryFile(suffix=".dcm") as unpacked:
        unpacked.write(each.part.read())
        unpacked.flush()
        return _itk_voxels(unpacked.name)[each.frame]


def _itk_voxels(path: str) -> NDArray[Any]:
    import SimpleITK

    # GDCM's JPEG sets the locale of the whole process to C, in which files are ASCII.
    before = locale.setlocale(locale.LC_ALL)
    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _has_decoder(syntax: str) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _choose(path: Path, stacks: list[Stack], *, series: str | None) -> Stack:
    """The stack asked for, that of the file that was given, or that with the most slices."""
    eligible = stacks
    if series is not None:
        eligible = [
            stack for stack in stacks if series in (stack[0].family.uid, stack[0].family.number)
        ]
        if not eligible:
            raise InputError(
                f"there is no DICOM series {series} in {path}; there is {_listed(stacks, stacks)}"
            )
    elif path.is_file():
        mine = [stack for stack in stacks if any(each.part.path == path for each in stack)]
        eligible = mine or stacks
    usable = [stack for stack in eligible if not _fault(stack)]
    if not usable:
        faults = "; ".join(f"{_named(stack, stacks)} {_fault(stack)}" for stack in eligible[:3])
        raise InputError(f"{path} holds no CT series: {faults}; give the original axial CT series")
    return max(usable, key=lambda stack: (len(without_copies(stack)), -_number(stack)))


def _fault(stack: Stack) -> str:
    """Why a stack is no CT volume; empty if it is one."""
    family = stack[0].family
    if family.modality != "CT":
        return f"is of modality {family.modality or 'unknown'}"
    if family.colour:
        return "is in colour, as a screenshot is"
    if family.localizer:
        return "is a localizer"
    return "" if family.placed else "does not say where its slices lie"


def _one_volume(stack: Stack) -> tuple[Stack, tuple[str, ...]]:
    """Leave out copies, and all but one of several volumes at the same positions."""
    alone = without_copies(stack)
    notes = []
    if len(alone) < len(stack):
        notes.append(f"{len(stack) - len(alone)} slices are there more than once; one was read")
    volumes = split_phases(alone)
    if len(volumes) > 1:
        notes.append(
            f"the series holds {len(volumes)} volumes at the same positions, as a 4D scan or "
            f"several acquisitions do; the first of the largest was read ({len(volumes[0])} slices)"
        )
    return volumes[0], tuple(notes)


def _laid_out(path: Path, volume: Stack) -> Layout:
    first = volume[0]
    try:
        return lay_out(
            np.array([each.position_mm for each in volume]),
            first.orientation,
            first.spacing_mm,
            thickness_mm=first.thickness_mm,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _dtype(volume: Stack) -> np.dtype[Any]:
    """The smallest type that holds every HU that can be stored."""
    if any(each.slope % 1 or each.intercept % 1 for each in volume):
        return np.dtype(np.float32)
    ends = [end * each.slope + each.intercept for each in volume for end in each.stored_range]
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _unread(read: Sequence[tuple[Part, Stack]]) -> tuple[str, ...]:
    count = sum(not found for _, found in read)
    if not count:
        return ()
    return (f"DICOM files left out, without an image or with a damaged header: {count}",)


def _not_rescaled(volume: Stack) -> tuple[str, ...]:
    if all(each.rescaled for each in volume):
        return ()
    return (
        "slices do not say how stored values become HU (RescaleSlope, RescaleIntercept); "
        "they were taken as HU",
    )


def _which(chosen: Stack, stacks: list[Stack]) -> tuple[str, ...]:
    others = [stack for stack in stacks if stack is not chosen]
    if not others:
        return ()
    return (f"read {_noted(chosen)}; left out {_noted_all(others)}",)


def _noted_all(stacks: list[Stack]) -> str:
    names = [_noted(stack) for stack in stacks[:_LISTED]]
    return ", ".join([*names, "and more"] if len(stacks) > _LISTED else names)


def _noted(stack: Stack) -> str:
    """A series by its number: notes are kept in files, where no identifier belongs."""
    number = stack[0].family.number
    return f"series {number} ({_kind(stack)})" if number else f"a series ({_kind(stack)})"


def _listed(some: list[Stack], stacks: list[Stack]) -> str:
    names = [_named(stack, stacks) for stack in some[:_LISTED]]
    return ", ".join([*names, "and more"] if len(some) > _LISTED else names)


def _named(stack: Stack, stacks: list[Stack]) -> str:
    """A series by its number, or by its UID where the number does not tell."""
    family = stack[0].family
    sharing = {other[0].family.uid for other in stacks if other[0].family.number == family.number}
    name = family.number if family.number and len(sharing) == 1 else family.uid
    return f"series {name} ({_kind(stack)})"


def _kind(stack: Stack) -> str:
    family = stack[0].family
    columns, rows = family.shape
    kind = "localizer" if family.localizer else family.modality or "unknown modality"
    return f"{kind}, {len(stack)} × {columns}×{rows}"


def _number(stack: Stack) -> int:
    number = stack[0].family.number
    return int(number) if number.lstrip("-").isdecimal() else 2**31
