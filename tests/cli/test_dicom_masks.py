"""`thorax score` and `thorax data add` with DICOM structure sets and segmentations."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from thorax.cli import main
from thorax.datasets.add import add_dataset
from thorax.datasets.dataset import DatasetSpec, load_dataset
from thorax.io import Scan, write_dicom_masks

from ..structure_sets import HEIGHTS_MM, points_mm, save_ct, save_structure_set

LEFT = [(1.5, 2.5), (3.5, 2.5), (3.5, 6.5), (1.5, 6.5)]
RIGHT = [(6.5, 2.5), (9.5, 2.5), (9.5, 6.5), (6.5, 6.5)]
LESION = [(7.5, 3.5), (8.5, 3.5), (8.5, 5.5), (7.5, 5.5)]

PLANE = np.zeros((10, 12), dtype=np.uint8)
PLANE[3:7, 2:4] = PLANE[3:7, 7:10] = 1
PLANE[4:6, 8] = 3
"""Labels of lung, 20 pixels, and of the lesion in it, 2 pixels."""


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


def save_rtss(path: Path, *, heights_mm: tuple[float, ...] = HEIGHTS_MM) -> Path:
    contours = {"Lung_L": LEFT, "Lung_R": RIGHT, "GTV": LESION}
    return save_structure_set(
        path,
        {
            name: [points_mm(points, height) for height in heights_mm]
            for name, points in contours.items()
        },
    )


def save_labels(path: Path, ct: Path, labels: NDArray[np.uint8]) -> Path:
    """Write labels of shape ``(slices, rows, columns)`` as NIfTI."""
    path.parent.mkdir(exist_ok=True)
    voxels = labels.transpose(2, 1, 0)[::-1, ::-1]
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(voxels), Scan(ct).affine), path)
    return path


REGIONS = ("--region", "lung=Lung_L,Lung_R", "--region", "lesion=gtv")
LABELS = ("--predicted-region", "lung=1,3", "--predicted-region", "lesion=3")


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    return save_ct(tmp_path / "ct")


def test_contours_are_scored_on_the_grid_of_the_other_mask(tmp_path: Path, ct: Path) -> None:
    truth = save_rtss(tmp_path / "truth.dcm")
    labels = np.stack([PLANE] * 4)
    labels[0, 3, 2] = 0
    predicted = save_labels(tmp_path / "predicted.nii.gz", ct, labels)
    result = thorax("score", truth, predicted, *REGIONS, *LABELS, "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores["lung"]["dice"] == pytest.approx(2 * 79 / (80 + 79), abs=1e-6)
    assert scores["lesion"]["dice"] == 1
    assert scores["lesion"]["truth_ml"] == pytest.approx(8 * 0.7 * 0.8 * 2.5 / 1000, abs=1e-6)


def test_two_dicom_masks_are_scored_on_the_series_in_the_same_folder(ct: Path) -> None:
    scan = Scan(ct)
    save_rtss(ct / "truth.dcm")
    masks = np.stack([np.stack([PLANE > 0] * 4), np.stack([PLANE == 3] * 4)])
    masks[1, 0] = False
    canonical = masks.transpose(0, 1, 3, 2)[:, :, ::-1, ::-1]
    write_dicom_masks(ct / "seg.dcm", scan, canonical, ["lung", "lesion"])
    predicted = ("--predicted-region", "lung=lung", "--predicted-region", "lesion=lesion")
    result = thorax("score", ct / "truth.dcm", ct / "seg.dcm", *REGIONS, *predicted, "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert scores["lung"]["dice"] == 1
    assert scores["lesion"]["dice"] == pytest.approx(2 * 6 / (8 + 6), abs=1e-6)


def test_folders_are_scored_on_the_grid_of_their_scans(tmp_path: Path) -> None:
    for case in ("ann", "bob"):
        save_ct(tmp_path / "scans" / case)
        save_rtss(tmp_path / "truth" / f"{case}.dcm")
    save_rtss(tmp_path / "predicted" / "ann.rtss.dcm")
    save_rtss(tmp_path / "predicted" / "bob.dcm", heights_mm=HEIGHTS_MM[:2])
    folders = tmp_path / "truth", tmp_path / "predicted"
    refused = thorax("score", *folders)
    assert refused.exit_code == 1
    assert "contours need the grid of their scan" in refused.stderr
    result = thorax("score", *folders, "--scan", tmp_path / "scans", "--json")
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    # Regions of interest of the same name are scored, unless regions are named.
    assert {case: list(of_case) for case, of_case in scores.items()} == {
        "ann": ["Lung_L", "Lung_R", "GTV"],
        "bob": ["Lung_L", "Lung_R", "GTV"],
    }
    assert scores["ann"]["GTV"]["dice"] == 1
    assert scores["bob"]["Lung_L"]["dice"] == pytest.approx(2 * 16 / (32 + 16), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name their regions in different ways; give --region and --predicted-region"),
        (("--region", "lung=Lung_L"), "must be label values, got lung=Lung_L; name those of each"),
        (("--region", "lung=Lungs", "--predicted-region", "lung=1"), "it has 'Lung_L', 'Lung_R'"),
        (
            ("--region", "lung=", "--predicted-region", "lung=1"),
            "must look like lung=Lung_L,Lung_R",
        ),
        (
            (*REGIONS, "--predicted-region", "lung=1"),
            "must name the regions of --region, lung, les",
        ),
        (
            (*REGIONS, *LABELS, "--lesions", "leison"),
            "--lesions must name one of the regions, lung, lesion, got `leison`",
        ),
    ],
)
def test_regions_that_cannot_be_scored(
    tmp_path: Path, ct: Path, options: tuple[str, ...], message: str
) -> None:
    truth = save_rtss(tmp_path / "truth.dcm")
    predicted = save_labels(tmp_path / "predicted.nii.gz", ct, np.stack([PLANE] * 4))
    result = thorax("score", truth, predicted, *options)
    assert result.exit_code == 1
    assert message in result.stderr


def test_remarks_on_contours_are_printed(tmp_path: Path, ct: Path) -> None:
    truth = save_rtss(tmp_path / "truth.dcm", heights_mm=(*HEIGHTS_MM, 60.0))
    predicted = save_labels(tmp_path / "predicted.nii.gz", ct, np.stack([PLANE] * 4))
    result = thorax("score", truth, predicted, *REGIONS, *LABELS)
    assert "Check: truth.dcm: GTV: 1 contour left out, outside of the slices" in result.stderr


# Datasets

ROIS = {"lung": ("Lung_L", "Lung_R"), "lesion": ("GTV",)}
SPEC = DatasetSpec(regions={"lung": [1], "lesion": [2]}, intensity="hu")


def chest(seed: int) -> NDArray[np.int64]:
    """Return HU with dark lungs, different for each seed, shape ``(slices, rows, columns)``."""
    hu = np.random.default_rng(seed).integers(0, 80, (4, 10, 12))
    hu[:, PLANE > 0] -= 850
    return hu


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Return patients as The Cancer Imaging Archive stores them; one has both files together."""
    source = tmp_path / "LCTSC"
    for seed, name in enumerate(("P-001", "P-002")):
        save_ct(source / name / "study" / "1-ct", hu=chest(seed))
        save_rtss(source / name / "study" / "2-rtss" / "1-1.dcm")
    save_ct(source / "P-003", hu=chest(2))
    save_rtss(source / "P-003" / "rtss.dcm")
    (source / "LICENSE.txt").write_text("CC BY")
    return source


def test_patients_become_cases_in_nifti(patients: Path, tmp_path: Path) -> None:
    added = add_dataset(patients, root=tmp_path, name="lctsc", spec=SPEC, rois=ROIS, track=False)
    assert [case.name for case in added.cases] == ["P-001", "P-002", "P-003"]
    assert dict(added.regions.labels) == {"lung": (1, 3), "lesion": (2, 3)}
    for seed, case in enumerate(added.cases):
        scan, mask = Scan(case.scan), Scan(case.mask)
        stored = [volume.voxels()[::-1, ::-1].transpose(2, 1, 0) for volume in (scan, mask)]
        np.testing.assert_array_equal(stored[0], chest(seed))
        np.testing.assert_array_equal(stored[1], np.stack([PLANE] * 4))
        assert mask.grid.matches(scan.grid)
        assert scan.grid.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    content = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*.*"))
    assert b"DOE" not in content


def test_scans_and_masks_of_the_same_name(tmp_path: Path) -> None:
    for seed, case in enumerate(("ann", "bob")):
        save_ct(tmp_path / "source" / "scans" / case, hu=chest(seed))
        save_rtss(tmp_path / "source" / "masks" / f"{case}.dcm")
    added = add_dataset(
        tmp_path / "source", root=tmp_path, name="ward", spec=SPEC, rois=ROIS, track=False
    )
    assert [case.name for case in added.cases] == ["ann", "bob"]
    assert set(np.unique(Scan(added.cases[0].mask).voxels())) == {0, 1, 3}


def test_the_command_names_regions_of_interest(
    patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setattr("thorax.datasets.add._track", lambda folder, root: None)
    options = ("--name", "lctsc", "--region", "lung=Lung_L,Lung_R", "--intensity", "hu")
    result = thorax("data", "add", patients, *options)
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(Path("data/lctsc/dataset.yaml").read_text())["regions"] == {"lung": [1]}
    assert len(load_dataset(Path("data/lctsc")).cases) == 3


def test_every_problem_is_reported_and_nothing_is_added(patients: Path, tmp_path: Path) -> None:
    save_structure_set(
        patients / "P-001" / "study" / "2-rtss" / "1-1.dcm", {"Lung_L": [points_mm(LEFT, 30.0)]}
    )
    save_rtss(patients / "P-002" / "second.dcm")
    save_ct(patients / "P-004")
    options = ("--name", "lctsc", "--region", "lung=Lung_L,Lung_R")
    (tmp_path / "root" / ".dvc").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "root")
        result = thorax("data", "add", patients, *options)
    assert result.exit_code == 1
    headline, *problems = [line for line in result.stderr.splitlines() if "convert" not in line]
    assert headline.endswith("3 of 4 cases in " + f"{patients} cannot be used; nothing was added:")
    assert "P-001: there is no region of interest 'Lung_R' in" in problems[0]
    assert (
        "P-002: a case must have one scan and one mask, but it has P-002, second.dcm and"
        in (problems[1])
    )
    assert "P-004: a case must have one scan and one mask, but it has P-004; " in problems[2]
    assert list((tmp_path / "root").rglob("*.nii.gz")) == []


def test_names_need_dicom_masks(tmp_path: Path, ct: Path) -> None:
    save_labels(tmp_path / "labels.nii.gz", ct, np.stack([PLANE] * 4))
    for part in ("scans", "masks"):
        (tmp_path / "source" / part).mkdir(parents=True)
        path = tmp_path / "source" / part / "ann.nii.gz"
        path.write_bytes((tmp_path / "labels.nii.gz").read_bytes())
    (tmp_path / ".dvc").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        options = ("--name", "ward", "--region", "lung=Lung_L")
        result = thorax("data", "add", "source", *options)
    assert result.exit_code == 1
    assert "regions of NIfTI masks must be label values, like lung=1,2, got Lung_L" in result.stderr
