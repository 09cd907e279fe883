"""Write masks as a DICOM structure set (RTSTRUCT), which treatment planning systems read.

Contours run along the edges of the border pixels, so masks are read back unchanged. A hole is a
keyhole in the contour around it, which the standard asks for in ``CLOSED_PLANAR`` contours (PS3.3,
C.8.8.6.3): readers that join all contours read it right too, not only those that combine them by
the even-odd rule.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.io.dicom_objects.polygons import Polygon, trace
from thorax.io.dicom_objects.source import Source, declare_encoding, header_errors, read_source
from thorax.io.scan import Scan
from thorax.io.suffixes import STRUCTURE_SET_SUFFIX

KIND = "DICOM structure set"

_SERIES_NUMBER = 1001

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, but planning systems expect it in the reference."""

_CONTOUR_DATA = Tag("ContourData")

_COLOURS = (
    *((0, 158, 115), (213, 94, 0), (0, 114, 178), (230, 159, 0)),
    *((204, 121, 167), (86, 180, 233), (240, 228, 66), (153, 153, 153)),
)
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""


def write_structure_set(path: Path, scan: Scan, masks: NDArray[Any], names: Sequence[str]) -> None:
    """Write the regions of a DICOM scan as a DICOM structure set, atomically.

    Patient and study are those of the series; the identifiers of the file are new each time.

    Args:
        path: Ends in ``.rtss.dcm``.
        scan: Read from DICOM.
        masks: Canonical planes of each region, shape ``(R, N, X, Y)``; nonzero inside the region.
        names: Names of the regions, which become those of the regions of interest.

    Raises:
        InputError: The file name has another suffix, the scan is not DICOM, its headers lack
            attributes that a structure set must repeat, or the folder cannot be written.
        ValueError: The shape of the masks does not match the scan or the names.
    """
    if not path.name.endswith(STRUCTURE_SET_SUFFIX):
        raise InputError(f"a DICOM structure set must end in {STRUCTURE_SET_SUFFIX}, got {path}")
    source = read_source(scan, KIND)
    x, y, z = scan.grid.shape
    if masks.shape != (len(names), z, x, y):
        raise ValueError(f"`masks` must have shape {(len(names), z, x, y)}, got {masks.shape}")
    with header_errors(scan.path, KIND):
        structure_set = _structure_set(source)
        declare_encoding(structure_set, names)
        for number, (name, mask) in enumerate(zip(names, masks, strict=True), start=1):
            stored = scan.to_stored(np.moveaxis(mask, 0, 2)) != 0
            _add_region(structure_set, source, number, name, list(_contours(source, stored)))
    with whole_file(path) as temporary:
        structure_set.save_as(temporary)


def _structure_set(source: Source) -> highdicom.base.SOPClass:
    header, now = source.header, datetime.now()
    structure_set = highdicom.base.SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        sop_class_uid=RTStructureSetStorage,
        instance_number=1,
        modality="RTSTRUCT",
        manufacturer="thorax",
        manufacturer_model_name="thorax",
        software_versions=version("thorax"),
        series_description="thorax structure set",
        # In explicit transfer syntaxes a contour may have 64 kB only.
        transfer_syntax_uid=ImplicitVRLittleEndian,
        patient_id=header.PatientID,
        patient_name=header.PatientName,
        patient_birth_date=header.PatientBirthDate,
        patient_sex=header.PatientSex,
        accession_number=header.AccessionNumber,
        study_id=header.StudyID,
        study_date=header.StudyDate,
        study_time=header.StudyTime,
        referring_physician_name=header.ReferringPhysicianName,
        specific_character_set=header.get("SpecificCharacterSet"),
    )
    structure_set.copy_patient_and_study_information(header)
    structure_set.OperatorsName = ""
    structure_set.StructureSetLabel = "THORAX"
    structure_set.StructureSetDate = now.strftime("%Y%m%d")
    structure_set.StructureSetTime = now.strftime("%H%M%S")
    structure_set.ApprovalStatus = "UNAPPROVED"
    structure_set.FrameOfReferenceUID = header.FrameOfReferenceUID
    structure_set.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    structure_set.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    structure_set.StructureSetROISequence = []
    structure_set.ROIContourSequence = []
    structure_set.RTROIObservationsSequence = []
    return structure_set


def _frame_of_reference(source: Source) -> Dataset:
    files, all_series = source.files, []
    for uid in dict.fromkeys(file.series_uid for file in files):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ContourImageSequence = [file.as_item() for file in files if file.series_uid == uid]
        all_series.append(series)
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = source.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = all_series
    frame = Dataset()
    frame.FrameOfReferenceUID = source.header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _add_region(
    structure_set: Dataset, source: Source, number: int, name: str, contours: list[Dataset]
) -> None:
    roi = Dataset()
    roi.ROINumber, roi.ROIName = number, name[:64]
    roi.ReferencedFrameOfReferenceUID = source.header.FrameOfReferenceUID
    roi.ROIGenerationAlgorithm = "AUTOMATIC"
    structure_set.StructureSetROISequence.append(roi)
    drawn = Dataset()
    drawn.ROIDisplayColor = list(_COLOURS[(number - 1) % len(_COLOURS)])
    drawn.ReferencedROINumber = number
    if contours:
        drawn.ContourSequence = contours
    structure_set.ROIContourSequence.append(drawn)
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = "ORGAN" if "lung" in name.lower() else ""
    observation.ROIInterpreter = ""
    structure_set.RTROIObservationsSequence.append(observation)


def _contours(source: Source, stored: NDArray[np.bool_]) -> Iterator[Dataset]:
    """Contours of a mask of shape ``(columns, rows, slices)``."""
    for index in np.flatnonzero(stored.any(axis=(0, 1))).tolist():
        for polygon in trace(stored[:, :, index]):
            yield _contour(source, index, polygon)


def _contour(source: Source, index: int, polygon: Polygon) -> Dataset:
    slice_ = source.series.slices[index]
    steps = slice_.orientation * slice_.spacing_mm[:, None]
    points = slice_.position_mm + polygon @ steps
    contour = Dataset()
    contour.ContourImageSequence = [source.references[index].as_item()]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    # pydicom would take a second for the numbers of a lung.
    text = "\\".join(f"{value:.4f}" for value in points.ravel()).encode()
    text += b" " * (len(text) % 2)
    contour[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(text), text, 0, True, True)
    return contour
