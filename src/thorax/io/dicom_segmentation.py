"""Write masks as a DICOM segmentation, which viewers and archives overlay on the series.

Like a structure set, it contains data of the patient: it must repeat the patient and study modules
of its series (PS3.3, A.51). Protect the file like the series.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.io.dicom.series import DicomSeries
from thorax.io.dicom_objects.source import (
    SliceReference,
    Source,
    declare_encoding,
    header_errors,
    read_source,
)
from thorax.io.scan import Scan

KIND = "DICOM segmentation"

_ORGAN = Code("91772007", "SCT", "Organ")

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

_LUNG, _LESION = Code("39607008", "SCT", "Lung"), Code("52988006", "SCT", "Lesion")

_TISSUE = Code("85756007", "SCT", "Tissue")

_SERIES_NUMBER = 1000


def write_segmentation(
    path: Path, scan: Scan, masks: NDArray[Any], names: Sequence[str], *, all_frames: bool = False
) -> None:
    """Write the regions of a DICOM scan as a DICOM segmentation, atomically.

    Each region is one binary segment on the slices of the series; regions may overlap. Patient and
    study are those of the series; the identifiers of the file are new each time.

    Args:
        path: Ends in ``.dcm``.
        scan: Read from DICOM.
        masks: Canonical planes of each region, shape ``(R, N, X, Y)``; nonzero inside the region.
        names: Names of the regions.
        all_frames: Also write frames without a voxel of their region.

    Raises:
        InputError: The file name has another suffix, the scan is not DICOM, its headers lack
            attributes that a segmentation must repeat, or the folder cannot be written.
        ValueError: The shape of the masks does not match the scan or the names.
    """
    if path.suffix != ".dcm":
        raise InputError(f"a DICOM segmentation must end in .dcm, got {path}")
    source = read_source(scan, KIND)
    x, y, z = scan.grid.shape
    if masks.shape != (len(names), z, x, y):
        raise ValueError(f"`masks` must have shape {(len(names), z, x, y)}, got {masks.shape}")
    with header_errors(scan.path, KIND), _without_log():
        segmentation = _segmentation(source, _frames(scan, masks), names, all_frames=all_frames)
        _refer_to_slices(segmentation, source)
        declare_encoding(segmentation, names)
    with whole_file(path) as temporary:
        segmentation.save_as(temporary)


def _segmentation(
    source: Source, frames: NDArray[np.uint8], names: Sequence[str], *, all_frames: bool
) -> highdicom.seg.Segmentation:
    return highdicom.seg.Segmentation(
        source_images=[_as_one_image(source)],
        pixel_array=frames,
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
        omit_empty_frames=not all_frames,
    )


def _frames(scan: Scan, masks: NDArray[Any]) -> NDArray[np.uint8]:
    """Shape ``(slices, rows, columns, R)``, in stored order."""
    stored = [scan.to_stored(np.moveaxis(mask, 0, 2)) for mask in masks]
    return np.stack([(mask != 0).T for mask in stored], axis=-1).astype(np.uint8)


def _as_one_image(source: Source) -> Dataset:
    """Describe the slices as the frames of one image, whatever the files that contain them.

    highdicom accepts one multi-frame image only, but a concatenation has several.
    """
    header, series = source.header, source.series
    header.SOPClassUID, header.NumberOfFrames = EnhancedCTImageStorage, len(series.slices)
    header.Columns, header.Rows = series.shape[:2]
    first, distance_mm = series.slices[0], _slice_distance_mm(series)
    column_mm, row_mm = first.spacing_mm.tolist()
    shared = Dataset()
    shared.PlaneOrientationSequence = highdicom.PlaneOrientationSequence(
        "PATIENT", first.orientation.ravel().tolist()
    )
    shared.PixelMeasuresSequence = highdicom.PixelMeasuresSequence(
        (row_mm, column_mm), first.thickness_mm or distance_mm, distance_mm
    )
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [
        _frame_groups(slice_.position_mm) for slice_ in series.slices
    ]
    return header


def _frame_groups(position_mm: NDArray[np.float64]) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = highdicom.PlanePositionSequence("PATIENT", position_mm.tolist())
    return groups


def _refer_to_slices(segmentation: Dataset, source: Source) -> None:
    """Replace the references to the frames of the one image by those to the slices themselves."""
    items = [
        item
        for groups in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in groups.DerivationImageSequence
        for item in derivation.SourceImageSequence
    ]
    # The frames of several segments on one slice share an item.
    for item in {id(item): item for item in items}.values():
        _refer_to(item, source.references[int(item.ReferencedFrameNumber) - 1])
    files = source.files
    segmentation.SourceImageSequence = [file.as_item() for file in files]
    referenced = []
    for uid in dict.fromkeys(file.series_uid for file in files):
        of_series = Dataset()
        of_series.SeriesInstanceUID = uid
        of_series.ReferencedInstanceSequence = [
            file.as_item() for file in files if file.series_uid == uid
        ]
        referenced.append(of_series)
    segmentation.ReferencedSeriesSequence = referenced


def _refer_to(item: Dataset, reference: SliceReference) -> None:
    del item.ReferencedFrameNumber
    item.update(reference.as_item())


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


@contextmanager
def _without_log() -> Iterator[None]:
    """Suppress the log of highdicom, which quotes an unusual name of the patient."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
