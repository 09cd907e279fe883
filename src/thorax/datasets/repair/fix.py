"""A corrected copy of a dataset: what is safe is put right, the rest is left and told of.

What is safe stands in `corrections`. A scan whose values are an 8-bit export keeps them, because
its window is an estimate; only the `intensity` in the copied `dataset.yaml` says so. The copy holds
`dataset.yaml`, `scans/` and `masks/`, and a file that needs nothing is copied byte for byte.
"""

import glob
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import whole_folder
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.checks.geometry import SAME_SPACING
from thorax.datasets.audit.checks.intensity import declared_domain
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.dataset import (
    PARTS,
    SPEC,
    DatasetSpec,
    ScaleName,
    load_spec,
    save_spec,
    scale_name,
)
from thorax.datasets.repair.corrections import (
    CorrectFunction,
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
from thorax.imaging.intensity import HU, IntensityScale
from thorax.io import case_name, write_volume
from thorax.io.raw_header import read_raw_header
from thorax.io.readers import open_image
from thorax.io.stored_image import ImageArray, reading

SCANS, MASKS = PARTS


@dataclass(frozen=True)
class Correction:
    """One thing that was done to a case; its `str` is one line.

    Args:
        case: Its name.
        part: ``scan``, ``mask`` or ``dataset.yaml``.
        step: What was done.

    Example:
        >>> print(Correction("S1-101", "mask", Step("affine", "identity", "that of the scan")))
        S1-101, mask: affine: identity → that of the scan
    """

    case: str
    part: str
    step: Step

    def __str__(self) -> str:
        return f"{self.case}, {self.part}: {self.step.what}: {self.step.before} → {self.step.after}"


def fix_dataset(folder: Path, target: Path, audit: Audit) -> tuple[Correction, ...]:
    """Write a corrected copy of a dataset, whole or not at all; the dataset itself is left alone.

    Args:
        folder: Holds `dataset.yaml`, `scans/` and `masks/`.
        target: The copy; it must not exist, nor lie in ``folder``.
        audit: Of the dataset; tells its cases and their files.

    Returns:
        What was put right, case by case. What is left, an audit of the copy tells.

    Raises:
        InputError: There is such a target, the `dataset.yaml` cannot be used, or a file cannot be
            read from or written to the disk.
    """
    _check_target(folder, target)
    spec = load_spec(folder / SPEC)
    with whole_folder(target) as staged:
        _copy(folder, staged)
        cases = [_Case(facts, staged, spec) for facts in audit.facts]
        for case in tqdm(cases, "fix", unit="case"):
            case.fix()
        domains = {case.name: case.domain for case in cases if case.domain is not None}
        if domains:
            save_spec(staged / SPEC, replace(spec, intensity=_intensity(spec, domains)))
    return tuple(change for case in cases for change in case.changes)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A file in memory, and what its header states.

    Args:
        stored: The volume.
        oriented: Whether the file says where its voxels lie.
        sound: Whether its spacing is that of its affine, too. Else rewriting it would hide that.
    """

    stored: ImageArray
    oriented: bool
    sound: bool


class _Case:
    """A case of the copy while it is put right.

    Args:
        facts: What the audit knows of it.
        folder: The copy.
        spec: What its files mean.
    """

    def __init__(self, facts: CaseFacts, folder: Path, spec: DatasetSpec) -> None:
        self.name, self._facts, self._folder, self._spec = facts.case, facts, folder, spec
        self.changes: list[Correction] = []
        self.domain: IntensityScale | None = None
        """What the values mean, where `dataset.yaml` says otherwise."""

    def fix(self) -> None:
        """Put right what is safe; of a case with two scans or masks nothing is."""
        if self._facts.problem:
            return
        scan = self._fix_scan(self._facts.scan.file) if self._facts.scan else None
        if self._facts.mask:
            self._fix_mask(self._facts.mask.file, scan)

    def _fix_scan(self, file: str) -> ImageArray | None:
        """Put the scan right and return it; None if its grid is not known."""
        path = self._folder / SCANS / file
        loaded = _load(path)
        if loaded is None or not loaded.sound:
            return None
        stored, steps = correct(loaded.stored, (without_fourth_axis, in_millimetres))
        stored, more = correct(stored, self._of_values(stored))
        self._write(path, stored, [*steps, *more])
        return stored

    def _fix_mask(self, file: str, scan: ImageArray | None) -> None:
        """Put the mask right, on the scan that was put right, if its grid is known."""
        path = self._folder / MASKS / file
        if (loaded := _load(path)) is None:
            return
        corrections: list[CorrectFunction] = [without_fourth_axis, labels_whole]
        if scan is not None:
            placed = placed_on(scan, lung_labels(self._spec), oriented=loaded.oriented)
            # In this order: a mask that lies right as it is needs no guess.
            corrections += [in_millimetres, laid_onto(scan), placed]
        stored, steps = correct(loaded.stored, corrections)
        if loaded.sound or (scan is not None and stored.affine is scan.affine):
            self._write(path, stored, steps)

    def _of_values(self, stored: ImageArray) -> list[CorrectFunction]:
        """How the values become HU; what they mean is noted where `dataset.yaml` errs."""
        known, said = recognised(stored), declared_domain(self._spec, self.name) or HU
        if known is None or (said.window_hu and known.domain.window_hu):
            return []
        if known.domain == said:
            return [nan_filled(said), padding_raised(said)]
        found = replace(known.domain, offset_hu=0)
        if found != said:
            self.domain = found
            self.changes.append(
                Correction(self.name, SPEC, Step("intensity", str(said), str(found)))
            )
        if found != HU:
            return []
        return [offset_removed(known.domain), nan_filled(HU), padding_raised(HU)]

    def _write(self, path: Path, stored: ImageArray, steps: Sequence[Step]) -> None:
        if steps:
            write_volume(path, stored.voxels, stored.affine)
            part = path.parent.name.removesuffix("s")
            self.changes += [Correction(self.name, part, step) for step in steps]


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


def _copy(folder: Path, staged: Path) -> None:
    shutil.copyfile(folder / SPEC, staged / SPEC)
    for part in PARTS:
        (staged / part).mkdir()
        for path in sorted((folder / part).iterdir()):
            if case_name(path) is not None:
                shutil.copyfile(path, staged / part / path.name)


def _load(path: Path) -> _Loaded | None:
    """A file as it is stored, in memory; None if it cannot be read, or is no volume."""
    try:
        opened, stated = open_image(path), read_raw_header(path)
        if len(opened.shape) < 3 or set(opened.shape[3:]) - {1} or opened.dtype.kind not in "iuf":
            return None
        with reading(path, "NIfTI"):
            stored = ImageArray(opened.block(0, opened.shape[2]), opened.affine)
    # Readers raise errors of many kinds for damaged files; the audit tells of them.
    except Exception:
        return None
    spacing = np.linalg.norm(stored.affine[:3, :3], axis=0)
    alike = np.allclose(stated.spacing or spacing, spacing, rtol=SAME_SPACING)
    return _Loaded(stored, stated.oriented, stated.oriented and alike)


def _intensity(spec: DatasetSpec, domains: Mapping[str, IntensityScale]) -> dict[str, ScaleName]:
    """What values mean: of some cases by name, and of the others as before."""
    said = spec.intensity if isinstance(spec.intensity, dict) else {"*": spec.intensity}
    # Names are no patterns, and the first pattern that matches holds.
    own = {glob.escape(name): scale_name(domain) for name, domain in domains.items()}
    return own | {pattern: name for pattern, name in said.items() if pattern not in own}
