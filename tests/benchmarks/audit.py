"""Audit a dataset with one planted fault of every kind; report missed faults and false findings.

    python tests/benchmarks/audit.py [--keep FOLDER]

Each fault is in a separate synthetic chest. As many chests and one more stay unchanged; two of
these have similar names.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import numpy as np
from measuring import say
from numpy.typing import NDArray

from thorax.common.parallel import worker_pool
from thorax.datasets.audit.audit import audit_dataset
from thorax.datasets.audit.findings import Finding
from thorax.phantom import chest

Voxels = NDArray[Any]
CONTEXT = 3
SPEC = "regions: {lung: [1, 2, 3], infection: [3], nodule: [9]}\n"


def main() -> None:
    """Print one row per fault; exit with 1 after missed faults or false findings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="folder to keep the dataset in")
    keep = parser.parse_args().keep
    with TemporaryDirectory() as temporary:
        folder = keep or Path(temporary) / "planted"
        make(folder)
        findings = audit_dataset(folder, context=CONTEXT).findings
    missed = sum([report_fault(fault, findings) for fault in FAULTS])
    missed += sum([report_dataset_finding(check, findings) for check in DATASET_FINDINGS])
    faulty = {fault.case for fault in FAULTS}
    false = [
        finding
        for finding in findings
        if finding.case and finding.case not in faulty and finding.check != "region-empty"
    ]
    say(f"{len(FAULTS) + len(DATASET_FINDINGS)} faults, {missed} missed")
    say(f"{len(FAULTS) + 1} clean cases, false findings: {false or 'none'}")
    sys.exit(bool(missed or false))


def report_fault(fault: "Fault", findings: tuple[Finding, ...]) -> bool:
    """Print the findings of one case; return whether its fault was missed."""
    checks = {item.check: item.severity for item in findings if item.case == fault.case}
    severity = checks.pop(fault.check, "MISSED")
    say(f"{fault.case:<20} {fault.check:<20} {severity:<8} {', '.join(checks)}")
    return severity == "MISSED"


def report_dataset_finding(check: str, findings: tuple[Finding, ...]) -> bool:
    """Print a finding about the whole dataset; return whether it was missed."""
    severities = [item.severity for item in findings if item.check == check]
    say(f"{'(the dataset)':<20} {check:<20} {severities[0] if severities else 'MISSED'}")
    return not severities


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        case: Case with the fault.
        check: Check that must find it.
        plant: Changes the files of the scan and the mask.
    """

    case: str
    check: str
    plant: Callable[[Path, Path], object]


def make(folder: Path) -> None:
    """Write two chests per fault, and plant each fault in one of them."""
    for part in ("scans", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "dataset.yaml").write_text(SPEC)
    names = [*(fault.case for fault in FAULTS), *map(letters, range(len(FAULTS))), "Clean_AH"]
    with worker_pool() as pool:
        list(pool.map(save_chest, range(len(names)), [folder] * len(names), names))
    for fault in FAULTS:
        fault.plant(folder / f"scans/{fault.case}.nii.gz", folder / f"masks/{fault.case}.nii.gz")


def letters(number: int) -> str:
    """Return the name of a clean case without digits, which could be scan numbers."""
    return f"clean_{chr(97 + number // 26)}{chr(97 + number % 26)}"


def save_chest(number: int, folder: Path, name: str) -> None:
    """Save a synthetic chest, every third voxel along rows and columns."""
    synthetic = chest(number, seed=0)
    for part, volume in (("scans", synthetic.scan), ("masks", synthetic.mask)):
        image = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.voxels, volume.grid.affine))
        thin = np.asarray(image.dataobj)[::3, ::3]
        image = nibabel.Nifti1Image(thin, image.affine @ np.diag([3, 3, 1, 1]))
        nibabel.save(image, folder / part / f"{name}.nii.gz")


def changed(
    *paths: Path,
    voxels: Callable[[Voxels], Voxels] = lambda v: v,
    affine: Callable[[Voxels], Voxels] = lambda a: a,
) -> None:
    """Write files again with other voxels or another affine."""
    for path in paths:
        image = nibabel.load(path)
        again = voxels(np.asarray(image.dataobj).copy()), affine(image.affine.copy())
        path.unlink()
        nibabel.save(nibabel.Nifti1Image(*again), path)


def without_forms(*paths: Path) -> None:
    """Remove the affine."""
    for path in paths:
        image = nibabel.load(path)
        bare = nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), None)
        bare.header.set_zooms(image.header.get_zooms())
        bare.set_sform(None, 0)
        bare.set_qform(None, 0)
        path.unlink()
        nibabel.save(bare, path)


def cut(path: Path) -> None:
    """Truncate a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def copied(name: str, *, flip: bool = False) -> Callable[[Path, Path], None]:
    """Return a function that replaces a case by a copy of another, flipped front to back if set."""

    def plant(scan: Path, mask: Path) -> None:
        for path in (scan, mask):
            shutil.copy(path.with_name(f"{name}.nii.gz"), path)
        if flip:
            changed(scan, mask, voxels=lambda v: v[:, ::-1], affine=turned)

    def turned(affine: Voxels) -> Voxels:
        return affine @ np.diag([1.0, -1, 1, 1])

    return plant


def to_bytes(voxels: Voxels) -> Voxels:
    """Convert HU to 8 bits."""
    return np.clip((voxels + 1250) * (255 / 1500), 0, 255).astype(np.uint8)


def sheared(affine: Voxels) -> Voxels:
    """Shear the affine, as a tilted gantry does."""
    return affine @ np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def scaled(factor: float) -> Callable[[Voxels], Voxels]:
    """Return a function that scales the voxels."""
    return lambda affine: affine @ np.diag([factor, factor, factor, 1])


def noisy(voxels: Voxels) -> Voxels:
    """Shuffle the voxels."""
    return np.random.default_rng(0).permuted(voxels.ravel()).reshape(voxels.shape)


def emptied(voxels: Voxels) -> Voxels:
    """Empty the first slices."""
    return np.where(np.arange(voxels.shape[2]) < 6, -1024, voxels).astype(voxels.dtype)


def with_label(voxels: Voxels) -> Voxels:
    """Add a label of no region."""
    voxels[0, 0, 0] = 7
    return voxels


FAULTS = (
    Fault("truncated", "file-unreadable", lambda scan, _: cut(scan)),
    Fault("mask-truncated", "file-unreadable", lambda _, mask: cut(mask)),
    Fault("mask-missing", "case-files", lambda _, mask: mask.unlink()),
    Fault("other-shape", "mask-geometry", lambda _, m: changed(m, voxels=lambda v: v[:-1])),
    Fault("shifted", "mask-geometry", lambda _, m: changed(m, affine=lambda a: a + np.eye(4, k=3))),
    Fault("unoriented", "no-orientation", without_forms),
    Fault(
        "upside-down",
        "orientation-implausible",
        lambda *both: changed(*both, voxels=lambda v: v[:, :, ::-1]),
    ),
    Fault("tilted", "sheared", lambda *both: changed(*both, affine=sheared)),
    Fault("in-metres", "spacing-unit", lambda *both: changed(*both, affine=scaled(0.001))),
    Fault(
        "spacing-one", "spacing-made-up", lambda *both: changed(*both, affine=lambda _: np.eye(4))
    ),
    Fault("few", "few-planes", lambda *both: changed(*both, voxels=lambda v: v[:, :, 20:25])),
    Fault("exported", "intensity-domain", lambda scan, _: changed(scan, voxels=to_bytes)),
    Fault("offset", "intensity-domain", lambda scan, _: changed(scan, voxels=lambda v: v + 1024)),
    Fault("constant", "scan-constant", lambda s, _: changed(s, voxels=lambda v: v * 0 - 1000)),
    Fault("planes-empty", "scan-empty", lambda scan, _: changed(scan, voxels=emptied)),
    Fault("noise", "intensity-unknown", lambda scan, _: changed(scan, voxels=noisy)),
    Fault("unnamed-label", "labels-unnamed", lambda _, mask: changed(mask, voxels=with_label)),
    Fault("half-labels", "labels-unusable", lambda _, m: changed(m, voxels=lambda v: v * 0.5)),
    Fault("no-lung", "region-empty", lambda _, mask: changed(mask, voxels=lambda v: v * 0)),
    Fault("cut-off", "lungs-cut-off", lambda *both: changed(*both, voxels=lambda v: v[:, :, :25])),
    Fault("tiny", "lungs-volume", lambda *both: changed(*both, affine=scaled(0.5))),
    Fault(
        "of-another", "lungs-not-dark", lambda _, m: changed(m, voxels=lambda v: np.roll(v, 14, 0))
    ),
    Fault("mirrored", "mask-mirrored", lambda _, mask: changed(mask, voxels=lambda v: v[::-1])),
    Fault("copy", "scan-duplicate", copied("clean_ad")),
    Fault("flipped-copy", "scan-duplicate", copied("clean_af", flip=True)),
)
DATASET_FINDINGS = ("intensity-mixture", "patient-twice", "region-unused")

if __name__ == "__main__":
    main()
