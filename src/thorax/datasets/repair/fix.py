"""Corrected copy of a dataset: safe corrections are applied, other problems are left.

The safe corrections are in `corrections`. The values of an 8-bit export are kept, because its
window is an estimate; only the `intensity` in the copied `dataset.yaml` changes. The copy contains
`dataset.yaml`, `scans/` and `masks/`; files without corrections are copied byte for byte.
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
from thorax.datasets.audit.checks.intensity import declared_scale
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
    Correct,
    Step,
    align_with,
    apply_corrections,
    copy_affine,
    detect_scale,
    fill_undefined,
    raise_padding,
    remove_offset,
    storable,
    to_integer_labels,
    to_millimetres,
)
from thorax.imaging.intensity import HU, IntensityScale
from thorax.io import case_name, write_volume
from thorax.io.raw_header import read_raw_header
from thorax.io.readers import open_image
from thorax.io.stored_image import ImageArray, input_errors

SCANS, MASKS = PARTS


@dataclass(frozen=True)
class Correction:
    """One correction of a case; its `str` is one line.

    Args:
        case: Name of the case.
        part: ``scan``, ``mask`` or ``dataset.yaml``.
        step: The correction.

    Example:
        >>> print(Correction("S1-101", "mask", Step("affine", "identity", "that of the scan")))
        S1-101, mask: affine: identity → that of the scan
    """

    case: str
    part: str
    step: Step

    def __str__(self) -> str:
        step = self.step
        return f"{self.case}, {self.part}: {step.property}: {step.before} → {step.after}"


def fix_dataset(folder: Path, target: Path, audit: Audit) -> tuple[Correction, ...]:
    """Write a corrected copy of a dataset atomically; the dataset itself is not changed.

    Args:
        folder: Contains `dataset.yaml`, `scans/` and `masks/`.
        target: The copy; it must not exist, nor be inside ``folder``.
        audit: Audit of the dataset; lists its cases and their files.

    Returns:
        The corrections, case by case. An audit of the copy lists the remaining problems.

    Raises:
        InputError: The target exists, `dataset.yaml` cannot be used, or a file cannot be read or
            written.
    """
    check_target(folder, target)
    spec = load_spec(folder / SPEC)
    with whole_folder(target) as staged:
        _copy(folder, staged)
        cases = [_CaseRepair(facts, staged, spec) for facts in audit.facts]
        for case in tqdm(cases, "fix", unit="case"):
            case.run()
        scales = {case.name: case.scale for case in cases if case.scale is not None}
        if scales:
            save_spec(staged / SPEC, replace(spec, intensity=_intensity(spec, scales)))
    return tuple(correction for case in cases for correction in case.corrections)


@dataclass(frozen=True, eq=False)
class _LoadedFile:
    """A file in memory, and properties of its header.

    Args:
        stored: The volume.
        oriented: False if the header has no orientation.
        consistent: True if it is oriented and its spacing is that of its affine. An inconsistent
            file is not rewritten, because that would hide the problem.
    """

    stored: ImageArray
    oriented: bool
    consistent: bool


class _CaseRepair:
    """Corrects one case of the copy.

    Args:
        facts: Facts of the case.
        folder: The copy.
        spec: Content of `dataset.yaml`.
    """

    def __init__(self, facts: CaseFacts, folder: Path, spec: DatasetSpec) -> None:
        self.name, self._facts, self._folder, self._spec = facts.case, facts, folder, spec
        self.corrections: list[Correction] = []
        self.scale: IntensityScale | None = None
        """Intensity scale, if that in `dataset.yaml` is wrong."""

    def run(self) -> None:
        """Apply the safe corrections; none if there are two scans or masks."""
        if self._facts.problem:
            return
        scan = self._fix_scan(self._facts.scan.file) if self._facts.scan else None
        if self._facts.mask:
            self._fix_mask(self._facts.mask.file, scan)

    def _fix_scan(self, file: str) -> ImageArray | None:
        """Correct the scan and return it; None if its grid is unknown."""
        path = self._folder / SCANS / file
        loaded = _load(path)
        if loaded is None or not loaded.consistent:
            return None
        stored, steps = apply_corrections(loaded.stored, (to_millimetres,))
        stored, more = apply_corrections(stored, self._value_corrections(stored))
        self._write(path, stored, [*steps, *more])
        return stored

    def _fix_mask(self, file: str, scan: ImageArray | None) -> None:
        """Correct the mask, using the corrected scan if its grid is known."""
        path = self._folder / MASKS / file
        if (loaded := _load(path)) is None:
            return
        corrections: list[Correct] = [to_integer_labels]
        if scan is not None:
            copy = copy_affine(scan, lung_labels(self._spec), oriented=loaded.oriented)
            # The order matters: a mask that can be aligned needs no copied affine.
            corrections += [to_millimetres, align_with(scan), copy]
        stored, steps = apply_corrections(loaded.stored, corrections)
        if loaded.consistent or (scan is not None and stored.affine is scan.affine):
            self._write(path, stored, steps)

    def _value_corrections(self, stored: ImageArray) -> list[Correct]:
        """Choose corrections of the values; note a scale that `dataset.yaml` states wrongly."""
        detected, declared = detect_scale(stored), declared_scale(self._spec, self.name) or HU
        if detected is None or (declared.window_hu and detected.scale.window_hu):
            return []
        if detected.scale == declared:
            return [fill_undefined(declared), raise_padding(declared)]
        scale = replace(detected.scale, offset_hu=0)
        if scale != declared:
            self.scale = scale
            step = Step("intensity", str(declared), str(scale))
            self.corrections.append(Correction(self.name, SPEC, step))
        if scale != HU:
            return []
        return [remove_offset(detected.scale), fill_undefined(HU), raise_padding(HU)]

    def _write(self, path: Path, stored: ImageArray, steps: Sequence[Step]) -> None:
        if steps:
            write_volume(path, storable(stored.voxels), stored.affine)
            part = path.parent.name.removesuffix("s")
            self.corrections += [Correction(self.name, part, step) for step in steps]


def check_target(folder: Path, target: Path) -> None:
    """Raise `InputError` unless the corrected copy is a new folder outside the dataset."""
    if target.exists() or target.is_symlink():
        raise InputError(
            f"the corrected copy must be a new folder, but {target} exists; choose another name, "
            "or remove that folder first"
        )
    if folder.resolve() in target.resolve().parents:
        raise InputError(
            f"the corrected copy must be outside the dataset, but {target} is in {folder}; choose "
            "another folder"
        )


def _copy(folder: Path, staged: Path) -> None:
    shutil.copyfile(folder / SPEC, staged / SPEC)
    for part in PARTS:
        (staged / part).mkdir()
        for path in sorted((folder / part).iterdir()):
            if case_name(path) is not None:
                shutil.copyfile(path, staged / part / path.name)


def _load(path: Path) -> _LoadedFile | None:
    """Load a file as stored; None if it cannot be read or is not a volume."""
    try:
        image, header = open_image(path), read_raw_header(path)
        if len(image.shape) != 3 or image.dtype.kind not in "iuf":
            return None
        with input_errors(path, "NIfTI"):
            stored = ImageArray(image.block(0, image.shape[2]), image.affine)
    # Readers raise errors of many kinds for damaged files; the audit reports them.
    except Exception:
        return None
    spacing = np.linalg.norm(stored.affine[:3, :3], axis=0)
    same_spacing = np.allclose(header.spacing or spacing, spacing, rtol=SAME_SPACING)
    return _LoadedFile(stored, header.oriented, header.oriented and same_spacing)


def _intensity(spec: DatasetSpec, scales: Mapping[str, IntensityScale]) -> dict[str, ScaleName]:
    """Add the scales of some cases, by name, to those of `dataset.yaml`."""
    declared = spec.intensity if isinstance(spec.intensity, dict) else {"*": spec.intensity}
    # Names are escaped, because they are not patterns; the first matching pattern counts.
    own = {glob.escape(name): scale_name(scale) for name, scale in scales.items()}
    return own | {pattern: name for pattern, name in declared.items() if pattern not in own}
