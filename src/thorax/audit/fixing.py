"""A corrected copy of a dataset: what is safe is put right, the rest is left and told of.

What is safe stands in `corrections`. A scan whose values are an 8-bit export keeps them, because
its window is an estimate; only the `intensity` in the copied `dataset.yaml` says so. The copy holds
`dataset.yaml`, `scans/` and `masks/`, and a file that needs nothing is copied byte for byte.
"""

import glob
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from thorax.audit.corrections import (
    Correction,
    Step,
    correct,
    in_millimetres,
    labels_whole,
    laid_onto,
    nan_filled,
    offset_removed,
    padding_raised,
    placed_on,
    recognised,
    without_fourth_axis,
)
from thorax.audit.findings import Finding
from thorax.cases import SPEC, DatasetSpec, domain_name, load_spec, save_spec
from thorax.errors import InputError
from thorax.folders import whole_folder
from thorax.intensity import HU, Domain
from thorax.scans import case_name, write_volume
from thorax.scans.declared import declared
from thorax.scans.opening import open_stored
from thorax.scans.stored import StoredArray, reading

if TYPE_CHECKING:
    from thorax.audit.auditing import Audit

SCANS, MASKS = "scans", "masks"
_HU_CHECKS = ("intensity-domain", "intensity-unknown", "intensity-mixture")


@dataclass(frozen=True)
class Change:
    """One thing that was done to a case; its `str` is one line.

    Args:
        case: Its name.
        step: What was done.

    Example:
        >>> print(Change("S1", Step("spacing in metres", "0.0007×0.0007×0.005 mm", "0.7×0.7×5 mm")))
        S1: spacing in metres: 0.0007×0.0007×0.005 mm → 0.7×0.7×5 mm
    """

    case: str
    step: Step

    def __str__(self) -> str:
        return f"{self.case}: {self.step.what}: {self.step.before} → {self.step.after}"


class Fixed(NamedTuple):
    """What became of the faults of a dataset.

    Args:
        done: What was put right, case by case.
        left: Errors and warnings that nothing was done about. To be sure, audit the copy.
    """

    done: tuple[Change, ...]
    left: tuple[Finding, ...]


def fix_dataset(folder: Path, target: Path, audit: "Audit") -> Fixed:
    """Write a corrected copy of a dataset, whole or not at all; the dataset itself is left alone.

    Args:
        folder: Holds `dataset.yaml`, `scans/` and `masks/`.
        target: The copy; it must not exist, nor lie in ``folder``.
        audit: Of the dataset: tells what is left.

    Raises:
        InputError: There is such a target, the `dataset.yaml` cannot be used, or a file cannot be
            read from or written to the disk.
    """
    _check_target(folder, target)
    spec = load_spec(folder / SPEC)
    files = _files(folder)
    done: list[Change] = []
    domains: dict[str, Domain] = {}
    with whole_folder(target) as staged:
        for part in (SCANS, MASKS):
            (staged / part).mkdir()
        for name, (scans, masks) in tqdm(files.items(), "fix", unit="case"):
            _copy(scans, staged / SCANS)
            _copy(masks, staged / MASKS)
            if len(scans) > 1 or len(masks) > 1:
                continue
            case = _Case(name, staged, spec)
            scan = case.fix_scan(scans[0].name) if scans else None
            if masks:
                case.fix_mask(masks[0].name, scan)
            done += [Change(name, step) for step in case.steps]
            if case.domain is not None:
                domains[name] = case.domain
        _write_spec(folder, staged, spec, domains)
    return Fixed(tuple(done), _left(audit, done))


class _Case:
    """A case of the copy while it is put right.

    Args:
        name: Of the case.
        folder: The copy.
        spec: What its files mean.
    """

    def __init__(self, name: str, folder: Path, spec: DatasetSpec) -> None:
        self.name, self._folder, self._spec = name, folder, spec
        self.steps: list[Step] = []
        self.domain: Domain | None = None
        """What the values mean, where `dataset.yaml` says otherwise."""

    def fix_scan(self, file: str) -> StoredArray | None:
        """Put the scan right and return it; None if it cannot be read."""
        path = self._folder / SCANS / file
        if (stored := _load(path)) is None:
            return None
        stored, steps = correct(stored, (without_fourth_axis, in_millimetres))
        if len(stored.shape) == 3:
            stored, more = correct(stored, self._of_values(stored))
            steps += more
        return self._write(path, stored, steps)

    def fix_mask(self, file: str, scan: StoredArray | None) -> None:
        """Put the mask right.

        Args:
            file: Its name.
            scan: The scan, put right; None if it cannot be read.
        """
        path = self._folder / MASKS / file
        if (stored := _load(path)) is None:
            return
        corrections: list[Correction] = [without_fourth_axis, in_millimetres, labels_whole]
        if scan is not None:
            lungs = next(iter(self._spec.regions.values()), [])
            oriented = declared(path).oriented
            corrections += [placed_on(scan, lungs, oriented=oriented), laid_onto(scan)]
        self._write(path, *correct(stored, corrections))

    def _of_values(self, stored: StoredArray) -> list[Correction]:
        """How the values become HU; what they mean is noted where `dataset.yaml` errs."""
        known, said = recognised(stored), _said(self._spec, self.name)
        if known is None or (said.window_hu and known.domain.window_hu):
            return []
        if known.domain == said:
            return [nan_filled(said), padding_raised(said)]
        found = replace(known.domain, offset_hu=0)
        if found != said:
            self.domain = found
            step = Step("`intensity` in dataset.yaml", str(said), str(found), _HU_CHECKS)
            self.steps.append(step)
        if found != HU:
            return []
        return [offset_removed(known.domain), nan_filled(HU), padding_raised(HU)]

    def _write(self, path: Path, stored: StoredArray, steps: Iterable[Step]) -> StoredArray:
        if steps := list(steps):
            write_volume(path, stored.voxels, stored.affine)
            self.steps += steps
        return stored


def _check_target(folder: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InputError(
            f"the corrected copy must be a new folder, but there is {target} already; choose "
            "another, or remove that one first"
        )
    if folder.resolve() in target.resolve().parents:
        raise InputError(
            f"the corrected copy must lie outside the dataset, but {target} is in {folder}; choose "
            "a folder beside it"
        )


def _files(folder: Path) -> dict[str, tuple[list[Path], list[Path]]]:
    """Scans and masks by the name of their case: one of each, if all is well."""
    found: dict[str, tuple[list[Path], list[Path]]] = {}
    for number, part in enumerate((SCANS, MASKS)):
        for path in _listing(folder / part):
            if (name := case_name(path)) is not None:
                found.setdefault(name, ([], []))[number].append(path)
    return dict(sorted(found.items()))


def _listing(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _copy(files: Iterable[Path], folder: Path) -> None:
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _load(path: Path) -> StoredArray | None:
    """A file as it is stored, in memory; None if it cannot be read."""
    try:
        stored = open_stored(path)
        if len(stored.shape) < 3 or set(stored.shape[3:]) - {1} or stored.dtype.kind not in "iuf":
            return None
        with reading(path, "NIfTI"):
            return StoredArray(stored.block(0, stored.shape[2]), stored.affine)
    except (InputError, MemoryError):
        return None


def _said(spec: DatasetSpec, name: str) -> Domain:
    """What `dataset.yaml` says of the values of a case; HU where it says nothing."""
    try:
        return spec.domain_of(name)
    except InputError:
        return HU


def _write_spec(
    folder: Path, staged: Path, spec: DatasetSpec, domains: Mapping[str, Domain]
) -> None:
    if not domains:
        shutil.copyfile(folder / SPEC, staged / SPEC)
        return
    said = spec.intensity if isinstance(spec.intensity, dict) else {"*": spec.intensity}
    # Names are no patterns, and the first pattern that matches holds.
    own = {glob.escape(name): domain_name(domain) for name, domain in domains.items()}
    save_spec(staged / SPEC, replace(spec, intensity={**own, **said}))


def _left(audit: "Audit", done: Iterable[Change]) -> tuple[Finding, ...]:
    answered = {(change.case, check) for change in done for check in change.step.answers}
    return tuple(
        finding
        for finding in audit.findings
        if finding.weight != "note" and (finding.case, finding.check) not in answered
    )
