"""Write masks as a DICOM segmentation or structure set, by the suffix of the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from thorax.io import dicom_segmentation
from thorax.io.dicom_objects import structure_set_writer
from thorax.io.dicom_objects.source import read_source
from thorax.io.scan import Scan
from thorax.io.suffixes import STRUCTURE_SET_SUFFIX


def check_scan(path: Path, scan: Scan) -> None:
    """Check that masks of a scan can be written to a file, before they are computed.

    Raises:
        InputError: The scan is not DICOM, or its headers lack attributes.
    """
    kind = structure_set_writer.KIND if _is_structure_set(path) else dicom_segmentation.KIND
    read_source(scan, kind)


def write_masks(
    path: Path, scan: Scan, masks: NDArray[Any], names: Sequence[str], *, all_frames: bool = False
) -> None:
    """Write the regions of a DICOM scan; see `write_segmentation` and `write_structure_set`.

    Raises:
        InputError: As these functions.
    """
    if _is_structure_set(path):
        structure_set_writer.write_structure_set(path, scan, masks, names)
    else:
        dicom_segmentation.write_segmentation(path, scan, masks, names, all_frames=all_frames)


def _is_structure_set(path: Path) -> bool:
    return path.name.endswith(STRUCTURE_SET_SUFFIX)
