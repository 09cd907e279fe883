"""One dataset with a planted fault of every kind: is each found, and none made up elsewhere?

    python tests/benchmarks/audit.py [--keep FOLDER]

Each fault has a synthetic chest of its own; one more chest than that are left as they are, two of
which have nearly one name.
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
    """Print a row a fault; exit with 1 if one was missed or made up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="where to leave the dataset, for a look")
    kept = parser.parse_args().keep
    with TemporaryDirectory() as temporary:
        folder = kept or Path(temporary) / "planted"
        make(folder)
        findings = audit_dataset(folder, context=CONTEXT).findings
    missed = sum([tell(fault, findings) for fault in FAULTS])
    missed += sum([tell_whole(check, findings) for check in WHOLE])
    named = {fault.case for fault in FAULTS}
    made_up = [
        one
        for one in findings
        if one.case and one.case not in named and one.check != "region-empty"
    ]
    say(f"{len(FAULTS) + len(WHOLE)} faults, {missed} missed")
    say(f"{len(FAULTS) + 1} clean cases, findings that are not true: {made_up or 'none'}")
    sys.exit(bool(missed or made_up))


def tell(fault: "Fault", findings: tuple[Finding, ...]) -> bool:
    """Print what was found in one case; return whether its fault was missed."""
    checks = {one.check: one.severity for one in findings if one.case == fault.case}
    severity = checks.pop(fault.check, "MISSED")
    say(f"{fault.case:<20} {fault.check:<20} {severity:<8} {', '.join(checks)}")
    return severity == "MISSED"


def tell_whole(check: str, findings: tuple[Finding, ...]) -> bool:
    """Print whether something was found of the dataset as a whole; return whether it was missed."""
    severities = [one.severity for one in findings if one.check == check]
    say(f"{'(the dataset)':<20} {check:<20} {severities[0] if severities else 'MISSED'}")
    return not severities


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        case: Name of the case that it is planted in.
        check: By what it is to be found.
        plant: Changes the files of the scan and of the mask.
    """

    case: str
    check: str
    plant: Callable[[Path, Path], object]


def make(folder: Path) -> None:
    """Make two chests a fault, and plant each fault in one of them."""
    for part in ("scans", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "dataset.yaml").write_text(SPEC)
    names = [*(fault.case for fault in FAULTS), *map(letters, range(len(FAULTS))), "Clean_AH"]
    with worker_pool() as pool:
        list(pool.map(save_chest, range(len(names)), [folder] * len(names), names))
    for fault in FAULTS:
        fault.plant(folder / f"scans/{fault.case}.nii.gz", folder / f"masks/{fault.case}.nii.gz")


def letters(number: int) -> str:
    """A name of a clean case that no pattern takes for the number of a scan."""
    return f"clean_{chr(97 + number // 26)}{chr(97 + number % 26)}"


def save_chest(number: int, folder: Path, name: str) -> None:
    """Save a synthetic chest, every third voxel of each plane."""
    made = chest(number, seed=0)
    for part, volume in (("scans", made.scan), ("masks", made.mask)):
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
    """Take away what says where voxels lie."""
    for path in paths:
        image = nibabel.load(path)
        bare = nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), None)
        bare.header.set_zooms(image.header.get_zooms())
        bare.set_sform(None, 0)
        bare.set_qform(None, 0)
        path.unlink()
        nibabel.save(bare, path)


def cut(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def copied(name: str, *, flip: bool = False) -> Callable[[Path, Path], None]:
    """Put another case in the place of this one, mirrored front to back if asked."""

    def plant(scan: Path, mask: Path) -> None:
        for path in (scan, mask):
            shutil.copy(path.with_name(f"{name}.nii.gz"), path)
        if flip:
            changed(scan, mask, voxels=lambda v: v[:, ::-1], affine=turned)

    def turned(affine: Voxels) -> Voxels:
        return affine @ np.diag([1.0, -1, 1, 1])

    return plant


def to_bytes(voxels: Voxels) -> Voxels:
    """Export in 8 bits."""
    return np.clip((voxels + 1250) * (255 / 1500), 0, 255).astype(np.uint8)


def sheared(affine: Voxels) -> Voxels:
    """A tilted gantry."""
    return affine @ np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def scaled(factor: float) -> Callable[[Voxels], Voxels]:
    """Larger or smaller voxels."""
    return lambda affine: affine @ np.diag([factor, factor, factor, 1])


def noisy(voxels: Voxels) -> Voxels:
    """All voxels in another order."""
    return np.random.default_rng(0).permuted(voxels.ravel()).reshape(voxels.shape)


def emptied(voxels: Voxels) -> Voxels:
    """Nothing in the first planes."""
    return np.where(np.arange(voxels.shape[2]) < 6, -1024, voxels).astype(voxels.dtype)


def with_label(voxels: Voxels) -> Voxels:
    """A label that no region names."""
    voxels[0, 0, 0] = 7
    return voxels


FAULTS = (
    Fault("truncated", "file-unreadable", lambda scan, _: cut(scan)),
    Fault("mask-truncated", "file-unreadable", lambda _, mask: cut(mask)),
    Fault("mask-missing", "case-files", lambda _, mask: mask.unlink()),
    Fault("other-shape", "mask-geometry", lambda _, m: changed(m, voxels=lambda v: v[:-1])),
    Fault("shifted", "mask-geometry", lambda _, m: changed(m, affine=lambda a: a + np.eye(4, k=3))),
    Fault("unoriented", "no-orientation", without_forms),
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
WHOLE = ("intensity-mixture", "patient-twice", "region-unused")

if __name__ == "__main__":
    main()
