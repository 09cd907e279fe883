"""Planted problems are corrected in a copy; HU and mask positions stay the same."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.datasets.audit.audit import audit_dataset
from thorax.datasets.dataset import load_spec
from thorax.datasets.repair.corrections import Step
from thorax.datasets.repair.fix import Correction, fix_dataset
from thorax.imaging.intensity import IntensityScale
from thorax.io import Scan

SHAPE = (64, 56, 24)
# Axes to the patient's left and back, as in most CT files.
AFFINE = np.array([[-6, 0, 0, 190.0], [0, -6, 0, 150.0], [0, 0, 10, -120.0], [0, 0, 0, 1]])
SPEC = "regions:\n  lung: [1, 2]\n  disease: [2]\ntitle: as it was  # a comment\n"
METRES = np.diag([0.001, 0.001, 0.001, 1.0])


def _ball(x: float, y: float, z: float, *radii: float) -> NDArray[np.bool_]:
    steps = np.indices(SHAPE)
    offsets = [
        (axis - centre) / radius
        for axis, centre, radius in zip(steps, (x, y, z), radii, strict=True)
    ]
    return sum(offset**2 for offset in offsets) <= 1.0


def lungs() -> NDArray[np.uint8]:
    """Two lungs of different size at different heights, so that no mirror image fits."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[_ball(20, 26, 13, 10, 14, 9)] = 1
    labels[_ball(44, 24, 10, 8, 11, 7)] = 1
    labels[_ball(18, 30, 10, 3, 3, 3)] = 2
    return labels


def hu() -> NDArray[np.int16]:
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    voxels = np.full(SHAPE, -1000.0)
    voxels[_ball(32, 28, 12, 28, 22, 40)] = 0
    voxels[lungs() > 0] = -850
    return np.rint(np.maximum(voxels + noise, -1024)).astype(np.int16)


@dataclass(frozen=True)
class Planted:
    """The two files of a case."""

    scan: NDArray[Any]
    mask: NDArray[Any]
    scan_affine: NDArray[Any]
    mask_affine: NDArray[Any]
    oriented: tuple[bool, bool] = (True, True)
    unit: str = "mm"


SOUND = Planted(hu(), lungs(), AFFINE, AFFINE)


def save(
    path: Path, voxels: NDArray[Any], affine: NDArray[Any], *, oriented: bool, unit: str
) -> None:
    image = nibabel.Nifti1Image(voxels, affine, dtype=voxels.dtype)
    image.header.set_xyzt_units(unit)
    if not oriented:
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a function that writes a dataset of the given cases and returns its folder."""

    def write(spec: str = SPEC, **cases: Planted) -> Path:
        folder = tmp_path / "chests"
        for name, case in cases.items():
            for part, voxels, affine, oriented in (
                ("scans", case.scan, case.scan_affine, case.oriented[0]),
                ("masks", case.mask, case.mask_affine, case.oriented[1]),
            ):
                path = folder / part / f"{name}.nii.gz"
                save(path, voxels, affine, oriented=oriented, unit=case.unit)
        (folder / "dataset.yaml").write_text(spec)
        return folder

    return write


def fixed(folder: Path) -> tuple[Path, list[str], set[str], set[str]]:
    """Return the copy, its corrections, and the checks with findings before and after."""
    target = folder.with_name("fixed")
    before = audit_dataset(folder, workers=1)
    corrections = fix_dataset(folder, target, before)
    after = audit_dataset(target, workers=1)
    checks = [{finding.check for finding in audit.findings} for audit in (before, after)]
    return target, [str(correction) for correction in corrections], checks[0], checks[1]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _reordered(reorder: Callable[[NDArray[Any]], NDArray[Any]], index: NDArray[Any]) -> Planted:
    """The mask on other stored axes, at the same positions.

    Args:
        reorder: Reorders the axes of the voxels.
        index: 4×4 matrix from the new indices to the old.
    """
    return replace(SOUND, mask=reorder(lungs()), mask_affine=AFFINE @ index)


def _with(voxels: NDArray[Any], where: Any, value: float) -> NDArray[Any]:
    planted = voxels.copy()
    planted[where] = value
    return planted


FLIPPED = np.array([[-1, 0, 0, 63], [0, 1, 0, 0], [0, 0, -1, 23], [0, 0, 0, 1]])
SWAPPED = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
ROUNDED = AFFINE + np.array([[0.01, 0, 0, 0.3], [0, 0, 0, 0], [0, 0, 0, 0.2], [0, 0, 0, 0]])

PROBLEMS: dict[str, tuple[Planted, str, str]] = {
    "offset": (
        replace(SOUND, scan=(hu() + 1024).astype(np.uint16)),
        "a, scan: intensity: HU + 1024 → HU",
        "intensity-domain",
    ),
    "nan": (
        replace(SOUND, scan=_with(hu().astype(np.float32), np.s_[0, 0, :3], np.nan)),
        "a, scan: undefined voxels: 3 NaN or infinite → -1024 HU",
        "file-unreadable",
    ),
    "padding": (
        replace(SOUND, scan=_with(hu(), np.s_[:2], -3024)),
        "a, scan: padding: -3024 HU → -1024 HU",
        "",
    ),
    "metres": (
        replace(SOUND, scan_affine=METRES @ AFFINE, mask_affine=METRES @ AFFINE, unit="meter"),
        "a, scan: spacing in metres: 0.006×0.006×0.01 mm → 6×6×10 mm\n"
        "a, mask: spacing in metres: 0.006×0.006×0.01 mm → 6×6×10 mm",
        "spacing-unit",
    ),
    "metres of the mask": (
        replace(SOUND, mask_affine=METRES @ AFFINE),
        "a, mask: spacing in metres: 0.006×0.006×0.01 mm → 6×6×10 mm",
        "mask-geometry",
    ),
    "float labels": (
        replace(SOUND, mask=lungs().astype(np.float32)),
        "a, mask: type: float32 → uint8",
        "",
    ),
    "rounded": (
        replace(SOUND, mask_affine=ROUNDED),
        "a, mask: affine: up to 0.93 mm off → that of the scan",
        "mask-geometry",
    ),
    "identity": (
        replace(SOUND, mask_affine=np.eye(4)),
        "a, mask: affine: identity → that of the scan",
        "mask-geometry",
    ),
    "no codes": (
        replace(SOUND, oriented=(True, False)),
        "a, mask: affine: none → that of the scan",
        "no-orientation",
    ),
    "mirrored axes": (
        _reordered(lambda mask: mask[::-1, :, ::-1], FLIPPED),
        "a, mask: order of the axes: RPI → LPS",
        "",
    ),
    "swapped axes": (
        _reordered(lambda mask: mask.transpose(1, 2, 0), SWAPPED),
        "a, mask: order of the axes: PSL → LPS",
        "",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_corrected_and_the_audit_no_longer_reports_it(
    plant: Plant, problem: str
) -> None:
    planted, lines, check = PROBLEMS[problem]
    target, corrections, before, after = fixed(plant(a=planted))
    assert corrections == lines.split("\n")
    if check:
        assert check in before
    assert check not in after
    assert after <= before

    scan, mask = (Scan(target / part / "a.nii.gz") for part in ("scans", "masks"))
    expected = hu()[::-1, ::-1].copy()
    if problem == "nan":
        expected[-1, -1, :3] = -1024
    if problem == "padding":
        expected[-2:] = -1024
    np.testing.assert_array_equal(scan.voxels(), expected)
    np.testing.assert_array_equal(mask.voxels(), lungs()[::-1, ::-1])
    assert scan.image.dtype == np.int16
    assert mask.image.dtype == np.uint8
    for file in (scan, mask):
        np.testing.assert_allclose(file.stored_affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_files_of_64_bit_integers_are_corrected(plant: Plant, dtype: type) -> None:
    """Masks of NumPy's default type: NIfTI has it, but our files are to be read everywhere."""
    scan = hu().astype(np.int64)
    folder = plant(
        a=replace(SOUND, mask=lungs().astype(dtype), mask_affine=np.eye(4)),
        b=replace(SOUND, scan=scan, scan_affine=METRES @ AFFINE, mask_affine=METRES @ AFFINE),
    )
    target, corrections, _, after = fixed(folder)
    assert len(corrections) == 3
    assert not after & {"mask-geometry", "spacing-unit"}
    mask, scan_copy = Scan(target / "masks" / "a.nii.gz"), Scan(target / "scans" / "b.nii.gz")
    np.testing.assert_array_equal(mask.voxels(), lungs()[::-1, ::-1])
    np.testing.assert_array_equal(scan_copy.voxels(), hu()[::-1, ::-1])
    assert mask.image.dtype == scan_copy.image.dtype == np.int32


def test_several_problems_of_a_case_are_corrected_at_once(plant: Plant) -> None:
    scan = (_with(hu().astype(np.float64), np.s_[0, 0, :3], np.inf) + 1000)[..., None]
    folder = plant(
        a=replace(
            SOUND, scan=scan, scan_affine=METRES @ AFFINE, mask_affine=np.eye(4), mask=lungs() * 1.0
        )
    )
    target, corrections, _, after = fixed(folder)
    assert len(corrections) == 5
    assert "file-unreadable" not in after
    assert "mask-geometry" not in after
    expected = _with(hu(), np.s_[0, 0, :3], -1024)[::-1, ::-1]
    np.testing.assert_array_equal(Scan(target / "scans" / "a.nii.gz").voxels(), expected)


def test_files_without_corrections_are_copied_byte_for_byte(plant: Plant) -> None:
    folder = plant(a=SOUND, b=replace(SOUND, mask=lungs().astype(np.float32)))
    (folder / "scans" / ".gitignore").write_text("*")
    before = bytes_of(folder)
    target, corrections, _, _ = fixed(folder)
    after = bytes_of(target)
    assert bytes_of(folder) == before
    assert [line.partition(",")[0] for line in corrections] == ["b"]
    assert set(before) - set(after) == {"scans/.gitignore"}
    assert {name for name in after if after[name] != before[name]} == {"masks/b.nii.gz"}


def test_links_become_files(plant: Plant, tmp_path: Path) -> None:
    folder = plant(a=SOUND)
    scan = folder / "scans" / "a.nii.gz"
    elsewhere = scan.rename(tmp_path / "kept.nii.gz")
    scan.symlink_to(elsewhere)
    target, _, _, _ = fixed(folder)
    copied = target / "scans" / "a.nii.gz"
    assert not copied.is_symlink()
    assert copied.read_bytes() == elsewhere.read_bytes()


def eight_bits() -> NDArray[np.uint8]:
    return np.clip(np.rint((hu() + 1250.0) * 255 / 1500), 0, 255).astype(np.uint8)


def test_an_8_bit_export_keeps_its_values_and_changes_the_yaml(plant: Plant) -> None:
    folder = plant(a=SOUND, **{"b[1]": replace(SOUND, scan=eight_bits())})
    scan = (folder / "scans" / "b[1].nii.gz").read_bytes()
    target, corrections, before, after = fixed(folder)
    spec = load_spec(target / "dataset.yaml")
    window = spec.intensity_of("b[1]").window_hu
    assert window == pytest.approx((-1250, 250), abs=60)
    assert spec.intensity_of("a") == spec.intensity_of("b1") == IntensityScale()
    assert corrections == [f"b[1], dataset.yaml: intensity: hu → {spec.intensity_of('b[1]')}"]
    assert (target / "scans" / "b[1].nii.gz").read_bytes() == scan
    assert "intensity-domain" in before
    assert "intensity-domain" not in after
    assert spec.title == "as it was"


def test_a_declared_window_takes_precedence_over_a_detected_one(plant: Plant) -> None:
    declared = SPEC + "intensity: [-1250, 250]\n"
    folder = plant(declared, a=replace(SOUND, scan=eight_bits()))
    target, corrections, _, _ = fixed(folder)
    assert corrections == []
    assert (target / "dataset.yaml").read_text() == declared


def test_detected_hu_take_precedence_over_a_declared_window(plant: Plant) -> None:
    target, corrections, before, after = fixed(plant(SPEC + "intensity: [-1250, 250]\n", a=SOUND))
    assert corrections == ["a, dataset.yaml: intensity: -1250,250 → hu"]
    assert load_spec(target / "dataset.yaml").intensity_of("a") == IntensityScale()
    assert "intensity-domain" in before
    assert "intensity-domain" not in after


def test_a_declared_offset_is_kept(plant: Plant) -> None:
    planted = replace(SOUND, scan=_with(hu() + np.int16(1024), np.s_[:2], -2000))
    target, corrections, _, _ = fixed(plant(SPEC + "intensity: hu+1024\n", a=planted))
    assert corrections == ["a, scan: padding: -3024 HU → -1024 HU"]
    voxels = Scan(target / "scans" / "a.nii.gz").voxels()
    assert voxels.min() == 0
    np.testing.assert_array_equal(voxels[:-2], (hu() + 1024)[::-1, ::-1][:-2])


def moved(*shift_mm: float) -> NDArray[Any]:
    affine = AFFINE.copy()
    affine[:3, 3] += shift_mm
    return affine


UNSAFE: dict[str, tuple[Planted, str]] = {
    "another position": (replace(SOUND, mask_affine=moved(25, 0, 0)), "mask-geometry"),
    "half a voxel": (replace(SOUND, mask_affine=moved(3, 3, 5)), "mask-geometry"),
    "another shape": (replace(SOUND, mask=lungs()[:, :, 1:]), "mask-geometry"),
    "identity, but flipped": (
        replace(SOUND, mask=lungs()[:, :, ::-1], mask_affine=np.eye(4)),
        "mask-geometry",
    ),
    "centimetres": (
        replace(SOUND, scan_affine=METRES @ AFFINE * 100, mask_affine=METRES @ AFFINE * 100),
        "spacing-unit",
    ),
    "fractions": (replace(SOUND, mask=lungs() * 0.5), "labels-unusable"),
    "no orientation": (
        replace(SOUND, scan=(hu() + 1024).astype(np.int16), oriented=(False, False)),
        "no-orientation",
    ),
    "noise": (
        replace(SOUND, scan=np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.int16)),
        "intensity-domain",
    ),
}


@pytest.mark.parametrize("problem", UNSAFE)
def test_unsafe_problems_are_left_and_reported(plant: Plant, problem: str) -> None:
    planted, check = UNSAFE[problem]
    folder = plant(a=planted)
    target, corrections, before, after = fixed(folder)
    assert corrections == []
    assert check in before & after
    assert bytes_of(target) == bytes_of(folder)


def test_damaged_and_unpaired_files_are_copied(plant: Plant) -> None:
    folder = plant(a=SOUND, b=SOUND, c=SOUND, d=SOUND)
    scans = folder / "scans"
    (scans / "a.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes()[:5000])
    (scans / "b.nii.gz").unlink()
    (folder / "masks" / "c.nii.gz").write_bytes(b"not an image")
    save(scans / "d.nii", hu() + np.int16(1024), AFFINE, oriented=True, unit="mm")
    target, corrections, before, _ = fixed(folder)
    assert corrections == []
    assert bytes_of(target) == bytes_of(folder)
    assert {"file-unreadable", "case-files"} <= before


def test_the_copy_must_be_new(plant: Plant) -> None:
    folder = plant(a=SOUND)
    audit = audit_dataset(folder, workers=1)
    with pytest.raises(InputError) as refused:
        fix_dataset(folder, folder, audit)
    assert str(refused.value) == (
        f"the corrected copy must be a new folder, but {folder} exists; choose another name, or "
        "remove that folder first"
    )


def test_the_copy_must_be_outside(plant: Plant) -> None:
    folder = plant(a=SOUND)
    audit = audit_dataset(folder, workers=1)
    with pytest.raises(InputError) as refused:
        fix_dataset(folder, folder / "scans" / "fixed", audit)
    assert str(refused.value) == (
        f"the corrected copy must be outside the dataset, but {folder}/scans/fixed is in "
        f"{folder}; choose another folder"
    )
    assert not (folder / "scans" / "fixed").exists()


def test_a_failed_copy_leaves_nothing(plant: Plant, tmp_path: Path) -> None:
    folder = plant(a=SOUND, b=SOUND)
    audit = audit_dataset(folder, workers=1)
    scan = folder / "scans" / "b.nii.gz"
    scan.unlink()
    scan.symlink_to(tmp_path / "gone.nii.gz")
    with pytest.raises(InputError, match="fixed could not be filled and was removed"):
        fix_dataset(folder, tmp_path / "fixed", audit)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chests"]


def test_a_corrected_copy_needs_no_corrections(plant: Plant) -> None:
    cases = {f"case{number}": planted for number, (planted, *_) in enumerate(PROBLEMS.values())}
    folder = plant(**cases)
    first, corrections, _, _ = fixed(folder)
    second = first.with_name("second")
    assert fix_dataset(first, second, audit_dataset(first, workers=1)) == ()
    assert len({line.partition(",")[0] for line in corrections}) == len(PROBLEMS)
    assert bytes_of(second) == bytes_of(first)


def test_a_correction_names_its_case(plant: Plant) -> None:
    folder = plant(a=replace(SOUND, mask=lungs().astype(np.float32)))
    (correction,) = fix_dataset(folder, folder.with_name("fixed"), audit_dataset(folder, workers=1))
    assert correction == Correction("a", "mask", Step("type", "float32", "uint8"))
