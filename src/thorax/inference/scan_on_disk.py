"""The files of a scan on disk, to notice that a scan was replaced, or would be overwritten."""

from collections.abc import Iterable
from pathlib import Path

from thorax.common.errors import InputError
from thorax.inference.scan_folders import real_path
from thorax.io import SCAN_SUFFIXES, is_dicom_file, scan_files_on_disk

_OTHER_SUFFIXES = (*SCAN_SUFFIXES, ".json", ".csv", ".png")
"""Files next to DICOM files that are other scans, or were written by `thorax predict`."""


def scan_stamp(scan: Path, mask: Path) -> str:
    """Return number, size and latest change of a scan's files, to notice a replaced scan.

    Args:
        scan: A file, or the folder of a DICOM series.
        mask: The file of its mask; files in its folder are left out if that is in the scan's.
    """
    try:
        stats = [path.stat() for path in files_of_scan(scan, mask)]
    except OSError:  # a folder that cannot be listed is reported in the turn of this scan
        stats = []
    size = sum(stat.st_size for stat in stats)
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return f"{len(stats)} files of {size} bytes, {newest}"


def files_of_scan(scan: Path, mask: Path) -> list[Path]:
    """List the files of a scan that exist; of one file of a DICOM series those of its folder.

    Args:
        scan: A file, or the folder of a DICOM series.
        mask: The file of its mask; files in its folder are left out if that is in the scan's.
    """
    folder, paths = dicom_files(scan)
    if folder is None:
        return scan_files_on_disk(scan)
    masks = real_path(mask.parent)
    inside = real_path(folder) in masks.parents
    excluded = masks.relative_to(real_path(folder)) if inside else Path(mask.name)
    return [
        path
        for path in paths
        if path.is_file() and _is_of_series(path.relative_to(folder), excluded)
    ]


def dicom_files(scan: Path) -> tuple[Path | None, Iterable[Path]]:
    """Return the folder of a DICOM series and the paths in it that may be read with it.

    Args:
        scan: A file, or the folder of a DICOM series.

    Returns:
        None and no paths for other scans.
    """
    if scan.is_dir():
        return scan, scan.rglob("*")
    try:
        if not is_dicom_file(scan):
            return None, ()
    except InputError:  # it cannot be read, which is reported in the turn of this scan
        return None, ()
    folder = scan.parent
    return folder, folder.rglob("*") if scan.name.upper() == "DICOMDIR" else folder.iterdir()


def belongs_to_scan(path: Path, scan: Path) -> bool:
    """Return True if a file is one of a scan: its voxels, or a slice of the same folder.

    Masks as DICOM objects in the folder of a series are not.

    Args:
        path: An existing file.
        scan: A file, or the folder of a DICOM series.
    """
    folder, paths = dicom_files(scan)
    if folder is None or path.samefile(scan):
        return any(path.samefile(other) for other in (scan, *scan_files_on_disk(scan)))
    same = (other for other in paths if other.name == path.name and other.samefile(path))
    if next(same, None) is None or not is_dicom_file(path):
        return False
    from thorax.io.dicom_objects.read_masks import kind_of  # pydicom is slow to import

    return kind_of(path) not in ("RTSTRUCT", "SEG")


def _is_of_series(path: Path, excluded: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    other = path.name.lower().endswith(_OTHER_SUFFIXES)
    return not hidden and not other and excluded not in (path, *path.parents)
