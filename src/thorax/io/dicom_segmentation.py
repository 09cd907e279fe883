"""Masks as a DICOM segmentation, which viewers and archives lay over their series.

This is the one place where data of the patient are written: the standard demands that a
segmentation repeats the patient and study modules of the series that it belongs to (PS3.3, A.51).
Treat the file as you treat the series.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.io.dicom.headers import quiet, read_header
from thorax.io.dicom.series import DicomSeries
from thorax.io.scan import Scan

_ORGAN = Code("91772007", "SCT", "Organ")

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

_LUNG, _LESION = Code("39607008", "SCT", "Lung"), Code("52988006", "SCT", "Lesion")

_TISSUE = Code("85756007", "SCT", "Tissue")

_SERIES_NUMBER = 1000


def write_segmentation(path: Path, scan: Scan, masks: NDArray[Any], names: Sequence[str]) -> None:
    """Write the regions of a DICOM scan as a DICOM segmentation, whole or not at all.

    There is one binary segment a region, on the very slices of the series; regions may overlap.
    Patient and study are those of the series; the identifiers of the file are new each time.

    Args:
        path: Ends in ``.dcm``.
        scan: Read from DICOM.
        masks: Canonical planes of each region, shape ``(R, N, X, Y)``; what is not 0 belongs to it.
        names: What the regions are called.

    Raises:
        InputError: The name ends otherwise, the scan is no DICOM, its headers lack what a
            segmentation must repeat, or the folder cannot be written.
        ValueError: The shapes do not fit.
    """
    if path.suffix != ".dcm":
        raise InputError(f"a DICOM segmentation must end in .dcm, got {path}")
    if not isinstance(scan.stored, DicomSeries):
        raise InputError(
            f"a DICOM segmentation needs a DICOM scan, but {scan.path} is none; "
            "write the mask as .nii.gz"
        )
    x, y, z = scan.grid.shape
    if masks.shape != (len(names), z, x, y):
        raise ValueError(f"`masks` must have shape {(len(names), z, x, y)}, got {masks.shape}")
    with whole_file(path) as temporary:
        _segmentation(scan, scan.stored, masks, names).save_as(temporary)


def _segmentation(
    scan: Scan, series: DicomSeries, masks: NDArray[Any], names: Sequence[str]
) -> highdicom.seg.Segmentation:
    sources = _sources(series)
    try:
        with quiet():
            return highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=_frames(scan, series, masks, sources),
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_segment(i + 1, name) for i, name in enumerate(names)],
                series_instance_uid=highdicom.UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="thorax",
                manufacturer_model_name="thorax",
                software_versions=version("thorax"),
                device_serial_number="0",
                transfer_syntax_uid=ExplicitVRLittleEndian,
                content_label="THORAX",
                series_description="thorax segmentation",
            )
    # The messages of highdicom may quote what the headers hold of the patient.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the headers of {scan.path} lack what a DICOM segmentation must repeat "
            f"({type(error).__name__}); write the mask as .nii.gz"
        ) from None


def _sources(series: DicomSeries) -> list[Dataset]:
    """The whole headers of the slices in stored order; a file of many frames once."""
    parts = list({each.part.name: each.part for each in series.slices}.values())
    headers = []
    with quiet():
        for part in parts:
            with part.open() as stream:
                headers.append(read_header(stream))
    for header in headers:
        if "NumberOfFrames" not in header:
            _set_measures(header, series)
    return headers


def _frames(
    scan: Scan, series: DicomSeries, masks: NDArray[Any], sources: list[Dataset]
) -> NDArray[np.uint8]:
    """Shape ``(frames, rows, columns, R)``, in the order of the source images."""
    stored = [scan.to_stored(np.moveaxis(mask, 0, 2)) for mask in masks]
    slices = np.stack([(each != 0).T for each in stored], axis=-1).astype(np.uint8)
    if len(sources) == len(series.slices):
        return slices
    frames = np.zeros((int(sources[0].NumberOfFrames), *slices.shape[1:]), np.uint8)
    frames[[each.frame for each in series.slices]] = slices
    return frames


def _set_measures(header: Dataset, series: DicomSeries) -> None:
    """Correct what highdicom takes over: thickness may be absent, and the distance wrong."""
    header.SpacingBetweenSlices = _distance_mm(series)
    if header.get("SliceThickness") is None:
        header.SliceThickness = header.SpacingBetweenSlices


def _distance_mm(series: DicomSeries) -> float:
    """Distance of neighbouring slices along their normal."""
    volume_mm3 = abs(np.linalg.det(series.affine[:3, :3]))
    return round(float(volume_mm3 / np.prod(series.slices[0].spacing_mm)), 6)


def _segment(number: int, name: str) -> highdicom.seg.SegmentDescription:
    category, kind = _codes(name)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="thorax",
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=version("thorax"),
        ),
    )


def _codes(name: str) -> tuple[Code, Code]:
    """Category and type of a region, by its name; a plain tissue where the name says neither."""
    if "lung" in name.lower():
        return _ORGAN, _LUNG
    if any(word in name.lower() for word in ("infection", "lesion", "nodule", "tumour", "tumor")):
        return _ABNORMAL, _LESION
    return _TISSUE, _TISSUE
