"""Where DICOM files come from: a folder, the folder of one file, or a zip that stays packed."""

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

_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError),
)
"""What zipfile raises over an archive that is cut short, damaged or made up."""

MOST_FILES = 100_000

MOST_BYTES = 20 * 10**9

LARGEST_ENTRY = 2**31
"""Bytes of one file in a zip, which is unpacked in memory."""


@dataclass(frozen=True)
class Part:
    """One file of a series.

    Args:
        name: What an error calls it.
        open: Opens it for reading its header.
        path: Where it lies, unless it is packed.
    """

    name: str
    open: Callable[[], IO[bytes]]
    path: Path | None = None

    def read(self) -> bytes:
        """All of its bytes."""
        with self.open() as stream:
            return stream.read()

    def seekable(self) -> IO[bytes]:
        """Open it for reading pixels here and there."""
        return self.open() if self.path else io.BytesIO(self.read())


def find_parts(path: Path) -> list[Part]:
    """List the files that look like DICOM, in a folder and below, beside a file, or in a zip.

    Raises:
        InputError: There is no such file, there are too many, or the zip cannot be trusted.
    """
    if path.is_dir():
        return _in_folder(path.rglob("*"), path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if zipfile.is_zipfile(path):
        return _in_zip(path)
    if not looks_like_dicom(_part(path)):
        kind = "zip" if path.suffix.lower() == ".zip" else "DICOM"
        raise InputError(f"{path} is not a {kind} file, or its header is damaged")
    return _in_folder(path.parent.iterdir(), path.parent)


def looks_like_dicom(part: Part) -> bool:
    """Whether a file begins as DICOM does."""
    with part.open() as stream:
        return begins_as_dicom(stream.read(PREAMBLE + 4))


def _in_folder(paths: Iterable[Path], folder: Path) -> list[Part]:
    files = sorted(path for path in paths if path.is_file())
    _check_count(len(files), folder)
    try:
        return [part for part in map(_part, files) if looks_like_dicom(part)]
    except OSError as error:
        raise InputError(f"a file in {folder} cannot be read: {error.strerror}") from None


def _part(path: Path) -> Part:
    return Part(str(path), lambda: path.open("rb"), path)


def _in_zip(path: Path) -> list[Part]:
    try:
        packed = zipfile.ZipFile(path)
        entries = [each for each in packed.infolist() if each.filename and not each.is_dir()]
        _check_entries(entries, path)
        parts = [_packed(packed, entry, path) for entry in entries]
        return [part for part in parts if looks_like_dicom(part)]
    except InputError:
        raise
    except _DAMAGE:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None


def _packed(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Part:
    return Part(f"{entry.filename} in {path}", lambda: packed.open(entry))


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    _check_count(len(entries), path)
    size = sum(entry.file_size for entry in entries)
    if size > MOST_BYTES:
        raise InputError(
            f"a zip of DICOM must unpack to at most {MOST_BYTES / 1e9:g} GB, but {path} would take "
            f"{size / 1e9:.1f} GB; unpack the series that you want and give its folder"
        )
    largest = max((entry.file_size for entry in entries), default=0)
    if largest > LARGEST_ENTRY:
        raise InputError(
            f"a file in a zip of DICOM must unpack to at most {LARGEST_ENTRY / 2**30:g} GiB, but "
            f"one in {path} would take {largest / 2**30:.1f} GiB; unpack the zip and give its "
            "folder"
        )
    for entry in entries:
        if _leaves(entry.filename):
            raise InputError(
                f"{path} holds a file that would be unpacked outside of its folder "
                f"({entry.filename!r}); do not trust it, and ask for another"
            )
        if entry.flag_bits & 1:
            raise InputError(f"{path} is encrypted; unpack it and give its folder")


def _leaves(name: str) -> bool:
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    return bool(windows.anchor) or posix.is_absolute() or ".." in windows.parts


def _check_count(count: int, path: Path) -> None:
    if count > MOST_FILES:
        raise InputError(
            f"a DICOM series is looked for among at most {MOST_FILES:,} files, but {path} holds "
            f"{count:,}; give the folder of the series"
        )
