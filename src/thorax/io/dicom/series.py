"""Read a DICOM series as one volume.

If a folder contains several series, the CT series with the most slices is read, and a note lists
the others. Slope and intercept of each slice convert stored values to HU. pydicom decodes the
pixels; for JPEG Lossless, which pydicom does not decode, ITK's GDCM does.
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
from thorax.common.text import listed
from thorax.io.dicom.codestreams import declared_frame_sizes
from thorax.io.dicom.files import find_dicom_files
from thorax.io.dicom.geometry import SliceLayout, order_slices
from thorax.io.dicom.headers import (
    Slice,
    group_slices,
    read_slices,
    split_volumes,
    without_duplicates,
    without_warnings,
)
from thorax.io.stored_image import LPS_TO_RAS, check_memory, check_shape

SliceGroup = list[Slice]

WITHOUT_FRAME_SIZE = frozenset(
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, "")
)
"""Transfer syntaxes whose pixel data do not repeat the image size."""

GDCM_SYNTAXES = frozenset((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1))
"""Transfer syntaxes that pydicom cannot decode with the installed packages."""

_LISTED = 8


class DicomSeries:
    """A CT series in a folder or zip, or the series of one file.

    The stored axes are column, row and slice; slices are sorted by position.

    Args:
        path: A folder, searched with its subfolders; a ``.zip``; or one file of a series.
        series: SeriesInstanceUID or number of the series to read.

    Raises:
        InputError: There is no such series, or it is not a CT volume.
    """

    def __init__(self, path: Path, *, series: str | None = None) -> None:
        slices_of_files = [read_slices(file) for file in find_dicom_files(path)]
        slices = [slice_ for slices in slices_of_files for slice_ in slices]
        if not slices:
            raise InputError(f"there is no DICOM image in {path}; give the folder of a CT series")
        stacks = group_slices(slices)
        selected = _select_series(path, stacks, series=series)
        volume, notes = _one_volume(selected)
        layout = _layout(path, volume)
        self.slices = tuple(volume[index] for index in layout.order)
        self.affine: NDArray[np.float64] = LPS_TO_RAS @ layout.affine
        self.shape: tuple[int, ...] = (*volume[0].series.shape, len(volume))
        self.dtype = _dtype(volume)
        check_shape(path, self.shape)
        self._path = path
        self._checked: set[str] = set()
        self.warnings: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = (
            *_unreadable_note(slices_of_files),
            *_selection_note(selected, stacks),
            *notes,
            *_rescale_note(volume),
            *layout.notes,
        )

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """HU of the slices ``start..stop-1``, shape ``(columns, rows, stop - start)``."""
        check_memory(self._path, math.prod(self.shape[:2]) * (stop - start) * self.dtype.itemsize)
        block = np.empty((*self.shape[:2], stop - start), self.dtype, order="F")
        for index, slice_ in enumerate(self.slices[start:stop]):
            block[:, :, index] = self._pixels(slice_).T
        return block

    def _pixels(self, slice_: Slice) -> NDArray[Any]:
        """HU of one slice, shape ``(rows, columns)``."""
        with without_warnings():
            try:
                self._check_stream(slice_)
                pixels = _decoder(slice_.syntax)(slice_)
            # Decoders raise errors of many kinds for damaged pixels.
            except Exception:
                raise InputError(
                    f"the pixels of {slice_.file.name} cannot be read: the file is cut short or "
                    "damaged, or its compression is not supported; copy it again from its source"
                ) from None
        if pixels.shape != self.shape[1::-1]:
            raise InputError(
                f"{slice_.file.name} has {pixels.shape} pixels, but its header declares "
                f"{self.shape[1::-1]}; copy it again from its source"
            )
        return np.rint(pixels) if self.dtype.kind == "i" else pixels

    def _check_stream(self, slice_: Slice) -> None:
        """Raise `ValueError` if compressed pixels have another size than the header declares."""
        if slice_.syntax in WITHOUT_FRAME_SIZE or slice_.file.name in self._checked:
            return
        if any(size != self.shape[:2] for size in declared_frame_sizes(slice_.file.read())):
            raise ValueError
        self._checked.add(slice_.file.name)


def _decoder(syntax: str) -> Callable[[Slice], NDArray[Any]]:
    """Function that decodes a transfer syntax; `ValueError` if none does.

    GDCM reads only the syntaxes that no other decoder supports: it may allocate gigabytes for
    files whose format it has to guess.
    """
    if not syntax:
        return _decode_without_syntax
    if _has_decoder(syntax):
        return _decode
    if syntax in GDCM_SYNTAXES:
        return _decode_with_gdcm
    raise ValueError(f"no decoder for {syntax}")


def _decode(slice_: Slice) -> NDArray[np.float64]:
    with slice_.file.seekable() as stream:
        return _in_hu(pixel_array(stream, index=slice_.frame), slice_)


def _decode_without_syntax(slice_: Slice) -> NDArray[np.float64]:
    """Decode a file that does not state its transfer syntax, by the encoding of its header."""
    with slice_.file.seekable() as stream:
        dataset = dcmread(stream, force=True)
    is_implicit, is_little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    return _in_hu(pixel_array(dataset, index=slice_.frame), slice_)


def _in_hu(stored: NDArray[Any], slice_: Slice) -> NDArray[np.float64]:
    return stored.astype(np.float64) * slice_.slope + slice_.intercept


def _decode_with_gdcm(slice_: Slice) -> NDArray[Any]:
    """Decode by ITK, which converts to HU itself and reads from disk only."""
    if slice_.file.path:
        return _itk_voxels(str(slice_.file.path))[slice_.frame]
    with tempfile.NamedTemporaryFile(suffix=".dcm") as unpacked:
        unpacked.write(slice_.file.read())
        unpacked.flush()
        return _itk_voxels(unpacked.name)[slice_.frame]


def _itk_voxels(path: str) -> NDArray[Any]:
    import SimpleITK

    # GDCM's JPEG decoder sets the locale of the process to C, whose file encoding is ASCII.
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


def _select_series(path: Path, stacks: list[SliceGroup], *, series: str | None) -> SliceGroup:
    """Select the requested stack, the stack of the given file, or the one with the most slices."""
    eligible = stacks
    if series is not None:
        eligible = [
            stack for stack in stacks if series in (stack[0].series.uid, stack[0].series.number)
        ]
        if not eligible:
            names = listed((_full_name(stack, stacks) for stack in stacks), at_most=_LISTED)
            raise InputError(f"there is no DICOM series {series} in {path}; it has {names}")
    elif path.is_file():
        of_file = [stack for stack in stacks if any(slice_.file.path == path for slice_ in stack)]
        eligible = of_file or stacks
    usable = [stack for stack in eligible if not _fault(stack)]
    if not usable:
        faults = "; ".join(f"{_full_name(stack, stacks)} {_fault(stack)}" for stack in eligible[:3])
        raise InputError(f"{path} has no CT series: {faults}; give the original axial CT series")
    return max(usable, key=lambda stack: (len(without_duplicates(stack)), -_number(stack)))


def _fault(stack: SliceGroup) -> str:
    """Reason why a stack is not a CT volume; empty if it is one."""
    key = stack[0].series
    if key.modality != "CT":
        return f"is of modality {key.modality or 'unknown'}"
    if key.colour:
        return "is in colour, as a screenshot is"
    if key.localizer:
        return "is a localizer"
    return "" if key.has_geometry else "does not state the positions of its slices"


def _one_volume(stack: SliceGroup) -> tuple[SliceGroup, tuple[str, ...]]:
    """Remove copies of slices, and keep one of several volumes at the same positions."""
    unique = without_duplicates(stack)
    notes = []
    if len(unique) < len(stack):
        notes.append(f"copies of slices left out: {len(stack) - len(unique)}")
    volumes = split_volumes(unique)
    if len(volumes) > 1:
        notes.append(
            f"the series has {len(volumes)} volumes at the same positions, like a 4D scan or "
            f"several acquisitions; the first of the largest was read ({len(volumes[0])} slices)"
        )
    return volumes[0], tuple(notes)


def _layout(path: Path, volume: SliceGroup) -> SliceLayout:
    first = volume[0]
    try:
        return order_slices(
            np.array([slice_.position_mm for slice_ in volume]),
            first.orientation,
            first.spacing_mm,
            thickness_mm=first.thickness_mm,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _dtype(volume: SliceGroup) -> np.dtype[Any]:
    """Smallest data type for all HU that can be stored."""
    if any(slice_.slope % 1 or slice_.intercept % 1 for slice_ in volume):
        return np.dtype(np.float32)
    ends = [
        end * slice_.slope + slice_.intercept for slice_ in volume for end in slice_.stored_range
    ]
    for integer in (np.int16, np.int32):
        if np.iinfo(integer).min <= min(ends) and max(ends) <= np.iinfo(integer).max:
            return np.dtype(integer)
    return np.dtype(np.float32)


def _unreadable_note(slices_of_files: Sequence[Sequence[Slice]]) -> tuple[str, ...]:
    count = sum(not slices for slices in slices_of_files)
    if not count:
        return ()
    return (f"DICOM files left out, without an image or with a damaged header: {count}",)


def _rescale_note(volume: SliceGroup) -> tuple[str, ...]:
    if all(slice_.has_rescale for slice_ in volume):
        return ()
    return (
        "slices do not state the conversion to HU (RescaleSlope, RescaleIntercept); stored values "
        "were read as HU",
    )


def _selection_note(selected: SliceGroup, stacks: list[SliceGroup]) -> tuple[str, ...]:
    others = [stack for stack in stacks if stack is not selected]
    if not others:
        return ()
    left_out = listed(map(_short_name, others), at_most=_LISTED)
    return (f"read {_short_name(selected)}; left out {left_out}",)


def _short_name(stack: SliceGroup) -> str:
    """Name of a series by its number: notes are saved to files and must not contain a UID."""
    number = stack[0].series.number
    return f"series {number} ({_kind(stack)})" if number else f"a series ({_kind(stack)})"


def _full_name(stack: SliceGroup, stacks: list[SliceGroup]) -> str:
    """Name of a series by its number, or by its UID if the number is not unique."""
    key = stack[0].series
    sharing = {other[0].series.uid for other in stacks if other[0].series.number == key.number}
    name = key.number if key.number and len(sharing) == 1 else key.uid
    return f"series {name} ({_kind(stack)})"


def _kind(stack: SliceGroup) -> str:
    key = stack[0].series
    columns, rows = key.shape
    kind = "localizer" if key.localizer else key.modality or "unknown modality"
    return f"{kind}, {len(stack)} × {columns}×{rows}"


def _number(stack: SliceGroup) -> int:
    number = stack[0].series.number
    return int(number) if number.lstrip("-").isdecimal() else 2**31
