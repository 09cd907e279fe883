"""Find DICOM files in a folder, next to a file, or in a zip, which is not unpacked."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from thorax.common.errors import InputError
from thorax.io.suffixes import PREAMBLE, begins_as_dicom

_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError),
)
"""Errors of zipfile for a truncated, damaged or forged archive."""

MAX_FILES = 100_000

MAX_BYTES = 20 * 10**9

MAX_ENTRY_BYTES = 2**31
"""Bytes of a file in a zip, which is decompressed in memory."""


@dataclass(frozen=True)
class DicomFile:
    """One file of a series.

    Args:
        name: Name in messages.
        open: Opens it for reading its header.
        path: Its path, unless it is in a zip.
    """

    name: str
    open: Callable[[], IO[bytes]]
    path: Path | None = None

    def read(self) -> bytes:
        """Read the whole file."""
        with self.open() as stream:
            return stream.read()

    def seekable(self) -> IO[bytes]:
        """Open it for random access to pixels."""
        return self.open() if self.path else io.BytesIO(self.read())


def find_dicom_files(path: Path) -> list[DicomFile]:
    """List the files that look like DICOM: in a folder tree, next to a file, or in a zip.

    Raises:
        InputError: There is no such file, there are too many, or the zip is unsafe.
    """
    if path.is_dir():
        return _in_folder(path.rglob("*"), path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if zipfile.is_zipfile(path):
        return _in_zip(path)
    if not looks_like_dicom(_on_disk(path)):
        kind = "zip" if path.suffix.lower() == ".zip" else "DICOM"
        raise InputError(f"{path} is not a {kind} file, or its header is damaged")
    return _in_folder(path.parent.iterdir(), path.parent)


def looks_like_dicom(file: DicomFile) -> bool:
    """Check the first bytes of a file for the marks of DICOM."""
    with file.open() as stream:
        return begins_as_dicom(stream.read(PREAMBLE + 4))


def _in_folder(paths: Iterable[Path], folder: Path) -> list[DicomFile]:
    files = sorted(path for path in paths if path.is_file())
    _check_count(len(files), folder)
    try:
        return [file for file in map(_on_disk, files) if looks_like_dicom(file)]
    except OSError as error:
        raise InputError(f"a file in {folder} cannot be read: {error.strerror}") from None


def _on_disk(path: Path) -> DicomFile:
    return DicomFile(str(path), lambda: path.open("rb"), path)


def _in_zip(path: Path) -> list[DicomFile]:
    try:
        archive = zipfile.ZipFile(path)
        entries = [entry for entry in archive.infolist() if entry.filename and not entry.is_dir()]
        _check_entries(entries, path)
        files = [_in_archive(archive, entry, path) for entry in entries]
        return [file for file in files if looks_like_dicom(file)]
    except InputError:
        raise
    except _ZIP_ERRORS:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None


def _in_archive(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> DicomFile:
    return DicomFile(f"{entry.filename} in {path}", lambda: archive.open(entry))


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    _check_count(len(entries), path)
    size = sum(entry.file_size for entry in entries)
    if size > MAX_BYTES:
        raise InputError(
            f"a zip of DICOM must unpack to at most {MAX_BYTES / 1e9:g} GB, but {path} unpacks to "
            f"{size / 1e9:.1f} GB; unpack one series and give its folder"
        )
    largest = max((entry.file_size for entry in entries), default=0)
    if largest > MAX_ENTRY_BYTES:
        raise InputError(
            f"a file in a zip of DICOM must unpack to at most {MAX_ENTRY_BYTES / 2**30:g} GiB, but "
            f"one in {path} unpacks to {largest / 2**30:.1f} GiB; unpack the zip and give its "
            "folder"
        )
    for entry in entries:
        if _leaves_folder(entry.filename):
            raise InputError(
                f"{path} contains a file with a path outside of its folder ({entry.filename!r}); "
                "do not use it, and ask its sender for another"
            )
        if entry.flag_bits & 1:
            raise InputError(f"{path} is encrypted; unpack it and give its folder")


def _leaves_folder(name: str) -> bool:
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    return bool(windows.anchor) or posix.is_absolute() or ".." in windows.parts


def _check_count(count: int, path: Path) -> None:
    if count > MAX_FILES:
        raise InputError(
            f"a DICOM series is searched among at most {MAX_FILES:,} files, but {path} contains "
            f"{count:,}; give the folder of the series"
        )
