"""Find other folders with slices of the same series.

Archives that limit the number of files per folder split a series over several folders. Read one by
one, each part would look like a complete scan.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.io.dicom.files import sample_of_folder
from thorax.io.dicom.headers import DamagedHeaderError, Slice, read_slices

MAX_FOLDERS = 50
"""Folders of the same parent that are examined; more are those of many patients."""


def split_series_warning(
    path: Path, uids: Iterable[str], is_covered: Callable[[Slice], bool]
) -> tuple[str, ...]:
    """Return a warning if folders next to that of a scan have more slices of the same series.

    Args:
        path: The folder of the scan, or a file in it.
        uids: SeriesInstanceUIDs of the scan.
        is_covered: Returns True if the scan has the position of a slice: a copy, then.
    """
    folder = path if path.is_dir() else path.parent
    own = frozenset(uids) - {""}
    if not own or path.suffix.lower() == ".zip":
        return ()
    parts = [
        other
        for other in _neighbours(folder)
        if any(slice_.series.uid in own and not is_covered(slice_) for slice_ in _slices_in(other))
    ]
    if not parts:
        return ()
    return (
        f"more slices of the same series are in {listed(parts, at_most=3)}; name the folder above "
        "to read them as one scan",
    )


def _neighbours(folder: Path) -> list[Path]:
    real = folder.resolve()
    try:
        folders = sorted(path for path in real.parent.iterdir() if path.is_dir() and path != real)
    except OSError:
        return []
    if len(folders) > MAX_FOLDERS:
        return []
    # The message names folders as the user named the scan.
    named = folder.parent if folder.parent.resolve() == real.parent else real.parent
    return [named / path.name for path in folders]


def _slices_in(folder: Path) -> Iterator[Slice]:
    """CT slices of some DICOM files of a folder."""
    try:
        for file in sample_of_folder(folder):
            for slice_ in read_slices(file):
                key = slice_.series
                if key.modality == "CT" and not (key.localizer or key.geometry_fault):
                    yield slice_
    except (InputError, DamagedHeaderError, OSError):
        return
