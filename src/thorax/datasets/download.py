"""Public datasets: fetched with their checksums, unpacked into scans and masks.

A dataset is published as zip archives. Each is kept in the folder ``downloads`` of the dataset, and
is not fetched again while it is whole there, so that one who has no network can put it there by
hand. Then all archives are unpacked together: the folders ``scans`` and ``masks`` appear once
every case is in both.
"""

import gzip
import re
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

import pooch
from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import whole_file

LARGEST_MEMBER_BYTES = 2 * 1024**3

# Deflate, by its format, cannot shrink anything by more than 1032; an empty mask comes close.
LARGEST_RATIO = 1100

_CHUNK_BYTES = 1024**2

_GZIP_LEVEL = 6

# Zenodo answers 403 to the agent that `requests` names by default.
_HEADERS = {"User-Agent": "thorax (chest CT segmentation; pooch)"}

_CASE_NAMES = (
    (r"coronacases(?:_org)?_(?:case)?([0-9]+)", r"coronacases_\1"),
    (
        r"radiopaedia_(?:org_covid-19-pneumonia-)?([0-9]+_[0-9]+_[0-9]+)(?:-dcm)?",
        r"radiopaedia_\1",
    ),
)


@dataclass(frozen=True)
class Archive:
    """A published zip file.

    Args:
        name: Its file name, the last part of its address.
        sha256: The SHA-256 digest of the whole file, in lower-case hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where a dataset is published.

    Args:
        url: The address in which the archives lie, without a slash at its end.
        archives: Folder of the dataset (``scans``, ``masks``) → the archive that fills it.
    """

    url: str
    archives: Mapping[str, Archive]


# The digests are those of torch-em's download table, not worked out from the files themselves.
COVID19 = Source(
    url="https://zenodo.org/records/3757476/files",
    archives={
        "scans": Archive(
            "COVID-19-CT-Seg_20cases.zip",
            "a5060480eff9315b069b086312dac4872777901fb80d268a5a83edd9f4e7b440",
        ),
        "masks": Archive(
            "Lung_and_Infection_Mask.zip",
            "34f5a573cb8fb53cb15abe81868395d9addf436854826a6fd6e70c2b294f19c3",
        ),
    },
)


def fetch(source: Source, dataset: Path) -> None:
    """Download a dataset and unpack it: ``<dataset>/scans/<case>.nii.gz``, and masks alike.

    Args:
        source: Where it is published.
        dataset: Folder of the dataset; it is made if need be.

    Raises:
        InputError: As `download` and `unpack`; the folders are then as they were before.
    """
    cache = dataset / "downloads"
    archives = {
        folder: download(archive, source.url, cache) for folder, archive in source.archives.items()
    }
    unpack(archives, dataset)


def download(archive: Archive, url: str, folder: Path) -> Path:
    """Fetch an archive, unless ``folder`` already holds it whole.

    The bytes go to a temporary name and get their own name once the digest is right. A broken
    download leaves nothing behind and starts afresh the next time.

    Args:
        archive: What to fetch.
        url: The address in which it lies.
        folder: Where to keep it.

    Returns:
        The path of the archive.

    Raises:
        InputError: The server or the folder fails, the transfer breaks off, or the digest of what
            came is not the published one.
    """
    address = f"{url}/{archive.name}"
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{archive.sha256}",
            fname=archive.name,
            path=folder,
            downloader=partial(_transfer, archive),
        )
    except OSError as error:  # the errors of `requests` are of this kind too
        raise InputError(
            f"`{archive.name}` must come whole from {address}, got {_reason(error)}; check the "
            f"network and the disk and run it again, or put the file into {folder} yourself"
        ) from error
    return folder / archive.name


def unpack(archives: Mapping[str, Path], dataset: Path) -> None:
    """Unpack zip archives of NIfTI files, each into a folder of its own, all of them or none.

    Only NIfTI members are taken, by their base names; `original_name` says what they are called
    afterwards. A ``.nii`` member is gzipped, a ``.nii.gz`` member is copied byte for byte. What
    the folders held before is replaced.

    Args:
        archives: Folder in ``dataset`` → the zip file that fills it.
        dataset: Folder of the dataset.

    Raises:
        InputError: An archive is damaged or empty, holds a case twice, an unknown name or a member
            of unlikely size, a case is not in all archives, or the files cannot be written.
    """
    members = {folder: _list_cases(archive) for folder, archive in archives.items()}
    _check_same_cases(members, archives)
    with _staging(dataset / "unpacking") as staging:
        for folder, cases in members.items():
            _extract(archives[folder], cases, staging / folder)
        for folder in members:
            shutil.rmtree(dataset / folder, ignore_errors=True)
            (staging / folder).rename(dataset / folder)


def original_name(file_name: str) -> str:
    """Return the name of the case that a NIfTI file holds, as the original dataset spells it.

    Mirrors of the dataset changed the names, those of the scans alone or of scans and masks.

    Raises:
        InputError: The name is none of those known.

    Example:
        >>> original_name("coronacases_org_001.nii")
        'coronacases_001'
        >>> original_name("radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm.nii")
        'radiopaedia_10_85902_1'
        >>> original_name("radiopaedia_10_85902_1.nii.gz")
        'radiopaedia_10_85902_1'
    """
    stem = file_name.removesuffix(".gz").removesuffix(".nii")
    for pattern, name in _CASE_NAMES:
        known = re.fullmatch(pattern, stem)
        if known:
            return known.expand(name)
    raise InputError(
        "a NIfTI file of this dataset must be named like `coronacases_001.nii.gz` or "
        f"`radiopaedia_10_85902_1.nii.gz`, got {file_name!r}; rename it or leave it out"
    )


def _transfer(archive: Archive, url: str, path: str, _registry: object) -> None:
    """Download for pooch, with our bar (closed when the transfer breaks) and our words."""
    # A bar without a total has no truth value, and pooch asks for it; it sets the real total.
    with tqdm(total=1, desc=archive.name, unit="B", unit_scale=True, mininterval=1.0) as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK_BYTES, headers=_HEADERS)
        get(url, path, None)
    digest = pooch.file_hash(path)
    if digest != archive.sha256:
        raise InputError(
            f"`{archive.name}` must have the SHA-256 digest {archive.sha256}, got {digest}; "
            f"nothing was kept, run it again; if the digest stays the same, {url} is no longer "
            "the file that thorax knows"
        )


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of the errors that `requests` nests, in one line."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__


def _list_cases(archive: Path) -> dict[str, zipfile.ZipInfo]:
    cases: dict[str, zipfile.ZipInfo] = {}
    with _opened(archive) as opened:
        for member in filter(_is_nifti, opened.infolist()):
            _check_size(member, archive)
            case = original_name(_base_name(member))
            if case in cases:
                raise InputError(
                    f"`{archive.name}` must hold every case once, got {cases[case].filename!r} "
                    f"and {member.filename!r} for {case}; leave one of them out"
                )
            cases[case] = member
    if not cases:
        raise InputError(
            f"`{archive.name}` must hold NIfTI files, got none; use the archive of this dataset"
        )
    return cases


def _base_name(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename.replace("\\", "/")).name


def _is_nifti(member: zipfile.ZipInfo) -> bool:
    name = _base_name(member)
    # macOS puts a hidden `._name` beside every file that it packs.
    return name.endswith((".nii", ".nii.gz")) and not member.is_dir() and name[0] != "."


def _check_size(member: zipfile.ZipInfo, archive: Path) -> None:
    """Refuse zip bombs; what is declared here is a limit that zipfile keeps when it reads."""
    too_large = member.file_size > LARGEST_MEMBER_BYTES
    if too_large or member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        raise InputError(
            f"a member of `{archive.name}` must unpack to at most {LARGEST_MEMBER_BYTES} bytes "
            f"and to at most {LARGEST_RATIO} times its packed size, got {member.filename!r} with "
            f"{member.file_size} bytes from {member.compress_size}; do not trust this archive"
        )


def _check_same_cases(members: Mapping[str, Collection[str]], archives: Mapping[str, Path]) -> None:
    every = {case for cases in members.values() for case in cases}
    for folder, cases in members.items():
        missing = sorted(every.difference(cases))
        if missing:
            raise InputError(
                f"every case must be in {' and in '.join(members)}, got none in {folder} for "
                f"{', '.join(missing)}; add the files to `{archives[folder].name}`, or leave "
                "these cases out of the others"
            )


def _extract(archive: Path, cases: Mapping[str, zipfile.ZipInfo], folder: Path) -> None:
    with _opened(archive) as opened:
        for case, member in cases.items():
            write = _copy if member.filename.endswith(".gz") else _compress
            with opened.open(member) as packed, whole_file(folder / f"{case}.nii.gz") as path:
                write(packed, path)


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as written:
        shutil.copyfileobj(content, written, _CHUNK_BYTES)


def _compress(content: IO[bytes], path: Path) -> None:
    # Neither name nor time in the header, so that DVC sees the same bytes from every run.
    with (
        path.open("wb") as written,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, written, mtime=0) as compressed,
    ):
        shutil.copyfileobj(content, compressed, _CHUNK_BYTES)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; whatever is wrong with its bytes is one line."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    # An unknown method or a password is a RuntimeError to zipfile.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            f"`{archive.name}` must be a whole, readable zip file, got: {error}; "
            f"delete {archive} and run it again"
        ) from error


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give a folder to work in, which is gone afterwards; a broken run may have left an old one."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    except OSError as error:
        raise InputError(
            f"{folder.parent} must be writable and have room for the unpacked files, got "
            f"{error}; free or choose another disk and run it again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
