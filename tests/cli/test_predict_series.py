"""`thorax predict` on incomplete DICOM series, and the list of series."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..learning import pointwise
from .test_predict import save_dicom

HU = np.full((16, 16, 12), -1000, np.int16)
HU[4:12, 4:12, 1:10] = 500


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with 250 HU as the threshold of lung."""
    folder = tmp_path_factory.mktemp("models")
    spec = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
    save_trained(folder / "segmenter", pointwise([[80]], [-20], canvas=8), spec)
    export_model(folder / "segmenter", folder / "segmenter.onnx")
    return folder / "segmenter.onnx"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder of a complete series, one that lacks a slice, and one that lacks three."""
    for name, lost in {"whole": (), "one": (4,), "three": (4, 5, 8)}.items():
        folder = tmp_path / "scans" / name
        folder.mkdir(parents=True)
        save_dicom(folder, HU, (2.0, 2.0, 3.0))
        for number in lost:
            (folder / f"4-{number * 7 % 12:03}.dcm").unlink()
    return tmp_path / "scans"


def test_an_incomplete_series_is_marked_for_review(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    options = ("--model", model, "--intensity", "hu", "--statistics")
    result = thorax("predict", scans, tmp_path / "masks", *options)
    assert result.exit_code == 1
    assert "Check: one: 1 of 12 slices are missing: slices are missing between" in result.stderr
    assert "Error: three: a scan must have at least 90 % of its slices, but " in result.stderr
    assert "lacks 3 of 12: slices are missing between 9.0 and 18.0 mm" in result.stderr
    with (tmp_path / "masks" / "manifest.csv").open(newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    assert list(rows)[:2] == ["three", "one"]
    assert rows["one"]["quality_warnings"].startswith("1 of 12 slices are missing")
    assert "slices are missing" not in rows["whole"]["quality_warnings"]
    statistics = json.loads((tmp_path / "masks" / "one.json").read_text())
    assert statistics["quality_warnings"][0].startswith("1 of 12 slices are missing")
    assert not (tmp_path / "masks" / "three.nii.gz").exists()


def test_an_incomplete_series_is_segmented_on_request(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.nii.gz"
    options = ("--model", model, "--intensity", "hu", "--allow-incomplete")
    result = thorax("predict", scans / "three", mask, *options)
    assert result.exit_code == 0
    assert "Check: 3 of 12 slices are missing" in result.stderr
    assert mask.exists()


def test_all_series_are_listed(tmp_path: Path) -> None:
    study = tmp_path / "study"
    save_dicom(study, HU, (2.0, 2.5, 3.0), SeriesDescription="Chest 3.0", ConvolutionKernel="B30f")
    other = {"SeriesInstanceUID": "1.9", "SeriesNumber": 9, "Modality": "MR"}
    save_dicom(study, HU[..., :5], (2.0, 2.5, 3.0), **other)
    result = thorax("predict", study, "--list-series")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "number  description  modality  slices  size   spacing_mm  plane  kernel  status\n"
        "4       Chest 3.0    CT            12  16×16  2×2.5×3     axial  B30f    read\n"
        "9                    MR             5  16×16  2×2.5×3     axial          "
        "is of modality MR\n"
    )


@pytest.mark.parametrize("series", ["9", "1.9"])
def test_the_list_marks_the_series_of_the_option(tmp_path: Path, series: str) -> None:
    study = tmp_path / "study"
    save_dicom(study, HU, (2.0, 2.0, 3.0))
    save_dicom(study, HU[..., :5], (2.0, 2.0, 3.0), SeriesNumber=9, SeriesInstanceUID="1.9")
    result = thorax("predict", study, "--list-series", "--series", series)
    status = [line.split()[-1] for line in result.stdout.splitlines()]
    assert status == ["status", "read", "read"]
    assert "not read" in result.stdout.splitlines()[1]


def test_a_list_of_a_folder_without_dicom_is_an_error(tmp_path: Path) -> None:
    result = thorax("predict", tmp_path, "--list-series")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: there is no DICOM image in {tmp_path}")
