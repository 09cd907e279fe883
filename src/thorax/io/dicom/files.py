"""Find DICOM files in a folder, next to a file, or in a zip, which is not unpacked.

A path may also be the DICOMDIR of a CD, which stands for its folder. Zips in a zip are read, too.
Deflated files (PS3.5, A.5) are decompressed in memory, up to a limit: pydicom has none.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

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
"""Bytes of a file in a zip, or of a deflated file, which are decompressed in memory."""

MAX_ZIP_DEPTH = 3
"""Levels of zips in zips."""

_META_BYTES = 4096
"""Bytes that contain the file meta information, with the transfer syntax."""

_LENGTH_TAG, _LENGTH_ELEMENT = 0x0002, 12
"""Tag (0002,0000) and bytes of the element that states the length of the meta information."""

_MAGIC_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class DicomFile:
    """One file of a series.

    Args:
        name: Name in messages.
        open: Opens it for reading its header.
        path: Its path, unless it is in a zip.
        folder: Name of its folder, to tell which files lie next to each other.
        plain: True if it can be opened at any place without decompressing it.
    """

    name: str
    open: Callable[[], IO[bytes]]
    path: Path | None = None
    folder: str = ""
    plain: bool = False

    def read(self) -> bytes:
        """Read the whole file."""
        with self.open() as stream:
            return stream.read()


def find_dicom_files(path: Path) -> list[DicomFile]:
    """List the files that look like DICOM: in a folder tree, next to a file, or in a zip.

    Raises:
        InputError: There is no such file, there are too many, or the zip is unsafe.
    """
    if path.is_dir():
        return _in_folder(path.rglob("*"), path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if _is_directory(path):
        return _in_folder(path.parent.rglob("*"), path.parent)
    if zipfile.is_zipfile(path):
        return _in_zip(path)
    if not looks_like_dicom(_on_disk(path)):
        kind = "zip" if path.suffix.lower() == ".zip" else "DICOM"
        raise InputError(f"{path} is not a {kind} file, or its header is damaged")
    return _in_folder(path.parent.iterdir(), path.parent)


def is_collection(path: Path) -> bool:
    """Check whether a file stands for other files: a zip, or the DICOMDIR of a CD."""
    return _is_directory(path) or zipfile.is_zipfile(path)


def _is_directory(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR"


def sample_of_folder(folder: Path) -> Iterator[DicomFile]:
    """Find the first, the middle and the last file of a folder by name, if they are DICOM.

    Raises:
        OSError: The folder or a file cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    for path in dict.fromkeys((*paths[:1], *paths[len(paths) // 2 :][:1], *paths[-1:])):
        if looks_like_dicom(file := _on_disk(path)):
            yield _inflated(file)


def dicom_file(path: Path) -> DicomFile:
    """Return one file on disk; opened, it has no deflate.

    Raises:
        OSError: It cannot be read.
    """
    return _inflated(_on_disk(path))


def looks_like_dicom(file: DicomFile) -> bool:
    """Check the first bytes of a file for the marks of DICOM."""
    with file.open() as stream:
        return begins_as_dicom(stream.read(PREAMBLE + 4))


def _in_folder(paths: Iterable[Path], folder: Path) -> list[DicomFile]:
    files = sorted(path for path in paths if path.is_file())
    _check_count(len(files), folder)
    try:
        return [_inflated(file) for file in map(_on_disk, files) if looks_like_dicom(file)]
    except OSError as error:
        raise InputError(f"a file in {folder} cannot be read: {error.strerror}") from None


def _on_disk(path: Path) -> DicomFile:
    return DicomFile(str(path), lambda: path.open("rb"), path, str(path.parent), plain=True)


def _inflated(file: DicomFile) -> DicomFile:
    """The file itself, or the same file without deflate."""
    with file.open() as stream:
        head = stream.read(_META_BYTES)
    if DeflatedExplicitVRLittleEndian.encode() not in head:
        return file
    return replace(file, open=lambda: io.BytesIO(_inflate(file.read())), plain=False)


def _inflate(content: bytes) -> bytes:
    """Decompress the data set of a deflated file, and change its transfer syntax.

    Raises:
        ValueError: The file is damaged, or decompresses to too many bytes.
    """
    tag, _, length = struct.unpack_from("<I4sI", content, PREAMBLE + len(b"DICM"))
    if tag != _LENGTH_TAG:
        raise ValueError("the file meta information does not state its length")
    start = PREAMBLE + len(b"DICM") + _LENGTH_ELEMENT + length
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    data = decompressor.decompress(content[start:], MAX_ENTRY_BYTES)
    if not decompressor.eof:
        raise ValueError("the deflated data set is too large, or cut short")
    deflated = DeflatedExplicitVRLittleEndian.encode()
    plain = ExplicitVRLittleEndian.encode().ljust(len(deflated), b"\0")
    return content[:start].replace(deflated, plain) + data


def _in_zip(path: Path) -> list[DicomFile]:
    try:
        return _in_archive(zipfile.ZipFile(path), path, str(path), depth=1)
    except InputError:
        raise
    except _ZIP_ERRORS:
        raise InputError(f"{path} is cut short or damaged; copy it again from its source") from None


def _in_archive(archive: zipfile.ZipFile, path: Path, name: str, *, depth: int) -> list[DicomFile]:
    """DICOM files in an archive and in the zips in it."""
    entries = [entry for entry in archive.infolist() if entry.filename and not entry.is_dir()]
    _check_entries(entries, path)
    files: list[DicomFile] = []
    for entry in entries:
        file = _entry(archive, entry, name)
        if looks_like_dicom(file):
            files.append(_inflated(file))
        elif _is_zip(file):
            files += _in_inner_zip(file, path, depth=depth)
        _check_count(len(files), path)
    return files


def _in_inner_zip(file: DicomFile, path: Path, *, depth: int) -> list[DicomFile]:
    if depth == MAX_ZIP_DEPTH:
        raise InputError(
            f"zips may be nested up to {MAX_ZIP_DEPTH} levels, but {file.name} is deeper; unpack "
            "the zip and give its folder"
        )
    archive = zipfile.ZipFile(io.BytesIO(file.read()))
    return _in_archive(archive, path, file.name, depth=depth + 1)


def _is_zip(file: DicomFile) -> bool:
    with file.open() as stream:
        return stream.read(len(_MAGIC_ZIP)) == _MAGIC_ZIP


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> DicomFile:
    folder = f"{PurePosixPath(entry.filename).parent} in {name}"
    return DicomFile(f"{entry.filename} in {name}", lambda: archive.open(entry), folder=folder)


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
