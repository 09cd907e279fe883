"""Studies of one's own: checked whole, copied under `data/`, tracked with DVC, and listed."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from thorax.canvases import open_mask
from thorax.cases import SPEC, Dataset, DatasetSpec, DomainName, load_dataset, load_spec, save_spec
from thorax.errors import InputError
from thorax.folders import whole_folder
from thorax.intensity import Domain
from thorax.regions import MOST_LABELS, Regions
from thorax.scans import SUFFIXES, Scan

Origin = Literal["made by a stage", "tracked", "not tracked"]

_PARTS = ("scans", "masks")
_LAYOUTS = (_PARTS, ("images", "labels"), ("imagesTr", "labelsTr"))
_ENDINGS = (
    re.compile(r"[-_](0000|ct|scan|image)$", re.IGNORECASE),
    re.compile(r"[-_](seg|mask|labels?)$", re.IGNORECASE),
)
_IMAGE = re.compile(r"(?P<name>[^.].*?)(\.nii|\.nii\.gz|\.nrrd|\.mha|\.mhd|\.dcm)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# Folders that the pipeline writes, and what `dvc exp run -S dataset=…` does not read as text.
_NOT_NAMES = frozenset(
    {"records", "predictions", "true", "false", "yes", "no", "on", "off", "null", "inf", "nan"}
)


@dataclass(frozen=True)
class StudyLine:
    """What there is to say about one dataset.

    Args:
        name: Its folder below ``data/``.
        title: One line for people; may be empty.
        cases: How many there are; None when the files are not there yet, or do not pair up.
        regions: Names of the regions that its masks show.
        origin: How the files get there.
        problem: Why the dataset cannot be used; empty if it can.
    """

    name: str
    title: str
    cases: int | None
    regions: tuple[str, ...]
    origin: Origin
    problem: str = ""


@dataclass(frozen=True)
class _Found:
    """The files of one case, as the user's folders hold them: one each, if all is well."""

    name: str
    scans: tuple[Path, ...]
    masks: tuple[Path, ...]


def add_study(
    source: Path, *, root: Path, name: str, spec: DatasetSpec, track: bool = True
) -> Dataset:
    """Check a study whole, copy it to ``data/<name>`` and track its files with DVC.

    Nothing is copied unless every file can be read to its last plane, every mask lies on the grid
    of its scan, and every label value is named. Then ``data/<name>`` is there whole or not at all.
    A case is named by its files without ``_0000``, ``_ct``, ``_seg`` and the like where only that
    makes scan and mask match; the patterns of patient and site are applied to this name.

    Args:
        source: Holds ``scans/`` and ``masks/``, ``images/`` and ``labels/``, or ``imagesTr/`` and
            ``labelsTr/``.
        root: The project: the folder that holds ``.dvc`` and ``data``.
        name: What the dataset is to be called.
        spec: What its files mean; becomes its ``dataset.yaml``, which is left to git.
        track: Whether DVC tracks the scans and masks; if not, the project need not use DVC.

    Returns:
        The dataset in its new place.

    Raises:
        InputError: The name, the project, the regions or the folders will not do; or cases are
            unusable: the first line says how many, then each problem has a line. Or the files
            cannot be written, or DVC refuses them. ``data/<name>`` is then not there.
    """
    found = _check_request(source, root=root, name=name, spec=spec, track=track)
    _check_cases(source, found, spec)
    folder = root / "data" / name
    with whole_folder(folder) as staged:
        _copy(found, staged)
        save_spec(staged / SPEC, spec)
    if track:
        _track(folder, root)
    return load_dataset(folder)


def list_studies(root: Path) -> list[StudyLine]:
    """Tell of every folder below ``data/`` that holds a `dataset.yaml`, sorted by name.

    Nothing is raised for damaged ones; their line says what is wrong.

    Args:
        root: The project: the folder that holds ``data``.
    """
    return [_line(path.parent) for path in sorted((root / "data").glob(f"[!.]*/{SPEC}"))]


def parse_intensity(option: str) -> DomainName:
    """Read what voxel values mean, as the command line gives it.

    Raises:
        InputError: It is neither ``hu`` nor two rising numbers.

    Example:
        >>> parse_intensity("-1250,250")
        (-1250.0, 250.0)
        >>> parse_intensity("hu")
        'hu'
    """
    if option == "hu":
        return "hu"
    try:
        low_hu, high_hu = (float(number) for number in option.split(","))
    except ValueError:
        low_hu = high_hu = math.nan
    if not -math.inf < low_hu < high_hu < math.inf:
        raise InputError(
            "`intensity` must be hu, or the HU that 0 and 255 stand for, like -1250,250, "
            f"got `{option}`"
        )
    return low_hu, high_hu


def _check_request(
    source: Path, *, root: Path, name: str, spec: DatasetSpec, track: bool
) -> list[_Found]:
    """All that can be known without opening a scan, so that a slip is told at once."""
    problems: list[str] = []
    found: list[_Found] = []
    with _noting(problems):
        _check_name(name, root)
    with _noting(problems):
        _check_project(root, track)
    with _noting(problems):
        spec.as_regions()
    with _noting(problems):
        found = _find_cases(source)
    if problems:
        raise InputError("\n".join(problems))
    return found


def _check_name(name: str, root: Path) -> None:
    if not _NAME.fullmatch(name) or name.lower() in _NOT_NAMES:
        raise InputError(
            "the name of a dataset must be letters, digits, - and _ after a letter, and none of "
            f"{', '.join(sorted(_NOT_NAMES))}, got `{name}`"
        )
    for taken in (root / "data" / name, root / "data" / f"{name}.dvc"):
        if taken.exists():
            raise InputError(
                f"the name of a dataset must be new, but there is {taken} already; choose another "
                "name, or remove that dataset first"
            )


def _check_project(root: Path, track: bool) -> None:
    if track and not (root / ".dvc").is_dir():
        raise InputError(
            "a study is added to a project that DVC knows: run this in the folder that holds "
            f"`.dvc` and `params.yaml`, got {root.absolute()}"
        )


def _find_cases(source: Path) -> list[_Found]:
    """Match masks to scans by name; what has no match is a case without it."""
    folders = _folders(source)
    files = [_images(folder) for folder in folders]
    if not files[0]:
        raise InputError(f"there is no NIfTI scan in {folders[0]}")
    forms = [
        {path: (name, ending.sub("", name)) for path, name in images.items()}
        for images, ending in zip(files, _ENDINGS, strict=True)
    ]
    scans, masks = _by_name(forms[0], forms[1]), _by_name(forms[1], forms[0])
    return [
        _Found(name, tuple(scans.get(name, ())), tuple(masks.get(name, ())))
        for name in sorted({*scans, *masks})
    ]


def _folders(source: Path) -> tuple[Path, Path]:
    for scans, masks in _LAYOUTS:
        if (source / scans).is_dir() and (source / masks).is_dir():
            return source / scans, source / masks
    known = ", or ".join(f"{scans}/ and {masks}/" for scans, masks in _LAYOUTS)
    held = _listing(source)
    names = ", ".join(path.name for path in held[:5]) or "nothing"
    raise InputError(
        f"a study must be a folder with {known}, but {source} holds {names}"
        f"{', …' if len(held) > 5 else ''}"
    )


def _images(folder: Path) -> dict[Path, str]:
    """Images of all formats, so that one which cannot be used is named, not passed over."""
    matches = {path: _IMAGE.fullmatch(path.name) for path in _listing(folder)}
    return {path: match["name"] for path, match in matches.items() if match}


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} is no folder that can be read: {error.strerror}") from None


def _by_name(
    own: dict[Path, tuple[str, str]], other: dict[Path, tuple[str, str]]
) -> dict[str, list[Path]]:
    """Files under that form of their name which the other folder knows, the full one first."""
    known = {form for forms in other.values() for form in forms}
    named: dict[str, list[Path]] = {}
    for path, forms in own.items():
        name = next((form for form in forms if form in known), forms[0])
        named.setdefault(name, []).append(path)
    return named


def _check_cases(source: Path, found: Sequence[_Found], spec: DatasetSpec) -> None:
    work = partial(_problems_of, spec=spec, regions=spec.as_regions())
    problems = _in_threads(work, found)
    unusable = sum(1 for of_case in problems if of_case)
    if unusable:
        lines = dict.fromkeys(line for of_case in problems for line in of_case)
        headline = f"{unusable} of {len(found)} cases in {source} cannot be used; nothing was added"
        raise InputError("\n  ".join([f"{headline}:", *lines]))


def _in_threads(work: Callable[[_Found], list[str]], found: Sequence[_Found]) -> list[list[str]]:
    # Most of the time goes into unpacking gzip, which lets other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(tqdm(pool.map(work, found), "check", len(found), unit="case"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _problems_of(found: _Found, *, spec: DatasetSpec, regions: Regions) -> list[str]:
    """Everything that is wrong with a case, one line each."""
    if (len(found.scans), len(found.masks)) != (1, 1):
        return [_unpaired(found)]
    problems: list[str] = []
    scan, mask = found.scans[0], found.masks[0]
    with _noting(problems):
        spec.patient_of(found.name)
    with _noting(problems):
        spec.site_of(found.name)
    with _noting(problems):
        _check_scan(scan, spec.domain_of(found.name))
    with _noting(problems):
        _check_labels(mask, regions)
    with _noting(problems):
        open_mask(_opened(mask), _opened(scan))
    # A file that cannot even be opened is noted twice.
    return list(dict.fromkeys(problems))


def _unpaired(found: _Found) -> str:
    files = ", ".join(str(path) for path in found.scans + found.masks)
    return (
        f"a case must have one scan and one mask of its name, but `{found.name}` has "
        f"{len(found.scans)} and {len(found.masks)}: {files}"
    )


def _opened(path: Path) -> Scan:
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"a scan or mask must be a .nii or .nii.gz file, got {path}; convert it")
    return Scan(path)


def _check_scan(path: Path, domain: Domain) -> None:
    ranges = [(planes.min(), planes.max()) for _, planes in _opened(path).slabs()]
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    if domain.window_hu is None and lowest >= 0:
        raise InputError(
            f"a scan in HU must show air, about -1000, but the lowest value in {path} is "
            f"{lowest:g}; subtract its offset, or give the `intensity` of an 8-bit export"
        )
    if domain.window_hu is not None and not 0 <= lowest <= highest <= 255:
        raise InputError(
            "with a range as `intensity`, a scan must hold values 0..255, but "
            f"{path} holds {lowest:g}..{highest:g}"
        )


def _check_labels(path: Path, regions: Regions) -> None:
    values = np.empty(0, np.uint8)
    for _, planes in _opened(path).slabs():
        values = np.union1d(values, planes)
        if len(values) > MOST_LABELS:
            break
    try:
        regions.check(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        problems.append(" ".join(str(error).splitlines()))


def _copy(found: Sequence[_Found], folder: Path) -> None:
    for part in _PARTS:
        (folder / part).mkdir()
    for case in tqdm(found, "copy", unit="case"):
        for part, path in zip(_PARTS, (case.scans[0], case.masks[0]), strict=True):
            suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
            shutil.copyfile(path, folder / part / f"{case.name}{suffix}")


def _track(folder: Path, root: Path) -> None:
    targets = [str((folder / part).relative_to(root)) for part in _PARTS]
    try:
        # A process of its own: DVC's warnings, logging and locks stay out of this one.
        answer = subprocess.run(
            [sys.executable, "-m", "dvc", "add", *targets],
            cwd=root,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise InputError(
                f"`dvc add {' '.join(targets)}` must succeed, nothing was kept, but DVC says: "
                f"{_reason(answer.stderr)}"
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _reason(answer: str) -> str:
    """The line of DVC's answer that tells why, or the last if none is marked."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()] or ["nothing"]
    marked = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return marked[0] if marked else lines[-1]


def _line(folder: Path) -> StudyLine:
    title, cases, problem = "", None, ""
    regions: tuple[str, ...] = ()
    try:
        spec = load_spec(folder / SPEC)
        title, regions = spec.title, tuple(spec.regions)
        spec.as_regions()
        if any((folder / part).exists() for part in _PARTS):
            cases = len(load_dataset(folder).cases)
    except (InputError, OSError) as error:
        problem = " ".join(str(error).split())
    return StudyLine(folder.name, title, cases, regions, _origin(folder), problem)


def _origin(folder: Path) -> Origin:
    if (folder / "dvc.yaml").exists():
        return "made by a stage"
    apart = all((folder / f"{part}.dvc").exists() for part in _PARTS)
    whole = folder.with_name(f"{folder.name}.dvc").exists()
    return "tracked" if apart or whole else "not tracked"
