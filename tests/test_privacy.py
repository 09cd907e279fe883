"""What headers hold of a patient is planted everywhere, and looked for in all that is written.

A DICOM segmentation is the one exception: the standard has it repeat the patient and the study of
its series (PS3.3, A.51), and who asks for ``.dcm`` asks for that. Names of files are the user's
own, become the names of cases, and stay.
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
    """Return a synthetic chest in HU and its affine."""
    made = chest(0, seed=0).scan
    return made.voxels.astype(np.int16), made.grid.affine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that takes what lies below -500 HU for lung."""
    return save_dark_model(tmp_path_factory.mktemp("model"))


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")
    assert done.exit_code == 0, done.output
    return done.output


def test_the_search_finds_what_was_planted(tmp_path: Path, patient: Chest) -> None:
    save_nifti(tmp_path / "a.nii.gz", patient)
    save_itk(tmp_path / "b.nrrd", patient)
    (tmp_path / "c.txt").write_bytes("19010203".encode("utf-16-le"))
    found = leaks(tmp_path, "the study of 19991231")
    assert {name for name, _ in found} == {"a.nii.gz", "b.nrrd", "c.txt", "(told)"}


SAVED: dict[str, Callable[[Path, Chest], Path]] = {
    "series": save_dicom,
    "scan.nii.gz": save_nifti,
    "scan.nrrd": save_itk,
    "scan.mha": save_itk,
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_nothing_that_predict_writes_holds_who_it_was(
    tmp_path: Path, patient: Chest, model: Path, suffix: str
) -> None:
    scans, out = tmp_path / "in", tmp_path / "out"
    scans.mkdir()
    for name, save in SAVED.items():
        (scans / name.replace(".", "-")).mkdir()
        save(scans / name.replace(".", "-") / name, patient)
    flags = ("--probabilities", "--statistics", "--preview") if suffix == ".nii.gz" else ()
    told = run("predict", scans, out, "--model", model, "--suffix", suffix, *flags)
    assert (out / "manifest.json").is_file()
    assert len(list(out.rglob(f"*{suffix}"))) >= len(SAVED)
    assert leaks(out, told) == []


def test_series_that_share_a_number_are_told_apart_without_their_identifiers(
    tmp_path: Path, patient: Chest, model: Path
) -> None:
    small = patient[0][:, :, :12], patient[1]
    folder = save_dicom(tmp_path / "series", small)
    for index in range(3):
        other = one_slice(np.zeros((8, 8), np.uint16), (0, 0, 3.0 * index))
        other.SeriesInstanceUID = "1.2.99.77.2.5"
        other.save_as(folder / f"other-{index}.dcm", enforce_file_format=True)
    told = run("view", folder, "--output", tmp_path / "out" / "page.html")
    assert leaks(tmp_path / "out", told) == []


def test_a_page_of_the_viewer_holds_no_header(tmp_path: Path, patient: Chest) -> None:
    scan = save_nifti(tmp_path / "a.nii.gz", patient)
    told = run("view", scan, "--output", tmp_path / "out" / "page.html")
    page = (tmp_path / "out" / "page.html").read_text()
    assert leaks(tmp_path / "out", told + decoded(page)) == []


def test_a_dicom_segmentation_repeats_the_patient_as_it_must(
    tmp_path: Path, patient: Chest, model: Path
) -> None:
    """Nothing else that is written beside it does."""
    scan = save_dicom(tmp_path / "series", patient)
    told = run("predict", scan, tmp_path / "out" / "mask.dcm", "--model", model, "--statistics")
    assert "ZZ-4711" in (tmp_path / "out" / "mask.dcm").read_bytes().decode("latin-1")
    assert {name for name, _ in leaks(tmp_path / "out", told)} == {"mask.dcm"}


def test_records_and_audits_hold_no_header(
    tmp_path: Path,
    patient: Chest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("thorax.preprocessing.prepare.worker_pool", ThreadPoolExecutor)
    study = tmp_path / "study"
    for kind in ("scans", "masks"):
        (study / kind).mkdir(parents=True)
    hu, affine = patient
    save_nifti(study / "scans" / "a.nii.gz", patient)
    save_nifti(study / "masks" / "a.nii.gz", ((hu < -500).astype(np.uint8), affine))
    (study / "dataset.yaml").write_text("regions:\n  lung: [1]\n")
    made = tmp_path / "made"
    prepare(load_dataset(study), made / "records", canvas=32, crop="lungs")
    audit = audit_dataset(study)
    save_audit(made, audit, load_spec(study / "dataset.yaml"))
    write_page(made / "audit.html", audit, study)
    assert sorted(path.name for path in made.rglob("*.*")) == [
        "a.tfrecord",
        "audit.html",
        "audit.json",
        "index.json",
    ]
    page = (made / "audit.html").read_text()
    assert leaks(made, "".join(capsys.readouterr()) + decoded(page)) == []
