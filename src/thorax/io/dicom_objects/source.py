"""Headers of a series that an object which refers to it must repeat (PS3.3, C.7.1 to C.7.4)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from thorax.common.errors import InputError
from thorax.common.text import counted, listed
from thorax.io.dicom.headers import read_header, without_warnings
from thorax.io.dicom.series import DicomSeries
from thorax.io.scan import Scan

_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
"""Attributes of type 1: they must have a value."""

_COMMON = ("StudyInstanceUID", "FrameOfReferenceUID")
"""Attributes that must have one value in all slices."""

_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes of type 2: they must be present, and may be empty."""

_ADVICE = "write the mask as .nii.gz"


@dataclass(frozen=True)
class SliceReference:
    """Identifiers by which another object refers to a slice.

    Args:
        class_uid: SOPClassUID of the file.
        instance_uid: SOPInstanceUID of the file.
        series_uid: SeriesInstanceUID of the file.
        frame: Number of the frame, from 1; None for a file of one slice.
    """

    class_uid: str
    instance_uid: str
    series_uid: str
    frame: int | None

    def as_item(self) -> Dataset:
        """Return an item of a sequence of referenced images."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.class_uid
        item.ReferencedSOPInstanceUID = self.instance_uid
        if self.frame is not None:
            item.ReferencedFrameNumber = self.frame
        return item


@dataclass(frozen=True, eq=False)
class Source:
    """The series that an object refers to.

    Args:
        series: The series.
        header: Complete header of its first slice; attributes of type 2 are present.
        references: One per slice, in stored order.
    """

    series: DicomSeries
    header: Dataset
    references: tuple[SliceReference, ...]

    @property
    def files(self) -> list[SliceReference]:
        """One reference per file, without frame numbers."""
        return list(
            {
                reference.instance_uid: SliceReference(
                    reference.class_uid, reference.instance_uid, reference.series_uid, None
                )
                for reference in self.references
            }.values()
        )


def read_source(scan: Scan, kind: str) -> Source:
    """Read the headers that an object must repeat.

    Args:
        scan: The scan of the masks.
        kind: Name of the object for messages, such as ``DICOM segmentation``.

    Raises:
        InputError: The scan is not DICOM, or attributes are missing or differ between its slices.
            The message has their names, and no value of them.
    """
    series = scan.image
    if not isinstance(series, DicomSeries):
        raise InputError(f"a {kind} needs a DICOM scan, but {scan.path} is not DICOM; {_ADVICE}")
    headers = _identifiers(series)
    _check_required(scan.path, series, headers, kind)
    references = tuple(
        SliceReference(
            str(header.SOPClassUID),
            str(header.SOPInstanceUID),
            str(header.SeriesInstanceUID),
            slice_.frame + 1 if "NumberOfFrames" in header else None,
        )
        for slice_ in series.slices
        for header in (headers[slice_.file.name],)
    )
    _check_distinct(scan.path, references, kind)
    return Source(series, _complete_header(series), references)


def _identifiers(series: DicomSeries) -> dict[str, Dataset]:
    """Identifiers of each file, by its name."""
    tags = [*_REQUIRED, "SeriesInstanceUID", "NumberOfFrames"]
    headers = {}
    with without_warnings():
        for slice_ in series.slices:
            if slice_.file.name not in headers:
                with slice_.file.open() as stream:
                    headers[slice_.file.name] = read_header(stream, tags)
    return headers


def _check_required(
    path: Path, series: DicomSeries, headers: dict[str, Dataset], kind: str
) -> None:
    of_slices = [headers[slice_.file.name] for slice_ in series.slices]
    missing = Counter(tag for header in of_slices for tag in _REQUIRED if not header.get(tag))
    if missing:
        names = listed(
            f"{tag} ({counted(missing[tag], 'slice')})" for tag in _REQUIRED if tag in missing
        )
        raise InputError(
            f"a {kind} must repeat attributes of its series, but the headers of {path} lack "
            f"{names}; {_ADVICE}"
        )
    varying = [tag for tag in _COMMON if len({str(header.get(tag)) for header in of_slices}) > 1]
    if varying:
        raise InputError(
            f"a {kind} needs the same {listed(varying)} in all slices, but those of {path} "
            f"differ; {_ADVICE}"
        )


def _check_distinct(path: Path, references: tuple[SliceReference, ...], kind: str) -> None:
    counts = Counter((reference.instance_uid, reference.frame) for reference in references)
    shared = sum(count for count in counts.values() if count > 1)
    if shared:
        raise InputError(
            f"a {kind} needs a different SOPInstanceUID in each slice, but {shared} slices of "
            f"{path} share theirs with another; {_ADVICE}"
        )


def _complete_header(series: DicomSeries) -> Dataset:
    with without_warnings():
        with series.slices[0].file.open() as stream:
            header = read_header(stream)
        for tag in _MAY_BE_EMPTY:
            setattr(header, tag, _valid(tag, header.get(tag)))
    return header


def _valid(tag: str, value: Any) -> Any:
    """Return a value, or an empty one if the standard does not allow it."""
    text = "" if value is None else str(value)
    try:
        if tag.endswith("Date"):
            DA(text)
        elif tag.endswith("Time"):
            TM(text)
    except ValueError:
        return ""
    if tag == "PatientSex" and text not in ("M", "F", "O"):
        return ""
    return "" if value is None else value


def declare_encoding(dataset: Dataset, names: Sequence[str]) -> None:
    """Declare UTF-8 if the encoding of the series may lack letters of the names."""
    if not all(name.isascii() for name in names):
        dataset.SpecificCharacterSet = "ISO_IR 192"


@contextmanager
def header_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of highdicom and pydicom, which may quote data of the patient, into one line."""
    try:
        with without_warnings():
            yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the headers of {path} have values that a {kind} cannot repeat "
            f"({type(error).__name__}); {_ADVICE}"
        ) from None
