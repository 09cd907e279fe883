"""No output contains patient data that test headers have in every field.

The exceptions are DICOM segmentations and structure sets, which must repeat the patient and the
study of their series (PS3.3, A.51). File names are chosen by the user and become names of cases.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from thorax.cli import main
from thorax.datasets.audit.audit import audit_dataset, save_audit
from thorax.datasets.dataset import load_dataset, load_spec
from thorax.phantom import chest
from thorax.preprocessing.prepare import prepare
from thorax.reporting.audit_page.page import write_page

from .io.conftest import one_slice
from .learning import save_dark_model
from .planted import Chest, decoded, leaks, save_dicom, save_itk, save_nifti


@pytest.fixture(scope="module")
def patient() -> Chest:
    """Return a synthetic chest in HU, every second voxel along each axis, and its affine."""
    scan = chest(0, seed=0).scan
    return scan.voxels[::2, ::2, ::2].astype(np.int16), scan.grid.affine @ np.diag([2, 2, 2, 1.0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose lung is everything below -500 HU."""
    return save_dark_model(tmp_path_factory.mktemp("model"))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")
    assert result.exit_code == 0, result.output
    return result.output


def test_the_search_finds_planted_data(tmp_path: Path, patient: Chest) -> None:
    save_nifti(tmp_path / "a.nii.gz", patient)
    save_itk(tmp_path / "b.nrrd", patient)
    (tmp_path / "c.txt").write_bytes("19010203".encode("utf-16-le"))
    files = {name for name, _ in leaks(tmp_path, "the study of 19991231")}
    assert files == {"a.nii.gz", "b.nrrd", "c.txt", "(printed)"}


SAVED: dict[str, Callable[[Path, Chest], Path]] = {
    "series": save_dicom,
    "scan.nii.gz": save_nifti,
    "scan.nrrd": save_itk,
    "scan.mha": save_itk,
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_predict_writes_no_patient_data(
    tmp_path: Path, patient: Chest, model: Path, suffix: str
) -> None:
    scans, out = tmp_path / "in", tmp_path / "out"
    scans.mkdir()
    for name, save in SAVED.items():
        (scans / name.replace(".", "-")).mkdir()
        save(scans / name.replace(".", "-") / name, patient)
    flags = ("--probabilities", "--statistics") if suffix == ".nii.gz" else ()
    printed = run("predict", scans, out, "--model", model, "--suffix", suffix, *flags)
    assert (out / "manifest.json").is_file()
    assert len(list(out.rglob(f"*{suffix}"))) >= len(SAVED)
    assert leaks(out, printed) == []


def test_a_table_and_a_page_of_a_cohort_have_no_patient_data(
    tmp_path: Path, patient: Chest, model: Path
) -> None:
    scans, out = tmp_path / "in", tmp_path / "out"
    scans.mkdir()
    save_nifti(scans / "a.nii.gz", patient)
    save_itk(scans / "b.nrrd", patient)
    run("predict", scans, tmp_path / "masks", "--model", model, "--statistics")
    files = ("--output", out / "cohort.csv", "--page", out / "cohort.html")
    printed = run("summarize", tmp_path / "masks", *files)
    page = (out / "cohort.html").read_text()
    assert leaks(out, printed + decoded(page)) == []


def test_series_with_the_same_number_are_listed_without_their_identifiers(
    tmp_path: Path, patient: Chest, model: Path
) -> None:
    small = patient[0][:, :, :12], patient[1]
    folder = save_dicom(tmp_path / "series", small)
    for index in range(3):
        other = one_slice(np.zeros((8, 8), np.uint16), (0, 0, 3.0 * index))
        other.SeriesInstanceUID = "1.2.99.77.2.5"
        other.save_as(folder / f"other-{index}.dcm", enforce_file_format=True)
    printed = run("view", folder, "--output", tmp_path / "out" / "page.html")
    assert leaks(tmp_path / "out", printed) == []


def test_a_page_of_the_viewer_has_no_patient_data(tmp_path: Path, patient: Chest) -> None:
    scan = save_nifti(tmp_path / "a.nii.gz", patient)
    printed = run("view", scan, "--output", tmp_path / "out" / "page.html")
    page = (tmp_path / "out" / "page.html").read_text()
    assert leaks(tmp_path / "out", printed + decoded(page)) == []


@pytest.mark.parametrize("name", ["mask.dcm", "mask.rtss.dcm"])
def test_only_a_dicom_segmentation_or_structure_set_repeats_the_patient(
    tmp_path: Path, patient: Chest, model: Path, name: str
) -> None:
    scan, mask = save_dicom(tmp_path / "series", patient), tmp_path / "out" / name
    printed = run("predict", scan, mask, "--model", model, "--statistics", "--preview")
    assert "ZZ-4711" in mask.read_bytes().decode("latin-1")
    names = {path.name for path in mask.parent.iterdir()}
    assert len(names) == 3, names
    assert {file for file, _ in leaks(mask.parent, printed)} == {name}


def test_records_and_audits_have_no_patient_data(
    tmp_path: Path,
    patient: Chest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("thorax.common.parallel.worker_pool", ThreadPoolExecutor)
    study = tmp_path / "study"
    for kind in ("scans", "masks"):
        (study / kind).mkdir(parents=True)
    hu, affine = patient
    save_nifti(study / "scans" / "a.nii.gz", patient)
    save_nifti(study / "masks" / "a.nii.gz", ((hu < -500).astype(np.uint8), affine))
    (study / "dataset.yaml").write_text("regions:\n  lung: [1]\n")
    outputs = tmp_path / "outputs"
    prepare(load_dataset(study), outputs / "records", canvas=32, crop="lungs")
    audit = audit_dataset(study)
    save_audit(outputs, audit, load_spec(study / "dataset.yaml"))
    write_page(outputs / "audit.html", audit, study)
    assert sorted(path.name for path in outputs.rglob("*.*")) == [
        "a.tfrecord",
        "audit.html",
        "audit.json",
        "index.json",
    ]
    page = (outputs / "audit.html").read_text()
    assert leaks(outputs, "".join(capsys.readouterr()) + decoded(page)) == []
