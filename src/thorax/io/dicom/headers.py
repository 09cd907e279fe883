"""Read slices from DICOM headers, and group them into slice stacks.

Only the tags listed here are read. None of them contains a name, a date or the id of a patient, so
no note and no message can disclose one.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from thorax.io.dicom.files import DicomFile

MAX_FRAMES = 2**16
"""Frames of a file; a heart in all its phases has a tenth of it."""

MAX_VALUE_BYTES = 2**27
"""Size of one header value; the functional groups of all frames take a few megabytes."""

_SPLITTING = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionNumber",
    "ConvolutionKernel",
    "TriggerTime",
    "AcquisitionTime",
)
"""Tags that separate volumes at the same positions, the most specific first; never printed."""

_TAGS = [
    *("Modality", "ImageType", "SeriesInstanceUID", "SeriesNumber", "SOPInstanceUID"),
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsStored", "PixelRepresentation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(tag for tag in _SPLITTING if tag != "TemporalPositionIndex"),
]

_MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}
"""Sequences of a multi-frame file that contain these tags."""


@dataclass(frozen=True)
class SeriesKey:
    """Properties common to all slices of a series, except for the geometry.

    Args:
        uid: SeriesInstanceUID.
        number: SeriesNumber; empty if missing.
        modality: Such as ``CT``; empty if missing.
        shape: Columns and rows.
        colour: True for several samples per pixel.
        localizer: True for a scout image.
        has_geometry: True if the slices state position, orientation and pixel spacing.
    """

    uid: str
    number: str
    modality: str
    shape: tuple[int, int]
    colour: bool
    localizer: bool
    has_geometry: bool


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a file, or one frame of it.

    Args:
        file: The file.
        frame: Index of the frame in the file, from 0.
        series: Properties common to all slices of the series.
        position_mm: Centre of its first pixel, LPS; shape ``(3,)``.
        orientation: Directions of its rows and of its columns, LPS; shape ``(2, 3)``.
        spacing_mm: Distance between pixel centres along a row, and along a column.
        thickness_mm: Slice thickness; None if missing.
        slope, intercept: Conversion of stored values to HU.
        has_rescale: True if the header states both; missing values are 1 and 0.
        stored_range: Lowest and highest value that can be stored.
        syntax: UID of the transfer syntax; empty if missing.
        instance: Identifier of the instance and frame, shared by copies only.
        volume_tags: Values of the tags that separate volumes at the same positions.
    """

    file: DicomFile
    frame: int
    series: SeriesKey
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    thickness_mm: float | None
    slope: float
    intercept: float
    has_rescale: bool
    stored_range: tuple[int, int]
    syntax: str
    instance: tuple[str, int]
    volume_tags: tuple[str, ...]


def read_slices(file: DicomFile) -> list[Slice]:
    """Read the slices of a file; none if it has no image or its header cannot be read."""
    with without_warnings():
        try:
            with file.open() as stream:
                header = read_header(stream, _TAGS)
            if "Rows" not in header or "SeriesInstanceUID" not in header:
                return []
            count = int(header.get("NumberOfFrames") or 1)
            if count > MAX_FRAMES:
                return []
            return [_slice(file, header, frame) for frame in range(count)]
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            return []


def read_header(stream: IO[bytes], tags: list[str] | None = None) -> Dataset:
    """Read a header, with a limit on the size of its values.

    Deflated files are refused: pydicom decompresses them completely, without a limit.

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


def group_slices(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Group slices of the same series, size, orientation and spacing."""
    groups: list[list[Slice]] = []
    for slice_ in slices:
        for members in groups:
            if _same_stack(members[0], slice_):
                members.append(slice_)
                break
        else:
            groups.append([slice_])
    return groups


def without_duplicates(slices: Sequence[Slice]) -> list[Slice]:
    """Keep the first of several slices with the same instance, for instance copied files."""
    return list({slice_.instance: slice_ for slice_ in reversed(slices)}.values())[::-1]


def split_volumes(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Separate volumes at the same positions, as in a 4D series; the largest comes first.

    Returns:
        One list of all slices if positions are unique, or if no tag separates the volumes.
    """
    multiplicity = max(Counter(map(_position, slices)).values())
    for index in range(len(_SPLITTING)):
        volumes: dict[str, list[Slice]] = {}
        for slice_ in slices:
            volumes.setdefault(slice_.volume_tags[index], []).append(slice_)
        separate = all(len(set(map(_position, v))) == len(v) for v in volumes.values())
        if separate and len(volumes) <= multiplicity:
            return sorted(
                volumes.values(),
                key=lambda volume: (-len(volume), _natural_key(volume[0].volume_tags[index])),
            )
    return [list(slices)]


def _slice(file: DicomFile, header: Dataset, frame: int) -> Slice:
    position, placed = _numbers(header, frame, "ImagePositionPatient", 3)
    orientation, directed = _numbers(header, frame, "ImageOrientationPatient", 6)
    spacing, spaced = _numbers(header, frame, "PixelSpacing", 2)
    slope, sloped = _numbers(header, frame, "RescaleSlope", 1, missing=1.0)
    intercept, shifted = _numbers(header, frame, "RescaleIntercept", 1, missing=0.0)
    thickness, thick = _numbers(header, frame, "SliceThickness", 1)
    meta = getattr(header, "file_meta", {})
    return Slice(
        file,
        frame,
        _series_key(header, has_geometry=placed and directed and spaced),
        position,
        orientation.reshape(2, 3),
        spacing[::-1],
        float(thickness[0]) if thick and thickness[0] > 0 else None,
        float(slope[0]),
        float(intercept[0]),
        sloped and shifted,
        _stored_range(header),
        str(meta.get("TransferSyntaxUID", "")),
        (str(header.get("SOPInstanceUID", file.name)), frame),
        tuple(str(_value(header, frame, tag)) for tag in _SPLITTING),
    )


def _series_key(header: Dataset, *, has_geometry: bool) -> SeriesKey:
    number = header.get("SeriesNumber")
    return SeriesKey(
        str(header.SeriesInstanceUID),
        "" if number is None else str(number),
        str(header.get("Modality", "")),
        (int(header.Columns), int(header.Rows)),
        int(header.get("SamplesPerPixel", 1)) > 1,
        "LOCALIZER" in [str(word) for word in header.get("ImageType") or ()],
        has_geometry,
    )


def _value(header: Dataset, frame: int, tag: str) -> Any:
    for groups, at in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        if groups in header and tag in _MACROS:
            macro = header[groups].value[at].get(_MACROS[tag])
            if macro and tag in macro[0]:
                return macro[0].get(tag)
    return header.get(tag)


def _numbers(
    header: Dataset, frame: int, tag: str, count: int, *, missing: float = 0.0
) -> tuple[NDArray[np.float64], bool]:
    """Values of a numeric tag, and True if the header has them."""
    value = _value(header, frame, tag)
    numbers = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64))
    if numbers.shape == (count,) and np.isfinite(numbers).all():
        return numbers, True
    return np.full(count, missing), False


def _stored_range(header: Dataset) -> tuple[int, int]:
    bits = int(header.get("BitsStored", 16))
    if header.get("PixelRepresentation", 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _same_stack(first: Slice, other: Slice) -> bool:
    return (
        first.series == other.series
        and np.allclose(first.orientation, other.orientation, rtol=0, atol=2e-3)
        and np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3, atol=0)
    )


def _position(slice_: Slice) -> tuple[float, ...]:
    return tuple(np.round(slice_.position_mm, 2).tolist())


def _natural_key(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text
