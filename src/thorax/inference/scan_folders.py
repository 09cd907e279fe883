"""Find the scans in a folder: files of any format, and folders of DICOM files."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from thorax.common.errors import InputError
from thorax.io import SCAN_SUFFIXES, holds_dicom, is_dicom_file
from thorax.io.suffixes import DICOM_SUFFIXES, PAIR_SUFFIXES, scan_files

NamedScan = tuple[str, Path]
"""Case and path of a scan."""


def scans_in_folder(
    folder: Path, name: str, exclude: Path, *, prefix: Path = Path()
) -> Iterator[NamedScan]:
    """Yield the folder itself if its DICOM files are a scan, and all other scans in it.

    Args:
        folder: The folder.
        name: Case of the folder itself.
        exclude: Folder of the masks.
        prefix: First part of the cases of other scans.
    """
    dicom = _dicom_scan(folder, exclude)
    if dicom == folder:
        yield name, folder
        if real_path(folder) == real_path(exclude):
            return  # its other files are masks
    for path in _below(folder, exclude, dicom):
        relative = prefix / path.relative_to(folder)
        case = relative if path.is_dir() else relative.parent / scan_name(path)
        yield case.as_posix(), path


def _below(folder: Path, exclude: Path, dicom: Path | None) -> Iterator[Path]:
    """Yield the scans in a folder at any depth; a folder of DICOM files is one scan.

    Links are followed; no folder is visited twice.

    Args:
        folder: The folder, which is not yielded itself.
        exclude: Folder of the masks.
        dicom: `_dicom_scan` of the folder.
    """
    visited = {real_path(exclude), real_path(folder)}
    found = {folder: dicom}
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        here = Path(root)
        to_visit = []
        for name in sorted(folders):
            path = here / name
            if name.startswith(".") or real_path(path) in visited:
                continue
            visited.add(real_path(path))
            to_visit.append(name)
            found[path] = found[here] if _is_folder(found[here]) else _dicom_scan(path, exclude)
            if found[path] == path:
                yield path
        folders[:] = to_visit
        yield from _files(here, names, found[here])


def _files(folder: Path, names: list[str], dicom: Path | None) -> Iterator[Path]:
    """Yield the scans among the files of a folder.

    Args:
        folder: The folder.
        names: Names of its files.
        dicom: The folder whose DICOM files are one scan, with those of this folder; or the only
            DICOM file of this folder.
    """
    if dicom and not _is_folder(dicom):
        yield dicom
    for path in (folder / name for name in scan_files(names)):
        if dicom is None or not is_dicom_file(path):
            yield path


def _dicom_scan(folder: Path, exclude: Path) -> Path | None:
    """Return the folder if its DICOM files are one scan, with those of its subfolders.

    A single DICOM file among other scans, for instance a report, is a scan of its own: otherwise it
    would hide them. Return None if the folder itself has no DICOM file.
    """
    if not is_series(folder):
        return None
    paths = (path for path in sorted(folder.iterdir()) if is_dicom_file(path))
    files = list(islice(paths, 2))
    if len(files) != 1 or files[0].name.upper() == "DICOMDIR":
        return folder
    others = (path for path in _below(folder, exclude, files[0]) if path != files[0])
    return folder if next(others, None) is None else files[0]


def _is_folder(path: Path | None) -> bool:
    return path is not None and path.is_dir()


def is_series(folder: Path) -> bool:
    """Return True for a folder that itself contains a DICOM file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return folder.is_dir() and holds_dicom(folder)
    except OSError as error:
        _raise_unreadable(error)


def _raise_unreadable(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename} cannot be read: {error.strerror}; check its permissions"
    ) from None


def real_path(path: Path) -> Path:
    """Resolve a path; unlike `Path.resolve`, without an error for a link to itself."""
    return Path(os.path.realpath(path))


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also for ``.`` and ``..``."""
    return folder.name if folder.name not in ("", "..") else real_path(folder).name


def scan_name(path: Path) -> str:
    """Return the file name of a scan without the suffix of its format.

    Example:
        >>> scan_name(Path("scans/S1-101.nii.gz")), scan_name(Path("S1/IM0001.DCM"))
        ('S1-101', 'IM0001')
    """
    suffixes = (*SCAN_SUFFIXES, *PAIR_SUFFIXES, *DICOM_SUFFIXES)
    suffix = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]
