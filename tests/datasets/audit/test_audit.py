"""One planted problem at a time in a clean dataset: it is found, and no other."""

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
from thorax.datasets.audit.audit import Audit, audit_dataset, audit_json, read_facts, save_audit
from thorax.datasets.dataset import load_spec

FindFindings = Callable[..., list[tuple[str, str, str]]]
Voxels = NDArray[Any]
Edit = Callable[[Voxels], Voxels]


def edit(*paths: Path, voxels: Edit = lambda v: v, affine: Edit = lambda a: a) -> None:
    for path in paths:
        image = nibabel.load(path)
        edited = voxels(np.array(image.dataobj)), affine(image.affine.copy())
        path.unlink()
        nibabel.save(nibabel.Nifti1Image(*edited), path)


def edit_header(path: Path, **fields: Any) -> None:
    """Write fields into the bytes of a header, without the checks of a library."""
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])


def both(folder: Path, name: str = "ann") -> tuple[Path, Path]:
    return folder / f"scans/{name}.nii", folder / f"masks/{name}.nii"


def scaled(factor: float) -> Edit:
    return lambda affine: affine @ np.diag([factor, factor, factor, 1])


def write_spec(folder: Path, text: str) -> None:
    (folder / "dataset.yaml").write_text(text)


def to_bytes(voxels: Voxels) -> Voxels:
    return np.clip((voxels + 1250) * (255 / 1500), 0, 255).astype(np.uint8)


def test_a_clean_dataset_has_no_findings(clean_audit: Audit) -> None:
    assert clean_audit.findings == ()
    assert [facts.case for facts in clean_audit.facts] == ["ann", "bob"]


def test_a_truncated_file_is_unreadable(folder: Path, findings_of: FindFindings) -> None:
    for part, kept in (("scans", 3000), ("masks", 200)):
        path = folder / part / "ann.nii"
        path.write_bytes(path.read_bytes()[:kept])
        assert (
            findings_of(folder).count(("error", "file-unreadable", "ann")) == (part == "masks") + 1
        )


def test_a_truncated_compressed_file_is_unreadable(folder: Path, findings_of: FindFindings) -> None:
    path = folder / "scans/ann.nii"
    packed = gzip.compress(path.read_bytes(), 1)
    path.unlink()
    (folder / "scans/ann.nii.gz").write_bytes(packed[:-1000])
    assert findings_of(folder) == [("error", "file-unreadable", "ann")]


def test_an_empty_file_is_unreadable(folder: Path, findings_of: FindFindings) -> None:
    (folder / "masks/bob.nii").write_bytes(b"")
    assert findings_of(folder) == [("error", "file-unreadable", "bob")]


def test_a_broken_link_is_unreadable(folder: Path, findings_of: FindFindings) -> None:
    (folder / "scans/bob.nii").unlink()
    (folder / "scans/bob.nii").symlink_to(folder / "gone.nii")
    assert findings_of(folder) == [("error", "file-unreadable", "bob")]


def test_undefined_voxels_are_reported(folder: Path, findings_of: FindFindings) -> None:
    def planted(voxels: Voxels) -> Voxels:
        return np.where(np.indices(voxels.shape).sum(axis=0) == 20, np.nan, voxels)

    edit(folder / "scans/ann.nii", voxels=planted)
    assert findings_of(folder) == [("error", "file-unreadable", "ann")]


def test_a_missing_scan_or_mask_is_reported_with_its_case(
    folder: Path, findings_of: FindFindings
) -> None:
    (folder / "masks/ann.nii").unlink()
    (folder / "scans/bob.nii").unlink()
    assert findings_of(folder) == [("error", "case-files", "ann"), ("error", "case-files", "bob")]


def test_two_files_of_one_name_are_reported(folder: Path, findings_of: FindFindings) -> None:
    (folder / "scans/ann.nii.gz").write_bytes(b"")
    assert findings_of(folder) == [("error", "case-files", "ann")]


def test_files_of_other_formats_are_reported(folder: Path, findings_of: FindFindings) -> None:
    (folder / "scans/cem.nrrd").write_bytes(b"")
    (folder / "scans/.gitignore").write_text("")
    assert findings_of(folder) == [("warning", "file-passed-over", "")]


def test_a_name_that_no_pattern_matches_is_reported(
    folder: Path, findings_of: FindFindings
) -> None:
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3]}\npatient: '(b.+)'\n")
    assert findings_of(folder) == [("error", "case-name", "ann")]


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
    ids=["one plane less", "another position", "mirrored"],
)
def test_a_mask_on_another_grid_is_reported(
    folder: Path, findings_of: FindFindings, changes: dict[str, Edit]
) -> None:
    edit(folder / "masks/ann.nii", **changes)
    assert ("error", "mask-geometry", "ann") in findings_of(folder)


def test_the_distance_of_a_shifted_mask_is_reported(folder: Path) -> None:
    edit(folder / "masks/ann.nii", affine=shifted)
    (finding,) = audit_dataset(folder).findings
    assert finding.text == "the mask is at another position than its scan, by 2.5 mm"


def barely_shifted(affine: Voxels) -> Voxels:
    affine[0, 3] += 0.02
    return affine


def test_a_mask_a_small_part_of_a_voxel_away_is_a_note(folder: Path) -> None:
    edit(folder / "masks/ann.nii", affine=barely_shifted)
    (finding,) = audit_dataset(folder).findings
    assert (finding.check, finding.severity, finding.case) == ("mask-geometry", "note", "ann")
    assert finding.text == (
        "the mask is up to 0.02 mm away from its scan, less than a tenth of a voxel"
    )


def test_a_file_without_orientation_is_reported(folder: Path, findings_of: FindFindings) -> None:
    for path in both(folder):
        edit_header(path, sform_code=0, qform_code=0)
    findings = [finding for finding in findings_of(folder) if finding[1] == "no-orientation"]
    assert findings == [("warning", "no-orientation", "ann")]


def test_a_patient_who_is_not_oriented_as_the_header_states_is_reported(folder: Path) -> None:
    edit(*both(folder), voxels=lambda v: v[:, ::-1])
    (finding,) = audit_dataset(folder).findings
    assert (finding.severity, finding.check, finding.case) == (
        "warning",
        "orientation-implausible",
        "ann",
    )
    assert finding.text == "front and back seem to be swapped (the spine is in front)"


def test_a_sheared_grid_is_reported(folder: Path, findings_of: FindFindings) -> None:
    def tilted(affine: Voxels) -> Voxels:
        return affine @ np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

    edit(*both(folder), affine=tilted)
    assert ("warning", "sheared", "ann") in findings_of(folder)
    assert {check for _, check, _ in findings_of(folder)} <= {"sheared", "spacing-declared"}


@pytest.mark.parametrize(("stated", "severity"), [(0.0, "error"), (-2.0, "warning")])
def test_a_spacing_of_zero_or_less_is_reported(
    folder: Path, findings_of: FindFindings, stated: float, severity: str
) -> None:
    scan, mask = both(folder)
    for path in (scan, mask):
        grid = nibabel.load(path).header["pixdim"].copy()
        grid[3] = stated
        codes = {"sform_code": 0, "qform_code": 1} if stated == 0 else {}
        edit_header(path, pixdim=grid, **codes)
    assert (severity, "spacing-declared", "ann") in findings_of(folder)


@pytest.mark.parametrize(
    ("factor", "severity", "unit"),
    [(0.001, "error", "metres"), (1000, "error", "micrometres"), (0.1, "warning", "centimetres")],
)
def test_a_spacing_in_another_unit_is_reported(
    folder: Path, factor: float, severity: str, unit: str
) -> None:
    edit(*both(folder), affine=scaled(factor))
    findings = audit_dataset(folder).findings
    (finding,) = [finding for finding in findings if finding.check == "spacing-unit"]
    assert (finding.severity, finding.case) == (severity, "ann")
    assert finding.text.endswith(f"the unit looks like {unit}")


def test_a_spacing_of_one_is_noted(folder: Path, findings_of: FindFindings) -> None:
    for name in ("ann", "bob"):
        edit(*both(folder, name), affine=lambda _: np.diag([-1.0, -1, 1, 1]))
    notes = [finding for finding in findings_of(folder) if finding[1] == "spacing-made-up"]
    assert notes == [("note", "spacing-made-up", "ann"), ("note", "spacing-made-up", "bob")]


def test_fewer_planes_than_a_slice_stack_are_reported(
    folder: Path, findings_of: FindFindings
) -> None:
    edit(*both(folder), voxels=lambda v: v[:, :, :6])
    few = ("warning", "few-planes", "ann")
    assert few in findings_of(folder, context=3)
    assert few not in findings_of(folder, context=2)
    assert few not in findings_of(folder)


def test_an_8_bit_scan_among_hu_is_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(folder / "scans/ann.nii", voxels=to_bytes)
    assert findings_of(folder) == [
        ("error", "intensity-domain", "ann"),
        ("warning", "intensity-mixture", ""),
    ]


def test_declared_intensities_are_only_noted(folder: Path, findings_of: FindFindings) -> None:
    edit(folder / "scans/ann.nii", voxels=to_bytes)
    write_spec(
        folder,
        "regions: {lung: [1, 2, 3], infection: [3]}\nintensity: {'ann': [-1250, 250], '*': hu}\n",
    )
    assert findings_of(folder) == [("note", "intensity-mixture", "")]


def test_the_advice_for_hu_with_an_offset_is_the_entry_to_write(folder: Path) -> None:
    edit(folder / "scans/ann.nii", voxels=lambda v: np.clip(v, -1024, None) + 1024)
    errors = audit_dataset(folder).errors
    assert [error.advice for error in errors] == [
        "set `intensity` to 'hu+1024' in dataset.yaml, for a pattern of names if others differ"
    ]


def test_a_constant_scan_is_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(folder / "scans/ann.nii", voxels=lambda v: np.full_like(v, -1000))
    assert ("error", "scan-constant", "ann") in findings_of(folder)


def test_a_scan_with_empty_planes_is_reported(folder: Path, findings_of: FindFindings) -> None:
    def emptied(voxels: Voxels) -> Voxels:
        voxels[:, :, :6] = -1024
        return voxels

    edit(folder / "scans/ann.nii", voxels=emptied)
    assert findings_of(folder) == [("warning", "scan-empty", "ann")]


def test_noise_is_not_a_scan(folder: Path, findings_of: FindFindings) -> None:
    rng = np.random.default_rng(0)
    edit(folder / "scans/ann.nii", voxels=lambda v: rng.permuted(v.ravel()).reshape(v.shape))
    assert findings_of(folder) == [
        ("warning", "intensity-unknown", "ann"),
        ("warning", "lungs-not-dark", "ann"),
    ]


def test_a_label_outside_all_regions_is_reported(folder: Path, findings_of: FindFindings) -> None:
    def labelled(voxels: Voxels) -> Voxels:
        voxels[0, 0, 0] = 7
        return voxels

    edit(folder / "masks/ann.nii", voxels=labelled)
    assert findings_of(folder) == [("error", "labels-unnamed", "ann")]


def test_fractional_labels_are_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(folder / "masks/ann.nii", voxels=lambda v: v * np.float32(0.5))
    assert findings_of(folder) == [("error", "labels-unusable", "ann")]


def test_an_empty_region_is_noted_and_empty_lungs_are_a_warning(
    folder: Path, findings_of: FindFindings
) -> None:
    edit(folder / "masks/ann.nii", voxels=lambda v: np.where(v == 3, 1, v))
    assert findings_of(folder) == [("note", "region-empty", "ann")]
    edit(folder / "masks/ann.nii", voxels=np.zeros_like)
    assert findings_of(folder) == [
        ("warning", "region-empty", "ann"),
        ("note", "region-empty", "ann"),
    ]


def test_a_region_absent_from_all_cases_is_reported(
    folder: Path, findings_of: FindFindings
) -> None:
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3], nodule: [9]}\n")
    assert findings_of(folder) == [("warning", "region-unused", "")]


def test_truncated_lungs_are_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(*both(folder), voxels=lambda v: v[:, :, :25])
    assert findings_of(folder) == [("warning", "lungs-cut-off", "ann")]


def test_lungs_too_small_for_an_adult_are_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(*both(folder), affine=scaled(0.5))
    assert findings_of(folder) == [("warning", "lungs-volume", "ann")]


def test_the_mask_of_another_patient_is_reported(folder: Path, findings_of: FindFindings) -> None:
    edit(folder / "masks/ann.nii", voxels=lambda v: np.roll(v, (12, 9), axis=(0, 2)))
    assert ("warning", "lungs-not-dark", "ann") in findings_of(folder)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_mask_is_reported(folder: Path, findings_of: FindFindings, axis: int) -> None:
    edit(folder / "masks/ann.nii", voxels=lambda v: np.flip(v, axis))
    assert findings_of(folder) == [("error", "mask-mirrored", "ann")]


def test_swapped_names_of_the_lungs_are_reported(folder: Path, findings_of: FindFindings) -> None:
    spec = "regions: {left_lung: [1], right_lung: [2], infection: [3]}\n"
    write_spec(folder, spec)
    assert [finding for finding in findings_of(folder) if finding[0] == "error"] == []
    write_spec(folder, spec.replace("left", "new").replace("right", "left").replace("new", "right"))
    assert [finding for finding in findings_of(folder) if finding[0] == "error"] == [
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
def test_a_copy_under_another_name_is_reported(
    folder: Path, findings_of: FindFindings, plant: Edit
) -> None:
    for part in ("scans", "masks"):
        shutil.copy(folder / part / "ann.nii", folder / part / "cem.nii")
    edit(folder / "scans/cem.nii", voxels=plant)
    assert ("warning", "scan-duplicate", "cem") in findings_of(folder)


def test_the_same_file_under_two_patients_is_an_error(
    folder: Path, findings_of: FindFindings
) -> None:
    for part in ("scans", "masks"):
        shutil.copy(folder / part / "ann.nii", folder / part / "ann-2.nii")
    assert findings_of(folder) == [("error", "scan-duplicate", "ann-2")]
    write_spec(folder, "regions: {lung: [1, 2, 3], infection: [3]}\npatient: '([a-z]+)'\n")
    assert findings_of(folder) == [("warning", "scan-duplicate", "ann-2")]


@pytest.mark.parametrize("sides", ["{left: [1], right: [7]}", "{left: [1], right: [1]}"])
def test_sides_that_no_stage_can_use_are_refused(folder: Path, sides: str) -> None:
    write_spec(folder, f"regions: {{lung: [1, 2, 3], infection: [3]}}\nsides: {sides}\n")
    with pytest.raises(InputError, match=r"^`sides` must name label values of regions, each on"):
        audit_dataset(folder)


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


def test_json_is_reproducible_and_contains_no_path(
    folder: Path, clean_dataset: Path, clean_audit: Audit
) -> None:
    spec = load_spec(folder / "dataset.yaml")
    text = audit_json(clean_audit, spec)
    assert audit_json(audit_dataset(folder, workers=2), spec) == text
    assert str(clean_dataset) not in text
    content = json.loads(text)
    assert content["format_version"] == 3
    assert [facts["case"] for facts in content["facts"]] == ["ann", "bob"]


def test_facts_are_read_again_unless_the_lung_labels_or_the_format_differ(
    folder: Path, tmp_path: Path, clean_audit: Audit
) -> None:
    spec = load_spec(folder / "dataset.yaml")
    save_audit(tmp_path, clean_audit, spec)
    assert tuple(read_facts(tmp_path, spec).values()) == clean_audit.facts
    write_spec(folder, "regions: {lung: [1, 2]}\n")
    assert read_facts(tmp_path, load_spec(folder / "dataset.yaml")) == {}
    path = tmp_path / "audit.json"
    current = path.read_text()
    for text in (
        "[1]",
        current.replace('"format_version": 3', '"form": 1'),
        current.replace('"format_version": 3', '"format_version": 1'),
    ):
        assert text != current
        path.write_text(text)
        assert read_facts(tmp_path, spec) == {}


def test_a_changed_file_is_measured_again(folder: Path, clean_audit: Audit) -> None:
    edit(folder / "masks/ann.nii", voxels=np.zeros_like)
    cached = {facts.case: facts for facts in clean_audit.facts}
    ann, bob = audit_dataset(folder, cached=cached).facts
    assert ann.labels is not None
    assert ann.labels.voxels == {}
    assert bob is cached["bob"]
