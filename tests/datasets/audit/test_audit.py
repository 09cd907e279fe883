"""One planted fault after the other in a clean dataset: that one is found, and no other."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.datasets.audit.audit import Audit, audit_dataset, known_facts, save_audit, to_json
from thorax.datasets.dataset import load_spec

Found = Callable[..., list[tuple[str, str, str]]]
Voxels = NDArray[Any]
Change = Callable[[Voxels], Voxels]


def change(*paths: Path, voxels: Change = lambda v: v, affine: Change = lambda a: a) -> None:
    for path in paths:
        image = nibabel.load(path)
        changed = voxels(np.array(image.dataobj)), affine(image.affine.copy())
        path.unlink()
        nibabel.save(nibabel.Nifti1Image(*changed), path)


def change_header(path: Path, **fields: Any) -> None:
    """Write fields into the bytes of a header, which no library would."""
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])


def both(folder: Path, name: str = "ann") -> tuple[Path, Path]:
    return folder / f"scans/{name}.nii", folder / f"masks/{name}.nii"


def scaled(factor: float) -> Change:
    return lambda affine: affine @ np.diag([factor, factor, factor, 1])


def write_spec(folder: Path, text: str) -> None:
    (folder / "dataset.yaml").write_text(text)


def to_bytes(voxels: Voxels) -> Voxels:
    return np.clip((voxels + 1250) * (255 / 1500), 0, 255).astype(np.uint8)


def test_a_clean_dataset_has_no_fault(clean_audit: Audit) -> None:
    assert clean_audit.findings == ()
    assert [facts.case for facts in clean_audit.facts] == ["ann", "bob"]


def test_a_file_cut_short_is_unreadable(folder: Path, found: Found) -> None:
    for part, kept in (("scans", 3000), ("masks", 200)):
        path = folder / part / "ann.nii"
        path.write_bytes(path.read_bytes()[:kept])
        assert found(folder).count(("error", "file-unreadable", "ann")) == (part == "masks") + 1


def test_a_packed_file_cut_short_is_unreadable(folder: Path, found: Found) -> None:
    path = folder / "scans/ann.nii"
    packed = gzip.compress(path.read_bytes(), 1)
    path.unlink()
    (folder / "scans/ann.nii.gz").write_bytes(packed[:-1000])
    assert found(folder) == [("error", "file-unreadable", "ann")]


def test_what_is_no_picture_is_unreadable(folder: Path, found: Found) -> None:
    (folder / "masks/bob.nii").write_bytes(b"")
    assert found(folder) == [("error", "file-unreadable", "bob")]


def test_a_link_that_leads_nowhere_is_unreadable(folder: Path, found: Found) -> None:
    (folder / "scans/bob.nii").unlink()
    (folder / "scans/bob.nii").symlink_to(folder / "gone.nii")
    assert found(folder) == [("error", "file-unreadable", "bob")]


def test_voxels_without_a_number_are_told_of(folder: Path, found: Found) -> None:
    def planted(voxels: Voxels) -> Voxels:
        return np.where(np.indices(voxels.shape).sum(axis=0) == 20, np.nan, voxels)

    change(folder / "scans/ann.nii", voxels=planted)
    assert found(folder) == [("error", "file-unreadable", "ann")]


def test_a_missing_partner_is_told_of_by_its_case(folder: Path, found: Found) -> None:
    (folder / "masks/ann.nii").unlink()
    (folder / "scans/bob.nii").unlink()
    assert found(folder) == [("error", "case-files", "ann"), ("error", "case-files", "bob")]


def test_two_files_of_one_name_are_told_of(folder: Path, found: Found) -> None:
    (folder / "scans/ann.nii.gz").write_bytes(b"")
    assert found(folder) == [("error", "case-files", "ann")]


def test_files_of_other_formats_are_told_of(folder: Path, found: Found) -> None:
    (folder / "scans/cem.nrrd").write_bytes(b"")
    (folder / "scans/.gitignore").write_text("")
    assert found(folder) == [("warning", "file-passed-over", "")]


def test_a_name_that_no_pattern_reads_is_told_of(folder: Path, found: Found) -> None:
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3]}\npatient: '(b.+)'\n")
    assert found(folder) == [("error", "case-name", "ann")]


def shifted(affine: Voxels) -> Voxels:
    affine[0, 3] += 2.5
    return affine


@pytest.mark.parametrize(
    "changes",
    [
        {"voxels": lambda v: v[:, :, 1:]},
        {"affine": shifted},
        {"affine": lambda a: a @ np.diag([-1, 1, 1, 1])},
    ],
    ids=["a plane less", "another place", "mirrored"],
)
def test_a_mask_on_another_grid_is_told_of(
    folder: Path, found: Found, changes: dict[str, Change]
) -> None:
    change(folder / "masks/ann.nii", **changes)
    assert ("error", "mask-geometry", "ann") in found(folder)


def test_a_shifted_mask_says_how_far(folder: Path) -> None:
    change(folder / "masks/ann.nii", affine=shifted)
    (finding,) = audit_dataset(folder).findings
    assert finding.text == "the mask lies elsewhere in the patient than its scan, by 2.5 mm"


def test_a_file_without_orientation_is_told_of(folder: Path, found: Found) -> None:
    for path in both(folder):
        change_header(path, sform_code=0, qform_code=0)
    assert [each for each in found(folder) if each[1] == "no-orientation"] == [
        ("warning", "no-orientation", "ann")
    ]


def test_a_sheared_grid_is_told_of(folder: Path, found: Found) -> None:
    def tilted(affine: Voxels) -> Voxels:
        return affine @ np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

    change(*both(folder), affine=tilted)
    assert ("warning", "sheared", "ann") in found(folder)
    assert {check for _, check, _ in found(folder)} <= {"sheared", "spacing-declared"}


@pytest.mark.parametrize(("stated", "weight"), [(0.0, "error"), (-2.0, "warning")])
def test_a_spacing_of_zero_or_less_is_told_of(
    folder: Path, found: Found, stated: float, weight: str
) -> None:
    scan, mask = both(folder)
    for path in (scan, mask):
        grid = nibabel.load(path).header["pixdim"].copy()
        grid[3] = stated
        forms = {"sform_code": 0, "qform_code": 1} if stated == 0 else {}
        change_header(path, pixdim=grid, **forms)
    assert (weight, "spacing-declared", "ann") in found(folder)


@pytest.mark.parametrize(
    ("factor", "weight", "unit"),
    [(0.001, "error", "metres"), (1000, "error", "micrometres"), (0.1, "warning", "centimetres")],
)
def test_a_spacing_in_another_unit_is_told_of(
    folder: Path, factor: float, weight: str, unit: str
) -> None:
    change(*both(folder), affine=scaled(factor))
    (finding,) = [each for each in audit_dataset(folder).findings if each.check == "spacing-unit"]
    assert (finding.severity, finding.case) == (weight, "ann")
    assert finding.text.endswith(f"it looks like {unit}")


def test_a_spacing_of_one_is_noted(folder: Path, found: Found) -> None:
    for name in ("ann", "bob"):
        change(*both(folder, name), affine=lambda _: np.diag([-1.0, -1, 1, 1]))
    notes = [each for each in found(folder) if each[1] == "spacing-made-up"]
    assert notes == [("note", "spacing-made-up", "ann"), ("note", "spacing-made-up", "bob")]


def test_fewer_planes_than_the_network_sees_are_told_of(folder: Path, found: Found) -> None:
    change(*both(folder), voxels=lambda v: v[:, :, :6])
    few = ("warning", "few-planes", "ann")
    assert few in found(folder, context=3)
    assert few not in found(folder, context=2)
    assert few not in found(folder)


def test_an_8_bit_scan_among_hu_is_told_of(folder: Path, found: Found) -> None:
    change(folder / "scans/ann.nii", voxels=to_bytes)
    assert found(folder) == [
        ("error", "intensity-domain", "ann"),
        ("warning", "intensity-mixture", ""),
    ]


def test_intensities_that_are_told_are_no_fault(folder: Path, found: Found) -> None:
    change(folder / "scans/ann.nii", voxels=to_bytes)
    write_spec(
        folder,
        "regions: {lung: [1, 2, 3], infection: [3]}\nintensity: {'ann': [-1250, 250], '*': hu}\n",
    )
    assert found(folder) == [("note", "intensity-mixture", "")]


def test_hu_with_an_offset_say_what_to_write(folder: Path) -> None:
    change(folder / "scans/ann.nii", voxels=lambda v: np.clip(v, -1024, None) + 1024)
    errors = audit_dataset(folder).errors
    assert [error.advice for error in errors] == [
        "give it the `intensity` 'hu+1024' in dataset.yaml, by a pattern of names if others differ"
    ]


def test_a_constant_scan_is_told_of(folder: Path, found: Found) -> None:
    change(folder / "scans/ann.nii", voxels=lambda v: np.full_like(v, -1000))
    assert ("error", "scan-constant", "ann") in found(folder)


def test_a_scan_with_empty_planes_is_told_of(folder: Path, found: Found) -> None:
    def emptied(voxels: Voxels) -> Voxels:
        voxels[:, :, :6] = -1024
        return voxels

    change(folder / "scans/ann.nii", voxels=emptied)
    assert found(folder) == [("warning", "scan-empty", "ann")]


def test_noise_is_no_scan(folder: Path, found: Found) -> None:
    rng = np.random.default_rng(0)
    change(folder / "scans/ann.nii", voxels=lambda v: rng.permuted(v.ravel()).reshape(v.shape))
    assert found(folder) == [
        ("warning", "intensity-unknown", "ann"),
        ("warning", "lungs-not-dark", "ann"),
    ]


def test_a_label_that_no_region_names_is_told_of(folder: Path, found: Found) -> None:
    def labelled(voxels: Voxels) -> Voxels:
        voxels[0, 0, 0] = 7
        return voxels

    change(folder / "masks/ann.nii", voxels=labelled)
    assert found(folder) == [("error", "labels-unnamed", "ann")]


def test_values_that_are_no_labels_are_told_of(folder: Path, found: Found) -> None:
    change(folder / "masks/ann.nii", voxels=lambda v: v * np.float32(0.5))
    assert found(folder) == [("error", "labels-unusable", "ann")]


def test_an_empty_region_is_noted_and_empty_lungs_are_a_fault(folder: Path, found: Found) -> None:
    change(folder / "masks/ann.nii", voxels=lambda v: np.where(v == 3, 1, v))
    assert found(folder) == [("note", "region-empty", "ann")]
    change(folder / "masks/ann.nii", voxels=np.zeros_like)
    assert found(folder) == [("warning", "region-empty", "ann"), ("note", "region-empty", "ann")]


def test_a_region_that_no_case_has_is_told_of(folder: Path, found: Found) -> None:
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3], nodule: [9]}\n")
    assert found(folder) == [("warning", "region-unused", "")]


def test_lungs_that_are_cut_off_are_told_of(folder: Path, found: Found) -> None:
    change(*both(folder), voxels=lambda v: v[:, :, :25])
    assert found(folder) == [("warning", "lungs-cut-off", "ann")]


def test_lungs_too_small_for_an_adult_are_told_of(folder: Path, found: Found) -> None:
    change(*both(folder), affine=scaled(0.5))
    assert found(folder) == [("warning", "lungs-volume", "ann")]


def test_the_mask_of_another_patient_is_told_of(folder: Path, found: Found) -> None:
    change(folder / "masks/ann.nii", voxels=lambda v: np.roll(v, (12, 9), axis=(0, 2)))
    assert ("warning", "lungs-not-dark", "ann") in found(folder)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_mask_is_told_of(folder: Path, found: Found, axis: int) -> None:
    change(folder / "masks/ann.nii", voxels=lambda v: np.flip(v, axis))
    assert found(folder) == [("error", "mask-mirrored", "ann")]


def test_swapped_names_of_the_lungs_are_told_of(folder: Path, found: Found) -> None:
    right = "regions: {left_lung: [1], right_lung: [2], infection: [3]}\n"
    write_spec(folder, right)
    assert [each for each in found(folder) if each[0] == "error"] == []
    write_spec(
        folder, right.replace("left", "new").replace("right", "left").replace("new", "right")
    )
    assert [each for each in found(folder) if each[0] == "error"] == [
        ("error", "sides-swapped", "ann"),
        ("error", "sides-swapped", "bob"),
    ]


@pytest.mark.parametrize(
    "plant",
    [
        lambda v: np.flip(v, 0),
        lambda v: np.flip(v, (1, 2)),
        lambda v: (v * 0.5 + 17).astype(np.float32),
        to_bytes,
    ],
    ids=["flipped", "turned", "rescaled", "exported"],
)
def test_a_copy_under_another_name_is_told_of(folder: Path, found: Found, plant: Change) -> None:
    for part in ("scans", "masks"):
        shutil.copy(folder / part / "ann.nii", folder / part / "cem.nii")
    change(folder / "scans/cem.nii", voxels=plant)
    assert ("warning", "scan-duplicate", "cem") in found(folder)


def test_the_same_file_under_two_patients_is_an_error(folder: Path, found: Found) -> None:
    for part in ("scans", "masks"):
        shutil.copy(folder / part / "ann.nii", folder / part / "ann-2.nii")
    assert found(folder) == [("error", "scan-duplicate", "ann-2")]
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3]}\npatient: '([a-z]+)'\n")
    assert found(folder) == [("warning", "scan-duplicate", "ann-2")]


def test_a_dataset_without_a_spec_or_scans_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "scans")
    with pytest.raises(InputError, match=r"^there is no folder .*/study/scans$"):
        audit_dataset(folder)
    (folder / "scans").mkdir()
    with pytest.raises(InputError, match=r"^there is no NIfTI scan in .*/study/scans$"):
        audit_dataset(folder)
    (folder / "dataset.yaml").unlink()
    with pytest.raises(InputError, match=r"^there is no .*/dataset\.yaml"):
        audit_dataset(folder)


def test_json_is_the_same_each_time_and_tells_no_path(
    folder: Path, clean: Path, clean_audit: Audit
) -> None:
    spec = load_spec(folder / "dataset.yaml")
    told = to_json(clean_audit, spec)
    assert to_json(audit_dataset(folder, workers=2), spec) == told
    assert str(clean) not in told
    assert [each["case"] for each in json.loads(told)["facts"]] == ["ann", "bob"]


def test_facts_are_known_again_unless_the_lungs_are_others(
    folder: Path, tmp_path: Path, clean_audit: Audit
) -> None:
    spec = load_spec(folder / "dataset.yaml")
    save_audit(tmp_path, clean_audit, spec)
    assert tuple(known_facts(tmp_path, spec).values()) == clean_audit.facts
    write_spec(folder, "regions: {lung: [1, 2]}\n")
    assert known_facts(tmp_path, load_spec(folder / "dataset.yaml")) == {}
    (tmp_path / "audit.json").write_text("[1]")
    assert known_facts(tmp_path, spec) == {}


def test_facts_of_a_changed_file_are_not_taken_for_its_own(
    folder: Path, clean_audit: Audit
) -> None:
    change(folder / "masks/ann.nii", voxels=np.zeros_like)
    known = {facts.case: facts for facts in clean_audit.facts}
    ann, bob = audit_dataset(folder, known=known).facts
    assert ann.labels is not None
    assert ann.labels.voxels == {}
    assert bob is known["bob"]
