"""Public datasets: download with checksums, and unpack into scans and masks.

A dataset is published as zip archives. They are kept in the folder ``downloads`` of the dataset; an
archive that is complete there is not downloaded again, so it can also be copied there by hand. All
archives are unpacked together: the folders ``scans`` and ``masks`` appear once both contain every
case.
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
import yaml
from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import whole_file, write_text
from thorax.common.params import read_yaml
from thorax.common.project import dvc
from thorax.datasets.dataset import SPEC

LARGEST_MEMBER_BYTES = 2 * 1024**3

# The deflate format compresses by at most a factor of 1032; an empty mask comes close.
LARGEST_RATIO = 1100

_CHUNK_BYTES = 1024**2

_GZIP_LEVEL = 6

# Zenodo answers 403 to the default user agent of `requests`.
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
        name: File name, the last part of the URL.
        sha256: SHA-256 digest of the file, in lower-case hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class DatasetSource:
    """Source of a published dataset.

    Args:
        url: URL of the folder with the archives, without a slash at its end.
        archives: Folder of the dataset (``scans``, ``masks``) → its archive.
    """

    url: str
    archives: Mapping[str, Archive]


# The digests are from torch-em's download table, not computed from the files.
COVID19 = DatasetSource(
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

SOURCES = {"covid19": COVID19}
"""Sources of the public datasets of a project, by the name of their folder below ``data/``."""


def download_dataset(name: str, root: Path) -> Path:
    """Download a public dataset to ``data/<name>`` and track its files with DVC.

    The `.dvc` files of scans and masks contain the address and the digest of their archive.

    Args:
        name: A name of `SOURCES`.
        root: The project: the folder that contains ``.dvc`` and ``data``.

    Returns:
        The folder of the dataset.

    Raises:
        InputError: There is no such dataset, the project has no ``dataset.yaml`` for it or is not
            under DVC, or the download fails.
    """
    if name not in SOURCES:
        raise InputError(f"a public dataset must be one of {', '.join(SOURCES)}, got `{name}`")
    folder = root / "data" / name
    for needed in (root / ".dvc", folder / SPEC):
        if not needed.exists():
            raise InputError(
                f"a dataset is downloaded to a project with .dvc and data/{name}/{SPEC}; run this "
                f"in the top folder of a project, got {root.absolute()}"
            )
    source = SOURCES[name]
    fetch(source, folder)
    dvc(root, "add", *(str((folder / part).relative_to(root)) for part in source.archives))
    for part, archive in source.archives.items():
        _record_source(folder / f"{part}.dvc", f"{source.url}/{archive.name}", archive.sha256)
    return folder


def fetch(source: DatasetSource, dataset: Path) -> None:
    """Download a dataset and unpack it: ``<dataset>/scans/<case>.nii.gz``, and the same in masks.

    Args:
        source: Source of the dataset.
        dataset: Folder of the dataset; created if missing.

    Raises:
        InputError: As `download` and `unpack`; the folders are unchanged then.
    """
    cache = dataset / "downloads"
    archives = {
        folder: download(archive, source.url, cache) for folder, archive in source.archives.items()
    }
    unpack(archives, dataset)


def download(archive: Archive, url: str, folder: Path) -> Path:
    """Download an archive, unless ``folder`` already contains it with the right digest.

    The file appears atomically, once the digest is right. An interrupted download leaves nothing
    and starts again the next time.

    Args:
        archive: The archive.
        url: URL of its folder.
        folder: Folder for the file.

    Returns:
        The path of the archive.

    Raises:
        InputError: The server or the folder fails, the transfer is interrupted, or the digest is
            not the published one.
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
            f"`{archive.name}` must be downloaded completely from {address}, got "
            f"{_root_cause(error)}; check the network and the disk and run this again, or copy the "
            f"file to {folder}"
        ) from error
    return folder / archive.name


def unpack(archives: Mapping[str, Path], dataset: Path) -> None:
    """Unpack zip archives of NIfTI files, each into its own folder; an error unpacks none.

    Only NIfTI members are unpacked, by their base names, and renamed by `original_name`. A ``.nii``
    member is gzipped, a ``.nii.gz`` member is copied byte for byte. Earlier content of the folders
    is replaced.

    Args:
        archives: Folder in ``dataset`` → its zip file.
        dataset: Folder of the dataset.

    Raises:
        InputError: An archive is damaged or empty, or contains a case twice, an unknown name or a
            member of implausible size; a case is not in all archives; or a file cannot be
            written.
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
    """Convert the name of a NIfTI file to the case name of the original dataset.

    Mirrors of the dataset renamed the scans, some also the masks.

    Raises:
        InputError: The name fits no known pattern.

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
        match = re.fullmatch(pattern, stem)
        if match:
            return match.expand(name)
    raise InputError(
        "a NIfTI file of this dataset must be named like `coronacases_001.nii.gz` or "
        f"`radiopaedia_10_85902_1.nii.gz`, got {file_name!r}; rename or remove it"
    )


def _record_source(file: Path, address: str, sha256: str) -> None:
    """Add the source to a `.dvc` file; DVC keeps its key `meta` when it writes the file again."""
    content = {**read_yaml(file), "meta": {"source": address, "sha256": sha256}}
    write_text(file, yaml.safe_dump(content, sort_keys=False))


def _transfer(archive: Archive, url: str, path: str, _registry: object) -> None:
    """Download for pooch, with a progress bar that is closed on errors, and our error message."""
    # pooch evaluates the bar as a boolean, which needs a total; it sets the real one later.
    with tqdm(total=1, desc=archive.name, unit="B", unit_scale=True, mininterval=1.0) as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK_BYTES, headers=_HEADERS)
        get(url, path, None)
    digest = pooch.file_hash(path)
    if digest != archive.sha256:
        raise InputError(
            f"`{archive.name}` must have the SHA-256 digest {archive.sha256}, got {digest}; "
            f"nothing was kept; run this again; if the digest stays the same, {url} has changed "
            "since this version of thorax"
        )


def _root_cause(error: BaseException) -> str:
    """Return the innermost of the errors that `requests` nests, in one line."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__


def _list_cases(archive: Path) -> dict[str, zipfile.ZipInfo]:
    cases: dict[str, zipfile.ZipInfo] = {}
    with _open_zip(archive) as content:
        for member in filter(_is_nifti, content.infolist()):
            _check_size(member, archive)
            case = original_name(_base_name(member))
            if case in cases:
                raise InputError(
                    f"`{archive.name}` must contain every case once, got {cases[case].filename!r} "
                    f"and {member.filename!r} for {case}; remove one of them"
                )
            cases[case] = member
    if not cases:
        raise InputError(
            f"`{archive.name}` must contain NIfTI files, got none; use the archive of this dataset"
        )
    return cases


def _base_name(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename.replace("\\", "/")).name


def _is_nifti(member: zipfile.ZipInfo) -> bool:
    name = _base_name(member)
    # macOS adds a hidden `._name` for every file in an archive.
    return name.endswith((".nii", ".nii.gz")) and not member.is_dir() and name[0] != "."


def _check_size(member: zipfile.ZipInfo, archive: Path) -> None:
    """Refuse zip bombs; zipfile enforces the declared size when it reads."""
    too_large = member.file_size > LARGEST_MEMBER_BYTES
    if too_large or member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        raise InputError(
            f"a member of `{archive.name}` must unpack to at most {LARGEST_MEMBER_BYTES} bytes "
            f"and to at most {LARGEST_RATIO} times its packed size, got {member.filename!r} with "
            f"{member.file_size} bytes from {member.compress_size}; do not trust this archive"
        )


def _check_same_cases(members: Mapping[str, Collection[str]], archives: Mapping[str, Path]) -> None:
    all_cases = {case for cases in members.values() for case in cases}
    for folder, cases in members.items():
        missing = sorted(all_cases.difference(cases))
        if missing:
            raise InputError(
                f"every case must be in {' and in '.join(members)}, got none in {folder} for "
                f"{', '.join(missing)}; add the files to `{archives[folder].name}`, or remove "
                "these cases from the others"
            )


def _extract(archive: Path, cases: Mapping[str, zipfile.ZipInfo], folder: Path) -> None:
    with _open_zip(archive) as content:
        for case, member in cases.items():
            write = _copy if member.filename.endswith(".gz") else _compress
            with content.open(member) as packed, whole_file(folder / f"{case}.nii.gz") as path:
                write(packed, path)


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as written:
        shutil.copyfileobj(content, written, _CHUNK_BYTES)


def _compress(content: IO[bytes], path: Path) -> None:
    # No name or time in the header, so that every run gives DVC the same bytes.
    with (
        path.open("wb") as written,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, written, mtime=0) as compressed,
    ):
        shutil.copyfileobj(content, compressed, _CHUNK_BYTES)


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file, and report damage in one line."""
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    # zipfile raises RuntimeError for an unknown method or a password.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise InputError(
            f"`{archive.name}` must be a complete, readable zip file, got: {error}; "
            f"delete {archive} and run this again"
        ) from error


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder; one that a killed run has left is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    except OSError as error:
        raise InputError(
            f"{folder.parent} must be writable and have space for the unpacked files, got "
            f"{error}; free space or choose another disk, and run this again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
