"""Decode the pixels of slices to HU.

Slope and intercept of each slice convert stored values to HU. pydicom decodes the pixels, with
`jpeg_lossless` for JPEG Lossless.
"""

import io
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from thorax.common.errors import InputError
from thorax.imaging.grid import corners
from thorax.imaging.intensity import LOWEST_HU
from thorax.io.dicom import jpeg_lossless
from thorax.io.dicom.codestreams import declared_frame_sizes
from thorax.io.dicom.files import DicomFile
from thorax.io.dicom.headers import Slice, read_header, without_warnings

WITHOUT_FRAME_SIZE = frozenset(
    (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, "")
)
"""Transfer syntaxes whose pixel data do not repeat the image size."""

AIR_HU = -900.0
"""Padding below it is air already, wherever it is."""

HIGHEST_CT_HU = 2**15 - 1
"""No CT number is above it; such values are negative padding whose sign was lost."""


class PixelReader:
    """Reads the pixels of slices, and checks compressed files once.

    A file in a zip, or a deflated one, is decompressed once for all of its frames: the content of
    the last such file is kept until `release`.

    Attributes:
        has_impossible_hu: True if a slice had voxels above `HIGHEST_CT_HU`.
    """

    def __init__(self) -> None:
        self._checked: set[str] = set()
        self._last: tuple[DicomFile, bytes] | None = None
        self.has_impossible_hu = False

    def hu(self, slice_: Slice) -> NDArray[Any]:
        """HU of one slice, shape ``(rows, columns)``; padding has the value of air.

        Raises:
            InputError: The pixels are damaged, or in an unsupported format.
        """
        shape = slice_.series.shape[::-1]
        with without_warnings():
            try:
                self._check_stream(slice_)
                with self._open(slice_.file) as stream:
                    hu = _decoder(slice_.pixels.syntax)(slice_, stream)
            # Decoders raise errors of many kinds for damaged pixels.
            except Exception:
                raise InputError(
                    f"the pixels of {slice_.file.name} cannot be read: the file is cut short or "
                    "damaged, or its compression is not supported; copy it again from its source"
                ) from None
        if hu.shape != shape:
            raise InputError(
                f"{slice_.file.name} has {hu.shape} pixels, but its header declares {shape}; "
                "copy it again from its source"
            )
        self.has_impossible_hu |= bool((hu > HIGHEST_CT_HU).any())
        return padding_as_air(hu, slice_)

    def release(self) -> None:
        """Free the content of the last file."""
        self._last = None

    def _open(self, file: DicomFile) -> IO[bytes]:
        """Open a file for random access."""
        if file.plain:
            return file.open()
        last = self._last
        if last is None or last[0] is not file:
            # Freed before the next one is read.
            self._last = last = None
            self._last = last = file, file.read()
        return io.BytesIO(last[1])

    def _check_stream(self, slice_: Slice) -> None:
        """Raise `ValueError` if compressed pixels have another size than the header declares."""
        if slice_.pixels.syntax in WITHOUT_FRAME_SIZE or slice_.file.name in self._checked:
            return
        with self._open(slice_.file) as stream:
            # Up to the pixels: an icon in the header has another size.
            read_header(stream, ["Rows"])
            sizes = list(declared_frame_sizes(stream.read()))
        if any(size != slice_.series.shape for size in sizes):
            raise ValueError
        self._checked.add(slice_.file.name)


def padding_as_air(hu: NDArray[Any], slice_: Slice) -> NDArray[Any]:
    """Replace padding by the lowest other value of the slice.

    Padding are the values that the header names, and those that no CT has. Named values that are
    brighter than air are replaced only where they are connected to the border: 4095, for example,
    is padding outside of the image, but metal inside.

    Args:
        hu: Shape ``(rows, columns)``.
        slice_: The slice.
    """
    impossible = hu > HIGHEST_CT_HU
    if slice_.pixels.padding is None and not impossible.any():
        return hu
    padded = _padded(hu, slice_) | impossible
    if padded.all() and slice_.pixels.has_rescale:
        return np.full_like(hu, LOWEST_HU)
    if not padded.any() or padded.all():
        return hu
    lowest, highest_padding = hu[~padded].min(), hu[padded].max()
    if highest_padding <= lowest:
        return hu
    if highest_padding > AIR_HU:
        padded = _connected_to_border(padded) | impossible
    return np.where(padded, lowest, hu)


def _padded(hu: NDArray[Any], slice_: Slice) -> NDArray[np.bool_]:
    """Pixels whose stored value is padding; the sign of either may be lost in the header.

    A value that does not fit in the stored bits uses the bits above them, which decoders drop. What
    remains may be a value of tissue, so it must be that of a corner of the slice.
    """
    pixels, padded = slice_.pixels, np.zeros(hu.shape, dtype=np.bool_)
    if pixels.padding is None or pixels.slope == 0:
        return padded
    stored = np.rint((hu - pixels.intercept) / pixels.slope).astype(np.int64)
    low, high = (_in_range(value, pixels.bits, signed=pixels.signed) for value in pixels.padding)
    low, high = min(low, high), max(low, high)
    stored_bits = (pixels.range[1] - pixels.range[0]).bit_length()
    lowest, highest = (_in_range(end, stored_bits, signed=pixels.signed) for end in (low, high))
    padded |= (stored >= low) & (stored <= high)
    remains = (stored >= lowest) & (stored <= highest)
    # Otherwise the ends of the range are not those of its values.
    if highest - lowest == high - low and corners(remains).any():
        padded |= remains
    return padded


def _in_range(value: int, bits: int, *, signed: bool) -> int:
    """Read a value as an integer of this size.

    Example:
        >>> _in_range(63536, 16, signed=True), _in_range(-2000, 16, signed=False)
        (-2000, 63536)
    """
    value %= 2**bits
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _connected_to_border(padded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, _ = ndimage.label(padded)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, edges[edges > 0])


_Decode = Callable[[Slice, IO[bytes]], NDArray[Any]]


def _decoder(syntax: str) -> _Decode:
    """Function that decodes a transfer syntax; `ValueError` if none does."""
    if not syntax:
        return _decode_without_syntax
    if syntax in jpeg_lossless.SYNTAXES:
        return _decode_jpeg_lossless
    if _has_decoder(syntax):
        return _decode
    raise ValueError(f"no decoder for {syntax}")


def _decode(slice_: Slice, stream: IO[bytes]) -> NDArray[np.float64]:
    return _in_hu(pixel_array(stream, index=slice_.frame), slice_)


def _decode_jpeg_lossless(slice_: Slice, stream: IO[bytes]) -> NDArray[np.float64]:
    jpeg_lossless.register()
    stored = pixel_array(stream, index=slice_.frame, decoding_plugin=jpeg_lossless.PLUGIN)
    return _in_hu(stored, slice_)


def _decode_without_syntax(slice_: Slice, stream: IO[bytes]) -> NDArray[np.float64]:
    """Decode a file that does not state its transfer syntax, by the encoding of its header."""
    dataset = dcmread(stream, force=True)
    is_implicit, is_little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    return _in_hu(pixel_array(dataset, index=slice_.frame), slice_)


def _in_hu(stored: NDArray[Any], slice_: Slice) -> NDArray[np.float64]:
    return stored.astype(np.float64) * slice_.pixels.slope + slice_.pixels.intercept


def _has_decoder(syntax: str) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
