"""Studies of one's own: checked whole, copied under `data/`, tracked with DVC, and listed."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from glob import escape
from pathlib import Path

import numpy as np
from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import whole_folder
from thorax.common.parallel import in_threads
from thorax.datasets.dataset import (
    PARTS,
    SPEC,
    Dataset,
    DatasetSpec,
    ScaleName,
    load_dataset,
    save_spec,
    scale_name,
)
from thorax.datasets.layouts import FoundCase, find_cases
from thorax.imaging.body import coarse_planes
from thorax.imaging.grid import check_same_grid
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.intensity_detection import DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.regions import MOST_LABELS, Regions
from thorax.io import SUFFIXES, Scan

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

# Folders that the pipeline writes, and what `dvc exp run -S dataset=…` does not read as text.
_NOT_NAMES = frozenset(
    {
        "audit",
        "records",
        "predictions",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "null",
        "inf",
        "nan",
    }
)


def add_dataset(
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
        spec: What its files mean; becomes its ``dataset.yaml``, which is left to git. With `auto`
            as its intensity each scan is recognised, and what is no HU is told on stderr and
            written down.
        track: Whether DVC tracks the scans and masks; if not, the project need not use DVC.

    Returns:
        The dataset in its new place.

    Raises:
        InputError: The name, the project, the regions or the folders will not do; or cases are
            unusable: the first line says how many, then each problem has a line. Or the files
            cannot be written, or DVC refuses them. ``data/<name>`` is then not there.
    """
    found = _check_request(source, root=root, name=name, spec=spec, track=track)
    spec = _check_cases(source, found, spec)
    folder = root / "data" / name
    with whole_folder(folder) as staged:
        _copy(found, staged)
        save_spec(staged / SPEC, spec)
    if track:
        _track(folder, root)
    return load_dataset(folder)


def _check_request(
    source: Path, *, root: Path, name: str, spec: DatasetSpec, track: bool
) -> list[FoundCase]:
    """All that can be known without opening a scan, so that a slip is told at once."""
    problems: list[str] = []
    found: list[FoundCase] = []
    with _noting(problems):
        _check_name(name, root)
    with _noting(problems):
        _check_project(root, track)
    with _noting(problems):
        spec.as_regions()
    with _noting(problems):
        found = find_cases(source)
    if problems:
        raise InputError(*problems)
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


def _check_cases(source: Path, found: Sequence[FoundCase], spec: DatasetSpec) -> DatasetSpec:
    """See whether all cases can be used; return the spec with the intensities that were found."""
    recognised: dict[str, DetectedIntensity] = {}
    work = partial(_problems_of, spec=spec, regions=spec.as_regions(), recognised=recognised)
    problems = in_threads(work, found, title="check")
    unusable = sum(1 for of_case in problems if of_case)
    if unusable:
        lines = dict.fromkeys(line for of_case in problems for line in of_case)
        headline = f"{unusable} of {len(found)} cases in {source} cannot be used; nothing was added"
        raise InputError(f"{headline}:", *lines)
    return replace(spec, intensity=_named(recognised)) if recognised else spec


def _named(recognised: Mapping[str, DetectedIntensity]) -> ScaleName | dict[str, ScaleName]:
    """What a `dataset.yaml` says of recognised scans: the commonest once, the others by name."""
    names = {case: scale_name(one.domain) for case, one in sorted(recognised.items())}
    ((commonest, _),) = Counter(names.values()).most_common(1)
    others: dict[str, ScaleName] = {
        escape(case): name for case, name in names.items() if name != commonest
    }
    for case, one in sorted(recognised.items()):
        for note in one.notes:
            tqdm.write(f"{case}: {note}", file=sys.stderr)
    return {**others, "*": commonest} if others else commonest


def _problems_of(
    found: FoundCase,
    *,
    spec: DatasetSpec,
    regions: Regions,
    recognised: dict[str, DetectedIntensity],
) -> list[str]:
    """Everything that is wrong with a case, one line each; its intensities are added if asked."""
    if (len(found.scans), len(found.masks)) != (1, 1):
        return [_unpaired(found)]
    problems: list[str] = []
    scan, mask = found.scans[0], found.masks[0]
    with _noting(problems):
        spec.patient_of(found.name)
    with _noting(problems):
        spec.site_of(found.name)
    with _noting(problems):
        if spec.intensity == "auto":
            recognised[found.name] = _recognise(scan)
        else:
            _check_scan(scan, spec.domain_of(found.name))
    with _noting(problems):
        _check_labels(mask, regions)
    with _noting(problems):
        check_same_grid(_opened(mask), _opened(scan))
    # A file that cannot even be opened is noted twice.
    return list(dict.fromkeys(problems))


def _unpaired(found: FoundCase) -> str:
    files = ", ".join(str(path) for path in found.scans + found.masks)
    return (
        f"a case must have one scan and one mask of its name, but `{found.name}` has "
        f"{len(found.scans)} and {len(found.masks)}: {files}"
    )


def _opened(path: Path) -> Scan:
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"a scan or mask must be a .nii or .nii.gz file, got {path}; convert it")
    return Scan(path)


def _recognise(path: Path) -> DetectedIntensity:
    coarse = coarse_planes(_opened(path))
    try:
        return detect_intensity_of_scan(coarse)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_scan(path: Path, domain: IntensityScale) -> None:
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


def _copy(found: Sequence[FoundCase], folder: Path) -> None:
    for part in PARTS:
        (folder / part).mkdir()
    for case in tqdm(found, "copy", unit="case"):
        for part, path in zip(PARTS, (case.scans[0], case.masks[0]), strict=True):
            suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
            shutil.copyfile(path, folder / part / f"{case.name}{suffix}")


def _track(folder: Path, root: Path) -> None:
    targets = [str((folder / part).relative_to(root)) for part in PARTS]
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
