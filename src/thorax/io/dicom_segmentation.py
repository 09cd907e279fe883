"""Write masks as a DICOM segmentation, which viewers and archives overlay on the series.

Only this module writes data of the patient: a segmentation must repeat the patient and study
modules of its series (PS3.3, A.51). Protect the file like the series.
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
from thorax.io.dicom.headers import read_header, without_warnings
from thorax.io.dicom.series import DicomSeries
from thorax.io.scan import Scan

_ORGAN = Code("91772007", "SCT", "Organ")

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

_LUNG, _LESION = Code("39607008", "SCT", "Lung"), Code("52988006", "SCT", "Lesion")

_TISSUE = Code("85756007", "SCT", "Tissue")

_SERIES_NUMBER = 1000


def write_segmentation(path: Path, scan: Scan, masks: NDArray[Any], names: Sequence[str]) -> None:
    """Write the regions of a DICOM scan as a DICOM segmentation, atomically.

    Each region is one binary segment on the slices of the series; regions may overlap. Patient and
    study are those of the series; the identifiers of the file are new each time.

    Args:
        path: Ends in ``.dcm``.
        scan: Read from DICOM.
        masks: Canonical planes of each region, shape ``(R, N, X, Y)``; nonzero inside the region.
        names: Names of the regions.

    Raises:
        InputError: The file name has another suffix, the scan is not DICOM, its headers lack
            attributes that a segmentation must repeat, or the folder cannot be written.
        ValueError: The shape of the masks does not match the scan or the names.
    """
    if path.suffix != ".dcm":
        raise InputError(f"a DICOM segmentation must end in .dcm, got {path}")
    if not isinstance(scan.image, DicomSeries):
        raise InputError(
            f"a DICOM segmentation needs a DICOM scan, but {scan.path} is not DICOM; "
            "write the mask as .nii.gz"
        )
    x, y, z = scan.grid.shape
    if masks.shape != (len(names), z, x, y):
        raise ValueError(f"`masks` must have shape {(len(names), z, x, y)}, got {masks.shape}")
    with whole_file(path) as temporary:
        _segmentation(scan, scan.image, masks, names).save_as(temporary)


def _segmentation(
    scan: Scan, series: DicomSeries, masks: NDArray[Any], names: Sequence[str]
) -> highdicom.seg.Segmentation:
    sources = _sources(series)
    try:
        with without_warnings():
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
    # The messages of highdicom may quote data of the patient.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the headers of {scan.path} lack attributes that a DICOM segmentation must repeat "
            f"({type(error).__name__}); write the mask as .nii.gz"
        ) from None


def _sources(series: DicomSeries) -> list[Dataset]:
    """Complete headers of the slices in stored order; one header per multi-frame file."""
    files = {slice_.file.name: slice_.file for slice_ in series.slices}
    headers = []
    with without_warnings():
        for file in files.values():
            with file.open() as stream:
                headers.append(read_header(stream))
    for header in headers:
        if "NumberOfFrames" not in header:
            _set_spacing(header, series)
    return headers


def _frames(
    scan: Scan, series: DicomSeries, masks: NDArray[Any], sources: list[Dataset]
) -> NDArray[np.uint8]:
    """Shape ``(frames, rows, columns, R)``, in the order of the source images."""
    stored = [scan.to_stored(np.moveaxis(mask, 0, 2)) for mask in masks]
    slices = np.stack([(mask != 0).T for mask in stored], axis=-1).astype(np.uint8)
    if len(sources) == len(series.slices):
        return slices
    frames = np.zeros((int(sources[0].NumberOfFrames), *slices.shape[1:]), np.uint8)
    frames[[slice_.frame for slice_ in series.slices]] = slices
    return frames


def _set_spacing(header: Dataset, series: DicomSeries) -> None:
    """Set the slice distance, which may be wrong, and the thickness, which may be missing."""
    header.SpacingBetweenSlices = _slice_distance_mm(series)
    if header.get("SliceThickness") is None:
        header.SliceThickness = header.SpacingBetweenSlices


def _slice_distance_mm(series: DicomSeries) -> float:
    """Distance between neighbouring slices along their normal."""
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
    """Category and type of a region by its name; tissue for other names."""
    if "lung" in name.lower():
        return _ORGAN, _LUNG
    if any(word in name.lower() for word in ("infection", "lesion", "nodule", "tumour", "tumor")):
        return _ABNORMAL, _LESION
    return _TISSUE, _TISSUE
