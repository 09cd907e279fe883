"""What DICOM headers say: slices, grouped into the stacks that belong together.

Only the tags named here are read. None of them holds a name, a date or the id of a patient, so no
note and no message can tell of one.
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

from thorax.io.dicom.files import Part

MOST_FRAMES = 2**16
"""In one file; those of a whole heart through all of its phases are a tenth of it."""

LARGEST_VALUE_BYTES = 2**27
"""Of one value in a header; what all frames of a file say is some megabytes."""

_SPLITTING = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionNumber",
    "ConvolutionKernel",
    "TriggerTime",
    "AcquisitionTime",
)
"""Tags that tell volumes at the same positions apart, the plainest first; compared, never told."""

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
"""Where a multi-frame file keeps what a file of one slice has at its top."""


@dataclass(frozen=True)
class Family:
    """What the slices of a series have in common, geometry aside."""

    uid: str
    number: str
    modality: str
    shape: tuple[int, int]
    """Columns and rows."""
    colour: bool
    localizer: bool
    placed: bool
    """Whether its slices say where they lie."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a file, or one frame of it.

    Args:
        part: The file.
        frame: Number of the frame in it, from 0.
        family: What it shares with the others of its series.
        position_mm: Centre of its first pixel, LPS; shape ``(3,)``.
        orientation: Directions of its rows and of its columns, LPS; shape ``(2, 3)``.
        spacing_mm: Distance between pixel centres along a row, and along a column.
        thickness_mm: How thick it is, if it says so.
        slope, intercept: From stored values to HU.
        rescaled: Whether it says both; 1 and 0 stand for what it does not say.
        stored_range: Lowest and highest value that can be stored.
        syntax: UID of the transfer syntax; empty if it is not told.
        instance: What tells it from all others but its copies.
        marks: Values of the tags that tell volumes at the same positions apart.
    """

    part: Part
    frame: int
    family: Family
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    thickness_mm: float | None
    slope: float
    intercept: float
    rescaled: bool
    stored_range: tuple[int, int]
    syntax: str
    instance: tuple[str, int]
    marks: tuple[str, ...]


def read_slices(part: Part) -> list[Slice]:
    """The slices of one file; none if it holds no image or its header cannot be read."""
    with quiet():
        try:
            with part.open() as stream:
                header = read_header(stream, _TAGS)
            if "Rows" not in header or "SeriesInstanceUID" not in header:
                return []
            count = int(header.get("NumberOfFrames") or 1)
            if count > MOST_FRAMES:
                return []
            return [_slice(part, header, frame) for frame in range(count)]
        # pydicom raises errors of many kinds for damaged values.
        except Exception:
            return []


def read_header(stream: IO[bytes], tags: list[str] | None = None) -> Dataset:
    """Read a header, of which no value can fill memory.

    Deflated files are refused: pydicom unpacks them at once, whatever becomes of them.

    Args:
        stream: The file.
        tags: Those to read; all unless given.
    """
    frugal: Any = _Frugal(stream)
    return pydicom.dcmread(frugal, stop_before_pixels=True, specific_tags=tags, force=True)


class _Frugal:
    """A file that is read in pieces of bearable size alone."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        """As of files, but never all that is left."""
        if not 0 <= size <= LARGEST_VALUE_BYTES:
            raise ValueError("a value is too large")
        return self._stream.read(size)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning of values, which may name the patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def group(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Put slices of one series, size, direction and spacing together."""
    groups: list[list[Slice]] = []
    for each in slices:
        for known in groups:
            if _alike(known[0], each):
                known.append(each)
                break
        else:
            groups.append([each])
    return groups


def without_copies(slices: Sequence[Slice]) -> list[Slice]:
    """Keep the first of slices that are the same instance, as when files were copied twice."""
    return list({each.instance: each for each in reversed(slices)}.values())[::-1]


def split_phases(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Tell volumes at the same positions apart, as in a 4D series: the largest first.

    Returns:
        One list of all slices if no two share a position, or if no tag tells them apart.
    """
    multiplicity = max(Counter(_place(each) for each in slices).values())
    for index in range(len(_SPLITTING)):
        volumes: dict[str, list[Slice]] = {}
        for each in slices:
            volumes.setdefault(each.marks[index], []).append(each)
        apart = all(len({_place(each) for each in v}) == len(v) for v in volumes.values())
        if apart and len(volumes) <= multiplicity:
            return sorted(volumes.values(), key=lambda v: (-len(v), _natural(v[0].marks[index])))
    return [list(slices)]


def _slice(part: Part, header: Dataset, frame: int) -> Slice:
    position, placed = _numbers(header, frame, "ImagePositionPatient", 3)
    orientation, directed = _numbers(header, frame, "ImageOrientationPatient", 6)
    spacing, spaced = _numbers(header, frame, "PixelSpacing", 2)
    slope, sloped = _numbers(header, frame, "RescaleSlope", 1, missing=1.0)
    intercept, shifted = _numbers(header, frame, "RescaleIntercept", 1, missing=0.0)
    thickness, thick = _numbers(header, frame, "SliceThickness", 1)
    meta = getattr(header, "file_meta", {})
    return Slice(
        part,
        frame,
        _family(header, placed=placed and directed and spaced),
        position,
        orientation.reshape(2, 3),
        spacing[::-1],
        float(thickness[0]) if thick and thickness[0] > 0 else None,
        float(slope[0]),
        float(intercept[0]),
        sloped and shifted,
        _stored_range(header),
        str(meta.get("TransferSyntaxUID", "")),
        (str(header.get("SOPInstanceUID", part.name)), frame),
        tuple(str(_value(header, frame, tag)) for tag in _SPLITTING),
    )


def _family(header: Dataset, *, placed: bool) -> Family:
    number = header.get("SeriesNumber")
    return Family(
        str(header.SeriesInstanceUID),
        "" if number is None else str(number),
        str(header.get("Modality", "")),
        (int(header.Columns), int(header.Rows)),
        int(header.get("SamplesPerPixel", 1)) > 1,
        "LOCALIZER" in [str(word) for word in header.get("ImageType") or ()],
        placed,
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
    """The numbers of a tag, and whether they are there."""
    value = _value(header, frame, tag)
    found = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64))
    if found.shape == (count,) and np.isfinite(found).all():
        return found, True
    return np.full(count, missing), False


def _stored_range(header: Dataset) -> tuple[int, int]:
    bits = int(header.get("BitsStored", 16))
    if header.get("PixelRepresentation", 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _alike(one: Slice, other: Slice) -> bool:
    return (
        one.family == other.family
        and np.allclose(one.orientation, other.orientation, rtol=0, atol=2e-3)
        and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3, atol=0)
    )


def _place(each: Slice) -> tuple[float, ...]:
    return tuple(np.round(each.position_mm, 2).tolist())


def _natural(mark: str) -> tuple[float, str]:
    try:
        return float(mark), mark
    except ValueError:
        return float("inf"), mark
