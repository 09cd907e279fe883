"""Match scans and masks from the paths on the command line."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thorax.common.errors import InputError
from thorax.inference.scan_folders import (
    NamedScan,
    folder_name,
    is_series,
    real_path,
    scan_name,
    scans_in_folder,
)
from thorax.inference.scan_on_disk import belongs_to_scan
from thorax.io import (
    MASK_SUFFIXES,
    SCAN_SUFFIXES,
    SEGMENTATION_SUFFIX,
    Scan,
    check_mask_format,
    check_name,
)
from thorax.io.cached_scan import CachedScan
from thorax.io.suffixes import (
    DICOM_SUFFIXES,
    PAIR_SUFFIXES,
    VOXEL_SUFFIXES,
    partner,
)

TABLE_SUFFIX = ".csv"

TABLE_COLUMNS = ("scan", "mask")

_WILDCARDS = frozenset("*?[")

_FILE_SUFFIXES = (
    *SCAN_SUFFIXES,
    *PAIR_SUFFIXES,
    *DICOM_SUFFIXES,
    ".gz",
    ".png",
    ".jpg",
    ".json",
    TABLE_SUFFIX,
)
"""Suffixes of a target that is meant to be a file, even if it is not a mask format."""


@dataclass(frozen=True)
class ScanTask:
    """One scan to segment.

    Args:
        case: Name of the scan within the batch.
        scan: A file, or the folder of a DICOM series.
        mask: The file of its mask.
        stamp: `thorax.inference.scan_on_disk.scan_stamp`; empty if it was not computed.
    """

    case: str
    scan: Path
    mask: Path
    stamp: str = field(default="", compare=False)


def find_tasks(sources: Sequence[Path], target: Path | None, *, suffix: str = "") -> list[ScanTask]:
    """Match scans and masks, as `cp` matches sources and targets.

    A single scan may have a mask file as its target. Otherwise the target is a folder: for several
    scans, folders of scans at any depth (subfolders are kept), and patterns such as
    ``scans/*.nii.gz``. A CSV with the columns ``scan`` and ``mask`` names both; its paths are
    relative to it.

    Hidden files and the target are ignored in folders. A NIfTI or Analyze pair is one scan, and so
    is a folder of DICOM files; files of other formats in it are further scans. A missing scan gives
    a task too, so that it fails alone and does not stop the others.

    Args:
        sources: Scans, folders, patterns or one CSV.
        target: A mask file or a folder; None with a CSV.
        suffix: Suffix of masks in a folder; empty: that of the scan if masks can be written in
            this format, else ``.nii.gz``.

    Raises:
        InputError: There is no scan, two scans have the same mask or name, or the suffix, the
            target or the CSV cannot be used.
    """
    if suffix and suffix not in MASK_SUFFIXES:
        raise InputError(f"--suffix must be one of {', '.join(MASK_SUFFIXES)}, got {suffix}")
    if tables := [source for source in sources if _is_table(source)]:
        tasks = _from_table(tables[0], sources, target)
    elif target is None:
        raise InputError("the mask is missing: use thorax predict SCAN MASK")
    else:
        tasks = _tasks(_one_per_pair(sources), target, suffix)
    _check_distinct(tasks)
    return tasks


def _tasks(sources: Sequence[Path], target: Path, suffix: str) -> list[ScanTask]:
    if _is_file(target):
        return [_single(sources, target)]
    return [
        ScanTask(name, scan, target / _mask_name(name, scan, suffix))
        for name, scan in _all_scans(sources, exclude=target)
    ]


def _one_per_pair(paths: Sequence[Path]) -> list[Path]:
    """Leave out the voxels of NIfTI or Analyze pairs whose header is named, too."""
    named = {real_path(path) for path in paths}

    def has_header(path: Path) -> bool:
        header = partner(path, ".hdr") if path.name.lower().endswith(VOXEL_SUFFIXES) else None
        return header is not None and real_path(header) in named

    return [path for path in paths if not has_header(path)]


def check_overwrite(
    task: ScanTask, files: Sequence[Path], *, force: bool, replaceable: Sequence[Path] = ()
) -> None:
    """Check that the output files of a scan may be written.

    Args:
        task: The scan.
        files: Its output files.
        force: Overwrite existing files.
        replaceable: Files that may be overwritten without it.

    Raises:
        InputError: A file is one of the scan itself, or exists and must not be overwritten.
    """
    existing = [path for path in files if path.exists()]
    for path in existing:
        if task.scan.exists() and belongs_to_scan(path, task.scan):
            is_scan = path.samefile(task.scan)
            what = f"{task.scan} for both" if is_scan else f"{path}, which is one of its files"
            raise InputError(
                f"a mask cannot replace its scan, got {what}; choose another file name"
            )
    kept = [] if force else [path for path in existing if path not in replaceable]
    if kept:
        names = ", ".join(map(str, kept))
        raise InputError(f"{names} already exists; use --force to overwrite")


def open_scan(task: ScanTask, *, series: str | None, allow_incomplete: bool) -> CachedScan:
    """Open a scan, and check that its mask can be written before the network runs.

    Args:
        task: The scan and its mask.
        series: DICOM series to read, by number or UID.
        allow_incomplete: Accept a DICOM series that lacks more than a tenth of its slices.

    Raises:
        InputError: The scan cannot be read, or does not suit the format of the mask.
    """
    scan = Scan(task.scan, series=series, nan=math.nan, allow_incomplete=allow_incomplete)
    check_mask_format(task.mask, scan)
    return CachedScan(scan)


def _is_table(source: Path) -> bool:
    return source.suffix.lower() == TABLE_SUFFIX and not source.is_dir()


def _is_file(target: Path) -> bool:
    """Return True for a mask file and False for a folder.

    Raises:
        InputError: The target is a file of another kind.
    """
    if target.is_dir():
        return False
    if target.name.lower().endswith(_FILE_SUFFIXES):
        check_name(target)
        return True
    if target.exists():
        raise InputError(
            f"the target must be a mask file or a folder, got the file {target}; choose another "
            "name"
        )
    return False


def _single(sources: Sequence[Path], mask: Path) -> ScanTask:
    scans = [scan for source in sources for scan in _scans(source, mask)]
    _check_slices([path for _, path in scans])
    source, paths = sources[0], [path for _, path in scans]
    one_folder = len(sources) == 1 and source.is_dir()
    if one_folder and (source in paths or all(path.is_dir() for path in paths)):
        return ScanTask(folder_name(source), source, mask)  # `Scan` selects one of its series
    if not scans:
        raise _no_scan(sources)
    if len(scans) > 1:
        raise InputError(
            f"several scans need a folder for their masks, got the file {mask}; name a folder"
        )
    ((name, path),) = scans
    return ScanTask(name, path, mask)


def _all_scans(sources: Sequence[Path], *, exclude: Path) -> Iterator[NamedScan]:
    """Yield every scan; a source without scans is yielded itself, and fails later."""
    # A pattern that the shell expands, `scans/*`, may match the folder of the masks.
    others = [
        source for source in sources if real_path(source) != real_path(exclude) or is_series(source)
    ]
    if not others:
        raise InputError(
            f"masks cannot be written to the folder of their scans, got {exclude} for both; choose "
            "another folder"
        )
    scans_of = {source: list(_scans(source, exclude)) for source in others}
    if not any(scans_of.values()):
        raise _no_scan(others)
    _check_slices([path for scans in scans_of.values() for _, path in scans])
    for source, scans in scans_of.items():
        yield from scans or [(scan_name(Path(folder_name(source))), source)]


def _scans(source: Path, exclude: Path) -> Iterator[NamedScan]:
    if source.is_dir():
        yield from scans_in_folder(source, folder_name(source), exclude)
    elif _WILDCARDS & set(str(source)) and not source.exists():
        yield from _matching(source, exclude)
    else:
        yield scan_name(source), source


def _matching(pattern: Path, exclude: Path) -> Iterator[NamedScan]:
    """Yield the scans that match a pattern, and those in matching folders.

    Cases are named relative to the part of the pattern without wildcards.
    """
    wildcard = next(number for number, part in enumerate(pattern.parts) if _WILDCARDS & set(part))
    base = Path(*pattern.parts[:wildcard])
    inside = real_path(base) in real_path(exclude).parents
    visited: set[Path] = set()
    for path in _one_per_pair(sorted(base.glob(str(Path(*pattern.parts[wildcard:]))))):
        real, relative = real_path(path), path.relative_to(base)
        excluded = inside and real_path(exclude) in (real, *real.parents)
        hidden = any(part.startswith(".") for part in relative.parts)
        if excluded or hidden or visited & {*path.parents}:
            continue
        visited.add(path)
        if path.is_dir():
            yield from scans_in_folder(path, relative.as_posix(), exclude, prefix=relative)
        else:
            yield (relative.parent / scan_name(path)).as_posix(), path


def _no_scan(sources: Iterable[Path]) -> InputError:
    return InputError(f"there is no scan in {', '.join(map(str, sources))}")


def _mask_name(name: str, scan: Path, suffix: str) -> str:
    same = next((end for end in MASK_SUFFIXES if scan.name.lower().endswith(end)), "")
    # A single file of a DICOM series does not make the mask a DICOM segmentation.
    return name + (suffix or (same if same != SEGMENTATION_SUFFIX else "") or ".nii.gz")


def _from_table(table: Path, sources: Sequence[Path], target: Path | None) -> list[ScanTask]:
    others = [path for path in (*sources, target) if path not in (table, None)]
    if others:
        raise InputError(
            f"a table of scans and masks must be the only argument, got {table} and {others[0]}"
        )
    tasks = list(_pairs(table))
    if not tasks:
        raise _no_scan([table])
    return tasks


def _pairs(table: Path) -> Iterator[ScanTask]:
    for number, row in _rows(table):
        scan, mask = ((row.get(column) or "").strip() for column in TABLE_COLUMNS)
        if not scan or not mask:
            raise InputError(
                f"{table} must have the columns scan,mask, but line {number} lacks a value"
            )
        if "\0" in scan + mask:
            raise InputError(
                f"{table} must list file names, but line {number} contains a null byte"
            )
        check_name(table.parent / mask)
        yield ScanTask(scan, table.parent / scan, table.parent / mask)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows, each with the number of its last line."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8; save it as CSV in UTF-8") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {table}") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{table} cannot be read: {error}") from None
    if not set(TABLE_COLUMNS) <= set(columns):
        raise InputError(
            f"{table} must have the columns scan,mask, separated by commas, but its first line is "
            f"{','.join(columns)!r}"
        )
    return rows


def _check_slices(scans: Iterable[Path]) -> None:
    """Refuse a DICOM series named file by file: each file would be read as the whole series."""
    first: dict[Path, Path] = {}
    for scan in scans:
        if scan.name.lower().endswith(SCAN_SUFFIXES) or not scan.is_file():
            continue
        other = first.setdefault(scan.parent, scan)
        if other is not scan and is_series(scan.parent):
            raise InputError(
                f"a DICOM series is one scan, but {other} and {scan} are two of its files; name "
                f"the folder {scan.parent}"
            )


def _check_distinct(tasks: Sequence[ScanTask]) -> None:
    masks: dict[Path, ScanTask] = {}
    cases: dict[str, ScanTask] = {}
    scans = {real_path(task.scan): task for task in tasks}
    for task in tasks:
        mask = real_path(task.mask)
        if (other := masks.setdefault(mask, task)) is not task:
            raise InputError(
                f"{other.scan} and {task.scan} would have the same mask {task.mask}; name their "
                "parent folder, whose subfolders are kept, or a CSV of scan,mask"
            )
        if (other := cases.setdefault(task.case, task)) is not task:
            raise InputError(
                f"{other.scan} and {task.scan} have the same name {task.case}; rename one of them"
            )
        if (other := scans.get(mask, task)) is not task:
            raise InputError(
                f"{task.mask} is both a scan and the mask of {task.scan}; rename one of them"
            )
