"""Add a user's dataset to a project: audit it, copy it to `data/`, and track it with DVC."""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path

from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import whole_folder
from thorax.common.project import dvc
from thorax.datasets.audit.audit import check_facts, measure_cases
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import (
    PARTS,
    SPEC,
    CaseFiles,
    Dataset,
    DatasetSpec,
    ScaleName,
    load_dataset,
    save_spec,
    scale_name,
)
from thorax.datasets.dicom_cases import (
    RoiNames,
    check_masks,
    convert_cases,
    has_dicom,
    region_labels,
)
from thorax.datasets.layouts import find_cases
from thorax.imaging.intensity import HU, parse_intensity
from thorax.io import NIFTI_SUFFIXES

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

_RESERVED = frozenset({"audit", "records", "predictions"})
"""Folders of the pipeline in `data/`."""

_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "inf", "nan"})
"""Words that `dvc exp run -S dataset=…` does not read as text."""


def add_dataset(
    source: Path,
    *,
    root: Path,
    name: str,
    spec: DatasetSpec,
    rois: RoiNames | None = None,
    track: bool = True,
) -> Dataset:
    """Audit a dataset, copy it to ``data/<name>`` and track its files with DVC.

    Nothing is copied if the audit finds an error in any case. ``data/<name>`` appears atomically.
    Case names are those of `find_cases`; the patterns of patient and site apply to them.

    Args:
        source: The dataset, in a layout of `find_cases`.
        root: The project: the folder that contains ``.dvc`` and ``data``.
        name: Name of the new dataset.
        spec: Its ``dataset.yaml``. With ``auto`` as `intensity` the scale of each scan is detected
            and written to the file; remarks on scans that are not plain HU go to stderr.
        rois: For DICOM masks, the names of the regions of interest that form each region. The
            label values of the regions are then chosen here, and those of `spec` are ignored:
            see `label_of_code`.
        track: Track scans and masks with DVC; without it the project need not use DVC.

    Returns:
        The dataset in its new folder.

    Raises:
        InputError: The name, project, regions or folders are invalid; a case cannot be used (the
            first line counts the cases, then each problem has one line); the files cannot be
            written; or DVC refuses them. ``data/<name>`` does not exist then.
    """
    cases = _check_request(source, root=root, name=name, spec=spec, track=track)
    are_dicom = check_masks(cases, rois or {}) or any(map(has_dicom, cases))
    if not are_dicom:
        spec = _audit(source, cases, spec)
    folder = root / "data" / name
    with whole_folder(folder) as staged:
        for part in PARTS:
            (staged / part).mkdir()
        if are_dicom:
            cases, spec = _convert(source, cases, spec, rois or {}, staged)
            spec = _audit(source, cases, spec)
        _copy(cases, staged)
        save_spec(staged / SPEC, spec)
    if track:
        _track(folder, root)
    return load_dataset(folder)


def _check_request(
    source: Path, *, root: Path, name: str, spec: DatasetSpec, track: bool
) -> list[CaseFiles]:
    """Check everything that needs no scan, and report all problems together."""
    problems: list[str] = []
    cases: list[CaseFiles] = []
    with _collecting(problems):
        _check_name(name, root)
    with _collecting(problems):
        _check_project(root, track)
    with _collecting(problems):
        spec.as_regions()
    with _collecting(problems):
        cases = find_cases(source)
    if problems:
        raise InputError(*problems)
    return cases


@contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        problems.append(" ".join(str(error).splitlines()))


def _check_name(name: str, root: Path) -> None:
    reserved = _RESERVED | _NOT_TEXT
    if not _NAME.fullmatch(name) or name.lower() in reserved:
        raise InputError(
            "the name of a dataset must be a letter followed by letters, digits, - or _, and none "
            f"of {', '.join(sorted(reserved))}, got `{name}`"
        )
    for path in (root / "data" / name, root / "data" / f"{name}.dvc"):
        if path.exists():
            raise InputError(
                f"the name of a dataset must be new, but {path} exists; choose another name, or "
                "remove that dataset first"
            )


def _check_project(root: Path, track: bool) -> None:
    if track and not (root / ".dvc").is_dir():
        raise InputError(
            "a dataset can only be added to a DVC project; run this in the folder that contains "
            f"`.dvc` and `params.yaml`, got {root.absolute()}"
        )


def _convert(
    source: Path,
    cases: list[CaseFiles],
    spec: DatasetSpec,
    rois: RoiNames,
    folder: Path,
) -> tuple[list[CaseFiles], DatasetSpec]:
    """Convert DICOM files to NIfTI; return the cases, and the spec with their label values."""
    is_dicom = check_masks(cases, rois)
    converted, problems = convert_cases(cases, rois, folder)
    if problems:
        raise _unusable(source, cases, problems)
    for case in converted:
        for remark in case.remarks:
            tqdm.write(f"{case.files.name}: {remark}", file=sys.stderr)
    if is_dicom:
        codes = frozenset(code for case in converted for code in case.codes)
        spec = replace(spec, regions=region_labels(list(rois), codes), ignored=[])
    return [case.files for case in converted], spec


def _unusable(
    source: Path, cases: Sequence[CaseFiles], problems: Mapping[str, Sequence[str]]
) -> InputError:
    """Make an error with one line per problem, with the names of all cases that have it."""
    unusable = len({name for names in problems.values() for name in names})
    headline = f"{unusable} of {len(cases)} cases in {source} cannot be used; nothing was added"
    lines = (f"{', '.join(names)}: {problem}" for problem, names in problems.items())
    return InputError(f"{headline}:", *lines)


def _audit(source: Path, cases: Sequence[CaseFiles], spec: DatasetSpec) -> DatasetSpec:
    """Refuse cases with errors; return the spec with detected intensity scales."""
    facts = measure_cases(cases, spec)
    detect = spec.intensity == "auto"
    if detect:
        spec = replace(spec, intensity=_detected_scales(facts))
    # A scale that was neither declared nor detected is unknown.
    errors = [
        finding
        for finding in check_facts(facts, spec)
        if finding.severity == "error" or (detect and finding.check == "intensity-unknown")
    ]
    if errors:
        raise _unusable(source, cases, _problems(errors))
    for case in facts if detect else ():
        for remark in case.values.remarks if case.values else ():
            tqdm.write(f"{case.case}: {remark}", file=sys.stderr)
    return spec


def _problems(errors: Iterable[Finding]) -> dict[str, list[str]]:
    """Names of the cases that have each problem."""
    cases: dict[str, list[str]] = {}
    for finding in sorted(errors, key=lambda finding: finding.case):
        cases.setdefault(f"{finding.text}; {finding.advice}", []).append(finding.case)
    return cases


def _detected_scales(facts: Sequence[CaseFacts]) -> ScaleName | dict[str, ScaleName]:
    """Write detected scales for a `dataset.yaml`: the most frequent once, the others by name."""
    detected = {case.case: case.values.intensity if case.values else "" for case in facts}
    scales = {case: parse_intensity(text) if text else HU for case, text in detected.items()}
    names = {case: scale_name(scale or HU) for case, scale in scales.items()}
    ((usual, _),) = Counter(names.values()).most_common(1)
    others: dict[str, ScaleName] = {
        escape(case): name for case, name in names.items() if name != usual
    }
    return {**others, "*": usual} if others else usual


def _copy(cases: Sequence[CaseFiles], folder: Path) -> None:
    for case in tqdm(cases, "copy", unit="case"):
        for part, path in zip(PARTS, (case.scans[0], case.masks[0]), strict=True):
            suffix = next(suffix for suffix in NIFTI_SUFFIXES if path.name.endswith(suffix))
            target = folder / part / f"{case.name}{suffix}"
            if path != target:  # converted files are there already
                shutil.copyfile(path, target)


def _track(folder: Path, root: Path) -> None:
    targets = [str((folder / part).relative_to(root)) for part in PARTS]
    try:
        dvc(root, "add", *targets)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
