"""Which scans are segmented into which masks: from what a person names on the command line."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from thorax.common.errors import InputError
from thorax.io import MASK_SUFFIXES, SCAN_SUFFIXES, SEGMENTATION_SUFFIX, check_name, holds_dicom
from thorax.io.suffixes import DICOM_SUFFIXES

PAIRS = ".csv"

COLUMNS = ("scan", "mask")

_WILD = frozenset("*?[")

_FILES = (*SCAN_SUFFIXES, *DICOM_SUFFIXES, ".gz", ".png", ".jpg", ".json", PAIRS)
"""A target that ends so was meant as a file, even where masks cannot be written so."""

_Named = tuple[str, Path]


@dataclass(frozen=True)
class ScanTask:
    """One scan to segment.

    Args:
        case: Its name within the batch.
        scan: A file, or the folder of a DICOM series.
        mask: Where its mask goes.
    """

    case: str
    scan: Path
    mask: Path


def find_tasks(sources: Sequence[Path], target: Path | None, *, suffix: str = "") -> list[ScanTask]:
    """Work out what is segmented into what, as `cp` would.

    One scan may go to a named file. All else goes to a folder: several scans, folders that hold
    scans at any depth (whose folders are kept), patterns such as ``scans/*.nii.gz``. A CSV with the
    columns ``scan`` and ``mask`` names both; its paths are relative to it.

    In folders, what is hidden is left out, and so is the target. What is named but is not there
    becomes a job all the same, so that it fails by itself and the others go on.

    Args:
        sources: Scans, folders, patterns or one CSV.
        target: A mask file or a folder; None with a CSV.
        suffix: Of masks in a folder; unless given that of the scan where masks can be written
            so, else ``.nii.gz``.

    Raises:
        InputError: There is no scan, two would go to one mask or have one name, or the suffix, the
            target or the CSV cannot be used.
    """
    if suffix and suffix not in MASK_SUFFIXES:
        raise InputError(f"--suffix must be one of {', '.join(MASK_SUFFIXES)}, got {suffix}")
    if tables := [source for source in sources if _is_table(source)]:
        jobs = _from_table(tables[0], sources, target)
    elif target is None:
        raise InputError("where the mask goes is missing: thorax predict SCAN MASK")
    elif _is_file(target):
        jobs = [_single(sources, target)]
    else:
        jobs = [
            ScanTask(name, scan, target / _mask_name(name, scan, suffix))
            for name, scan in _all_scans(sources, leave=target)
        ]
    _check_apart(jobs)
    return jobs


def scan_name(path: Path) -> str:
    """Name of a scan without the suffix of its format.

    Example:
        >>> scan_name(Path("scans/S1-101.nii.gz")), scan_name(Path("S1/IM0001.DCM"))
        ('S1-101', 'IM0001')
    """
    known = (*SCAN_SUFFIXES, *DICOM_SUFFIXES)
    ending = next((end for end in known if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(ending)]


def _is_table(source: Path) -> bool:
    return source.suffix.lower() == PAIRS and not source.is_dir()


def _is_file(target: Path) -> bool:
    """Whether the target is a mask file rather than a folder.

    Raises:
        InputError: It is a file of another kind.
    """
    if target.is_dir():
        return False
    if target.name.lower().endswith(_FILES):
        check_name(target)
        return True
    if target.exists():
        raise InputError(f"masks go to a folder or a mask file, but {target} is another file")
    return False


def _single(sources: Sequence[Path], mask: Path) -> ScanTask:
    found = [each for source in sources for each in _scans(source, mask)]
    _check_slices([scan for _, scan in found])
    source = sources[0]
    if len(sources) == 1 and source.is_dir() and all(scan.is_dir() for _, scan in found):
        return ScanTask(_folder_name(source), source, mask)  # `Scan` chooses among its series
    if not found:
        raise _none(sources)
    if len(found) > 1:
        raise InputError(f"several scans need a folder for their masks, got the file {mask}")
    ((name, scan),) = found
    return ScanTask(name, scan, mask)


def _all_scans(sources: Sequence[Path], *, leave: Path) -> Iterator[_Named]:
    """Name and path of every scan; a source without any stands for itself."""
    # A shell that expands `scans/*` names the folder of the masks, too, once it is there.
    others = [source for source in sources if _real(source) != _real(leave) or _is_series(source)]
    if not others:
        raise InputError(
            f"masks must not go among their scans, got {leave} for both; name another folder"
        )
    found = {source: list(_scans(source, leave)) for source in others}
    if not any(found.values()):
        raise _none(others)
    _check_slices([scan for scans in found.values() for _, scan in scans])
    for source, scans in found.items():
        yield from scans or [(scan_name(Path(_folder_name(source))), source)]


def _scans(source: Path, leave: Path) -> Iterator[_Named]:
    if source.is_dir():
        yield from _in_folder(source, _folder_name(source), leave)
    elif _WILD & set(str(source)) and not source.exists():
        yield from _matching(source, leave)
    else:
        yield scan_name(source), source


def _matching(pattern: Path, leave: Path) -> Iterator[_Named]:
    """Scans that match a pattern, and those in folders that do; named below its fixed part."""
    wild = next(number for number, part in enumerate(pattern.parts) if _WILD & set(part))
    base = Path(*pattern.parts[:wild])
    inside = _real(base) in _real(leave).parents
    taken: set[Path] = set()
    for path in sorted(base.glob(str(Path(*pattern.parts[wild:])))):
        whole, below = _real(path), path.relative_to(base)
        left = inside and _real(leave) in (whole, *whole.parents)
        hidden = any(part.startswith(".") for part in below.parts)
        if left or hidden or taken & {*path.parents}:
            continue
        taken.add(path)
        if path.is_dir():
            yield from _in_folder(path, below.as_posix(), leave, prefix=below)
        else:
            yield (below.parent / scan_name(path)).as_posix(), path


def _in_folder(folder: Path, name: str, leave: Path, *, prefix: Path = Path()) -> Iterator[_Named]:
    """The folder itself, under its name, if it is a series; else what is in it."""
    if _is_series(folder):
        yield name, folder
        return
    for path in _below(folder, leave):
        below = prefix / path.relative_to(folder)
        own = below if path.is_dir() else below.parent / scan_name(path)
        yield own.as_posix(), path


def _below(folder: Path, leave: Path) -> Iterator[Path]:
    """Scans in a folder and its folders; one that holds DICOM files is a scan itself.

    Links are followed; no folder is gone through twice.
    """
    seen = {_real(leave), _real(folder)}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        here = Path(place)
        entered = []
        for name in sorted(folders):
            path = here / name
            if name.startswith(".") or _real(path) in seen:
                continue
            seen.add(_real(path))
            if _is_series(path):
                yield path
            else:
                entered.append(name)
        folders[:] = entered
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(SCAN_SUFFIXES):
                yield here / name


def _is_series(folder: Path) -> bool:
    try:
        return folder.is_dir() and holds_dicom(folder)
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename} cannot be read: {error.strerror}; see who may read it"
    ) from None


def _real(path: Path) -> Path:
    """Where a path leads; unlike `Path.resolve`, this raises nothing for a link to itself."""
    return Path(os.path.realpath(path))


def _folder_name(folder: Path) -> str:
    """Name of a folder, also of ``.`` and ``..``."""
    return folder.name if folder.name not in ("", "..") else _real(folder).name


def _none(sources: Iterable[Path]) -> InputError:
    return InputError(f"there is no scan in {', '.join(map(str, sources))}")


def _mask_name(name: str, scan: Path, suffix: str) -> str:
    own = next((end for end in MASK_SUFFIXES if scan.name.lower().endswith(end)), "")
    # One file of a series must not make the mask a DICOM segmentation.
    return name + (suffix or (own if own != SEGMENTATION_SUFFIX else "") or ".nii.gz")


def _from_table(table: Path, sources: Sequence[Path], target: Path | None) -> list[ScanTask]:
    others = [path for path in (*sources, target) if path not in (table, None)]
    if others:
        raise InputError(
            f"{table} names scans and masks itself, got {others[0]} beside it; give it alone"
        )
    jobs = list(_pairs(table))
    if not jobs:
        raise _none([table])
    return jobs


def _pairs(table: Path) -> Iterator[ScanTask]:
    for number, row in _rows(table):
        scan, mask = ((row.get(column) or "").strip() for column in COLUMNS)
        if not scan or not mask:
            raise InputError(
                f"{table} must have the columns scan,mask, but line {number} lacks one of them"
            )
        if "\0" in scan + mask:
            raise InputError(f"{table} must name files, but line {number} holds a null byte")
        check_name(table.parent / mask)
        yield ScanTask(scan, table.parent / scan, table.parent / mask)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with the number of the line that each ends in."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, skipinitialspace=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise InputError(f"{table} is not in UTF-8; save it as CSV in UTF-8") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {table}") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{table} cannot be read: {error}") from None
    if not set(COLUMNS) <= set(names):
        raise InputError(
            f"{table} must have the columns scan,mask, parted by commas, but its first line is "
            f"{','.join(names)!r}"
        )
    return rows


def _check_slices(scans: Iterable[Path]) -> None:
    """See that no series is named file by file: each would be read as the whole series."""
    first: dict[Path, Path] = {}
    for scan in scans:
        if scan.name.lower().endswith(SCAN_SUFFIXES) or not scan.is_file():
            continue
        other = first.setdefault(scan.parent, scan)
        if other is not scan and _is_series(scan.parent):
            raise InputError(
                f"a DICOM series is one scan, but {other} and {scan} are two of its files; give "
                f"the folder {scan.parent}"
            )


def _check_apart(jobs: Sequence[ScanTask]) -> None:
    masks: dict[Path, ScanTask] = {}
    cases: dict[str, ScanTask] = {}
    scans = {_real(job.scan): job for job in jobs}
    for job in jobs:
        place = _real(job.mask)
        if (other := masks.setdefault(place, job)) is not job:
            raise InputError(
                f"{other.scan} and {job.scan} would both go to {job.mask}; give the folder above "
                "them, whose folders are kept, or a CSV of scan,mask"
            )
        if (other := cases.setdefault(job.case, job)) is not job:
            raise InputError(
                f"{other.scan} and {job.scan} are both the case {job.case}; rename one of them"
            )
        if (other := scans.get(place, job)) is not job:
            raise InputError(f"{job.mask} is a scan, but also the mask of {job.scan}; rename one")
