"""Read the slices of DICOM files from their headers.

Only the tags listed here are read. Name, id and birth date of the patient serve one purpose: a
SeriesDescription that repeats one of them is dropped. UIDs are compared, but never printed, except
for a SeriesInstanceUID that is needed to select a series.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from thorax.io.dicom.files import DicomFile

MAX_FRAMES = 2**16
"""Frames of a file; a heart in all its phases has a tenth of it."""

MAX_VALUE_BYTES = 2**27
"""Size of one header value; the functional groups of all frames take a few megabytes."""

VOLUME_TAGS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionNumber",
    "ConvolutionKernel",
    "SliceThickness",
    "ImageType",
    "TriggerTime",
    "AcquisitionTime",
)
"""Tags that separate volumes at the same positions, the most specific first; never printed."""

GEOMETRY_TAGS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
"""Tags that give the position of a slice, and their number of values."""

_PATIENT_TAGS = ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber")

_MIN_WORD = 3
"""Letters of a word of `_PATIENT_TAGS` that may identify the patient."""

_MAX_DESCRIPTION = 40

_TAGS = [
    *_PATIENT_TAGS,
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"),
    *("FrameOfReferenceUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns"),
    *("SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept"),
    "RescaleType",
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *GEOMETRY_TAGS,
    *(tag for tag in VOLUME_TAGS if tag != "TemporalPositionIndex"),
]

_MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
}
"""Sequences of a multi-frame file that contain these tags."""

_CT_CLASSES = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

_MAX_SKEW = 0.02
"""Deviation of the directions of rows and columns from unit length and from a right angle."""

Values = dict[str, NDArray[np.float64] | None]


@dataclass(frozen=True)
class SeriesKey:
    """Properties common to all slices of a series, except for the geometry.

    The number is not compared: it may differ within a series.

    Args:
        uid: SeriesInstanceUID; empty if missing.
        number: SeriesNumber; empty if missing.
        modality: Such as ``CT``; empty if missing.
        shape: Columns and rows.
        colour: True for several samples per pixel.
        localizer: True for a scout image.
        geometry_fault: Reason why the position of the slice is unknown; empty if it is known.
    """

    uid: str
    number: str = field(compare=False)
    modality: str
    shape: tuple[int, int]
    colour: bool
    localizer: bool
    geometry_fault: str


@dataclass(frozen=True)
class StoredPixels:
    """Encoding of the pixels of a slice.

    Args:
        slope, intercept: Conversion of stored values to HU.
        has_rescale: True if the header states both; missing values are 1 and 0.
        range: Lowest and highest value that can be stored.
        bits: Bits that a pixel occupies.
        signed: True for signed values.
        padding: Lowest and highest stored value outside of the image (PixelPaddingValue and
            PixelPaddingRangeLimit; PS3.3, C.7.5.1.1.2); None if the header states none.
        syntax: UID of the transfer syntax; empty if missing.
        unit: RescaleType, the unit of converted values; empty if missing.
    """

    slope: float
    intercept: float
    has_rescale: bool
    range: tuple[int, int]
    bits: int
    signed: bool
    padding: tuple[int, int] | None
    syntax: str
    unit: str


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a file, or one frame of it.

    Args:
        file: The file.
        frame: Index of the frame in the file, from 0.
        series: Properties common to all slices of the series.
        description: SeriesDescription; empty if it may identify the patient.
        frame_of_reference: FrameOfReferenceUID.
        position_mm: Centre of its first pixel, LPS; shape ``(3,)``.
        orientation: Directions of its rows and of its columns, LPS; shape ``(2, 3)``.
        spacing_mm: Distance between pixel centres along a row, and along a column.
        thickness_mm: Slice thickness; None if missing.
        original: False if the ImageType states that pixels are derived from other images.
        kernel: ConvolutionKernel.
        pixels: Encoding of the pixels.
        volume_tags: Values of `VOLUME_TAGS`.
    """

    file: DicomFile
    frame: int
    series: SeriesKey
    description: str
    frame_of_reference: str
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    thickness_mm: float | None
    original: bool
    kernel: str
    pixels: StoredPixels
    volume_tags: tuple[str, ...]


class DamagedHeaderError(Exception):
    """A file looks like DICOM, but its header cannot be read.

    Args:
        uid: Its SeriesInstanceUID; empty if it cannot be read either.
    """

    def __init__(self, uid: str = "") -> None:
        super().__init__()
        self.uid = uid


def read_slices(file: DicomFile) -> list[Slice]:
    """Read the slices of a file; none if it is an object without an image, such as a report.

    Raises:
        DamagedHeaderError: The header is damaged, or cut short.
    """
    with without_warnings():
        try:
            with file.open() as stream:
                header = read_header(stream, _TAGS)
            if "Rows" not in header or "Columns" not in header:
                return _without_image(header)
            count = int(header.get("NumberOfFrames") or 1)
            if count > MAX_FRAMES:
                raise DamagedHeaderError
            return [_slice(file, header, frame) for frame in range(count)]
        except DamagedHeaderError:
            raise
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            raise DamagedHeaderError from None


def _without_image(header: Dataset) -> list[Slice]:
    meta = getattr(header, "file_meta", {})
    sop_class = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    if not sop_class or sop_class in _CT_CLASSES:
        raise DamagedHeaderError(str(header.get("SeriesInstanceUID") or ""))
    return []


def read_header(stream: IO[bytes], tags: list[str] | None = None) -> Dataset:
    """Read a header, with a limit on the size of its values.

    Args:
        stream: The file.
        tags: Tags to read; default: all.
    """
    limited: Any = _LimitedReader(stream)
    return pydicom.dcmread(limited, stop_before_pixels=True, specific_tags=tags, force=True)


class _LimitedReader:
    """A file that refuses to read large pieces."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes; the whole rest of the file is never read."""
        if not 0 <= size <= MAX_VALUE_BYTES:
            raise ValueError("a value is too large")
        return self._stream.read(size)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress warnings of pydicom about values, which may name the patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _slice(file: DicomFile, header: Dataset, frame: int) -> Slice:
    geometry = {tag: _numbers(header, frame, tag, n) for tag, n in GEOMETRY_TAGS.items()}
    position, orientation, spacing = (
        np.zeros(count) if values is None else values
        for count, values in zip(GEOMETRY_TAGS.values(), geometry.values(), strict=True)
    )
    thickness = _numbers(header, frame, "SliceThickness", 1)
    return Slice(
        file,
        frame,
        _series_key(header, frame, geometry),
        _description(header),
        str(header.get("FrameOfReferenceUID", "")),
        position,
        orientation.reshape(2, 3),
        spacing[::-1],
        None if thickness is None or thickness[0] <= 0 else float(thickness[0]),
        "DERIVED" not in map(str, header.get("ImageType") or ()),
        _text(_value(header, frame, "ConvolutionKernel")),
        _stored_pixels(header, frame),
        tuple(str(_value(header, frame, tag)) for tag in VOLUME_TAGS),
    )


def _description(header: Dataset) -> str:
    words = str(header.get("SeriesDescription") or "").split()
    text = " ".join(words)[:_MAX_DESCRIPTION].replace("`", "'")
    private = re.findall(r"\w+", " ".join(str(header.get(tag) or "") for tag in _PATIENT_TAGS))
    if any(len(word) >= _MIN_WORD and word.lower() in text.lower() for word in private):
        return ""
    return text if text.isprintable() else ""


def _series_key(header: Dataset, frame: int, geometry: Values) -> SeriesKey:
    number = header.get("SeriesNumber")
    is_ct_class = header.get("SOPClassUID") in _CT_CLASSES
    return SeriesKey(
        str(header.get("SeriesInstanceUID") or ""),
        "" if number is None else str(number),
        str(header.get("Modality") or ("CT" if is_ct_class else "")),
        (int(header.Columns), int(header.Rows)),
        int(header.get("SamplesPerPixel") or 1) > 1,
        "LOCALIZER" in map(str, header.get("ImageType") or ()),
        _geometry_fault(header, frame, geometry),
    )


def _geometry_fault(header: Dataset, frame: int, geometry: Values) -> str:
    missing = [tag for tag, value in geometry.items() if value is None]
    if missing:
        return f"states no {' and no '.join(missing)}"
    orientation, spacing = geometry["ImageOrientationPatient"], geometry["PixelSpacing"]
    if orientation is not None and not _are_directions(orientation.reshape(2, 3)):
        return "states an ImageOrientationPatient that is not two directions at a right angle"
    if spacing is not None and spacing.min() <= 0:
        return "states a PixelSpacing that is not above 0"
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1 and not _is_per_frame(header, frame, "ImagePositionPatient"):
        return f"states one ImagePositionPatient for all {frames} frames"
    return ""


def _are_directions(orientation: NDArray[np.float64]) -> bool:
    return bool(np.abs(orientation @ orientation.T - np.eye(2)).max() <= _MAX_SKEW)


def _is_per_frame(header: Dataset, frame: int, tag: str) -> bool:
    groups = header.get("PerFrameFunctionalGroupsSequence")
    macro = groups[frame].get(_MACROS[tag]) if groups else None
    return bool(macro and tag in macro[0])


def _stored_pixels(header: Dataset, frame: int) -> StoredPixels:
    slope = _numbers(header, frame, "RescaleSlope", 1)
    intercept = _numbers(header, frame, "RescaleIntercept", 1)
    meta = getattr(header, "file_meta", {})
    return StoredPixels(
        1.0 if slope is None else float(slope[0]),
        0.0 if intercept is None else float(intercept[0]),
        slope is not None and intercept is not None,
        _stored_range(header),
        int(header.get("BitsAllocated") or 16),
        bool(header.get("PixelRepresentation", 0)),
        _padding(header),
        str(meta.get("TransferSyntaxUID", "")),
        _text(_value(header, frame, "RescaleType")).strip().upper(),
    )


def _stored_range(header: Dataset) -> tuple[int, int]:
    bits = int(header.get("BitsStored") or 16)
    if header.get("PixelRepresentation", 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _padding(header: Dataset) -> tuple[int, int] | None:
    first = _whole(header.get("PixelPaddingValue"))
    if first is None:
        return None
    last = _whole(header.get("PixelPaddingRangeLimit"))
    ends = (first, first if last is None else last)
    return min(ends), max(ends)


def _whole(value: Any) -> int | None:
    """An integer, which pydicom leaves as bytes if it cannot tell whether it is signed."""
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little") if value else None
    return None if value is None or value == "" else int(value)


def _value(header: Dataset, frame: int, tag: str) -> Any:
    for groups, at in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        if tag in _MACROS and header.get(groups):
            macro = header[groups].value[at].get(_MACROS[tag])
            if macro and tag in macro[0]:
                return macro[0].get(tag)
    return header.get(tag)


def _numbers(header: Dataset, frame: int, tag: str, count: int) -> NDArray[np.float64] | None:
    """Values of a numeric tag; None if the header does not have that many finite ones."""
    try:
        value = _value(header, frame, tag)
        numbers = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else "\\".join(map(str, value))
