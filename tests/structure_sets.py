"""DICOM structure sets of literal contours, and series without an image to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from .io.conftest import one_slice

Points = Sequence[tuple[float, float]]
"""Columns and rows of a contour, in pixels."""

HEIGHTS_MM = (30.0, 32.5, 35.0, 37.5)


def save_ct(
    folder: Path,
    *,
    heights_mm: Sequence[float] = HEIGHTS_MM,
    hu: ArrayLike | None = None,
    shift_mm: float = 0.0,
    **tags: Any,
) -> Path:
    """Write an axial series; pixels are 0.7 by 0.8 mm.

    Args:
        folder: Its folder.
        heights_mm: Heights of the slices.
        hu: Shape ``(slices, rows, columns)``; default: tissue of 10 rows and 12
            columns.
        shift_mm: Shift of a slice to the back per slice, as a tilted gantry has it.
        tags: Set in every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planes = np.full((len(heights_mm), 10, 12), 40) if hu is None else np.asarray(hu)
    for index, (height, plane) in enumerate(zip(heights_mm, planes, strict=True)):
        position = (-4.0, -20.0 + index * shift_mm, height)
        slice_ = one_slice(plane + 1024, position, InstanceNumber=100 - index, **tags)
        slice_.save_as(folder / f"{index * 7 % 11:02}.dcm", enforce_file_format=True)
    return folder


def points_mm(points: Points, height_mm: float, shift_mm: float = 0.0) -> list[float]:
    """Return the ContourData of points on a slice of `save_ct`."""
    return [
        value
        for column, row in points
        for value in (-4.0 + 0.7 * column, -20.0 + shift_mm + 0.8 * row, height_mm)
    ]


def save_structure_set(
    path: Path, rois: Mapping[str, Sequence[Sequence[float]]], *, kind: str = "CLOSED_PLANAR"
) -> Path:
    """Write a structure set.

    Args:
        path: The file.
        rois: Name → ContourData of its contours.
        kind: ContourGeometricType of all contours.
    """
    structure_set = Dataset()
    structure_set.file_meta = FileMetaDataset()
    structure_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    structure_set.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    structure_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    structure_set.SOPClassUID, structure_set.SOPInstanceUID = RTStructureSetStorage, "1.2.3.77"
    structure_set.Modality, structure_set.PatientName = "RTSTRUCT", "DOE^JOHN"
    structure_set.SeriesInstanceUID = "1.2.3.78"
    structure_set.ReferencedFrameOfReferenceSequence = [_reference("1.2.3.4")]
    structure_set.StructureSetROISequence = []
    structure_set.ROIContourSequence = []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName = number, name
        structure_set.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for data in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(data) // 3
            contour.ContourData = [f"{value:.6g}" for value in data]
            drawn.ContourSequence.append(contour)
        structure_set.ROIContourSequence.append(drawn)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, structure_set, enforce_file_format=True)
    return path


def _reference(series_uid: str) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    study = Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.RTReferencedStudySequence = [study]
    return frame
