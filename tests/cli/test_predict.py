"""`thorax predict` on folders, `thorax export` and `thorax model`."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.io import Scan
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..io.conftest import one_slice
from ..learning import pointwise

SaveNifti = Callable[..., Path]
SPLIT = {"train": ["a", "b"], "validation": [], "test": ["c"]}
SPEC = ModelSpec(
    8,
    "none",
    0,
    (0, 1000),
    {"lung": (1,)},
    provenance={
        "dataset": "phantom",
        "loss": "focal_dice",
        "augmentation": {"flip": 0.5},
        "network": {"name": "lean"},
        "records_sha256": "0123",
        "split": SPLIT,
    },
)


SCORES = """case,region,dice,certainty
a,lung,0.96,0.90
b,lung,0.86,0.80
c,lung,0.91,0.85
"""


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trained model with 250 HU as the threshold of lung."""
    folder = tmp_path_factory.mktemp("models") / "segmenter"
    save_trained(folder, pointwise([[80]], [-20], canvas=8), SPEC)
    return folder


@pytest.fixture(scope="module")
def model(trained: Path) -> Path:
    export_model(trained, trained.parent / "model.onnx")
    return trained.parent / "model.onnx"


@pytest.fixture
def scans(save_nifti: SaveNifti, tmp_path: Path) -> Path:
    for name in ("a", "deeper/b"):
        voxels = np.full((8, 8, 4), -1000, np.int16)
        voxels[2:6, 2:6] = 500
        save_nifti(f"scans/{name}.nii.gz", voxels)
    return tmp_path / "scans"


def test_a_folder_is_segmented_into_a_folder(scans: Path, model: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    result = thorax("predict", scans, masks, "--model", model, "--intensity", "hu")
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == [
        f"{masks}/a.nii.gz",
        f"{masks}/deeper/b.nii.gz",
    ]
    assert result.stderr.splitlines()[-1] == f"2 done, 0 failed: {masks}/manifest.csv"
    for name in ("a", "deeper/b"):
        scan, mask = (nibabel.load(folder / f"{name}.nii.gz") for folder in (scans, masks))
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(scan.dataobj) == 500)


def test_a_scan_that_fails_sets_the_exit_status_and_does_not_stop_the_others(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    (scans / "broken.nii.gz").write_text("not an image")
    masks = tmp_path / "masks"
    result = thorax("predict", scans, masks, "--model", model, "--intensity", "hu")
    assert result.exit_code == 1
    assert "Error: broken: " in result.stderr
    assert f"2 done, 1 failed: {masks}/manifest.csv" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_a_table_of_scans_and_masks_is_read(scans: Path, model: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("scan,mask\nscans/a.nii.gz,out/first.nii.gz\n")
    result = thorax("predict", pairs, "--model", model, "--intensity", "hu")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/out/first.nii.gz\n")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_prediction_needs_no_deep_learning_framework(
    scans: Path, model: Path, tmp_path: Path, engine: str
) -> None:
    """It also needs no package that uses the network."""
    code = (
        "import sys\nfrom thorax.cli import main\n"
        f"main(['predict', '{scans}/a.nii.gz', '{tmp_path}/m.nii.gz', '--model', '{model}', "
        f"'--engine', '{engine}', '--intensity', 'hu'], standalone_mode=False)\n"
        "unwanted = {'keras', 'tensorflow', 'jax', 'torch', 'dvc', 'matplotlib', 'pandas', "
        "'openvino_telemetry', 'requests'}\n"
        "print(*sorted(name for name in unwanted if sys.modules.get(name)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines() == [f"{tmp_path}/m.nii.gz", ""]


def test_tta_and_an_ensemble_can_be_combined(scans: Path, model: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.nii.gz"
    models = ("--model", model, "--model", model)
    result = thorax(
        "predict",
        scans / "a.nii.gz",
        mask,
        *models,
        "--tta",
        "--no-postprocessing",
        "--intensity",
        "hu",
    )
    assert result.exit_code == 0
    # Shifts move parts of the lung out of a canvas as small as this; these are not compared.
    assert "disagree" not in result.stderr
    scan = np.asarray(nibabel.load(scans / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(np.asarray(nibabel.load(mask).dataobj), scan == 500)


def test_notes_are_printed(save_nifti: SaveNifti, model: Path, tmp_path: Path) -> None:
    scan = np.full((8, 8, 4), -1000.0, np.float32)
    scan[2:6, 2:6], scan[0, 0, 0] = 500, np.nan
    path = save_nifti("nan.nii.gz", scan)
    result = thorax("predict", path, tmp_path / "m.nii", "--model", model, "--intensity", "hu")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Note: NaN or infinite voxels in 1 of 4 planes were read as air",
        "Note: lung: reaches the border of the scan (feet, head); it may be truncated",
    ]


# Models


@pytest.fixture
def scored(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter and return the folder of a project with a trained and scored model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/segmenter").symlink_to(trained)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text('{"lung": {"dice": {"mean": 0.98}}}')
    (tmp_path / "reports/scores.csv").write_text(SCORES)
    return tmp_path


def test_a_model_is_exported_with_the_scores_of_the_project(scored: Path) -> None:
    result = thorax("export", "lungs.onnx", "--licence", "CC BY 4.0")
    assert (result.exit_code, result.stdout) == (0, "lungs.onnx\n")
    assert "0 of 1536 pixels differ" in result.stderr
    output = thorax("model", "show", "lungs.onnx")
    *lines, digest = output.stdout.splitlines()
    assert digest.split() == [
        "SHA-256",
        hashlib.sha256(Path("lungs.onnx").read_bytes()).hexdigest(),
    ]
    assert lines == [
        "model          lungs.onnx",
        "regions        lung (labels 1)",
        "threshold      0.5",
        "input          1 slices of 8×8, 0..1000 HU, not cropped",
        "network        lean",
        "loss           focal_dice",
        "trained on     2 cases of phantom",
        "records        0123",
        "tested on      c",
        "mean Dice      lung 0.9800",
        "expected Dice  lung: certainty +0.060 ± 0.000 (3 held-out cases)",
        "licence        CC BY 4.0",
    ]
    assert json.loads(thorax("model", "show", "lungs.onnx", "--json").stdout)["context"] == 0


@pytest.mark.parametrize(
    ("threshold", "mean", "expected"),
    [
        (0.5, "lung 0.9800", "lung: certainty +0.060 ± 0.000 (3 held-out cases)"),
        (0.3, "not measured", "unknown"),
    ],
)
def test_scores_are_stored_only_for_their_threshold(
    scored: Path, threshold: float, mean: str, expected: str
) -> None:
    thorax("export", "lungs.onnx", "--threshold", threshold)
    output = thorax("model", "show", "lungs.onnx").stdout.splitlines()
    assert f"threshold      {threshold}" in output
    assert f"mean Dice      {mean}" in output
    assert f"expected Dice  {expected}" in output


def test_the_folder_of_a_model_can_be_shown(trained: Path) -> None:
    output = thorax("model", "show", trained).stdout
    assert "mean Dice      not measured" in output
    assert "expected Dice  unknown" in output
    assert "licence        unknown" in output


def test_the_expected_dice_of_a_scan_is_printed(scans: Path, trained: Path, tmp_path: Path) -> None:
    """The certainty is 1 here; with a bias of 0.06 the expected Dice is limited to 1."""
    (tmp_path / "folds.csv").write_text(SCORES)
    model = tmp_path / "m.onnx"
    thorax("export", model, "--trained", trained, "--scores", tmp_path / "folds.csv")
    result = thorax(
        "predict", scans, tmp_path / "out", "--model", model, "--intensity", "hu", "--statistics"
    )
    assert "Expected: a: lung: Dice 1.00 (1.00 to 1.00)\n" in result.stderr
    statistics = json.loads((tmp_path / "out/a.json").read_text())
    assert statistics["expected_dice"] == {"lung": {"dice": 1.0, "low": 1.0, "high": 1.0}}
    header, *_ = (tmp_path / "out/manifest.csv").read_text().splitlines()
    assert "lung_certainty,lung_expected_dice" in header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,region,certainty\na,lung,0.9\n", "has no dice"),
        (
            "case,region,dice,certainty\n" + "a,liver,0.9,0.9\n",
            "must have scores of a region of the model",
        ),
        ("case,region,dice,certainty\n" + "a,lung,95,0.9\n" * 3, "between 0 and 1, got 95"),
        ("case,region,dice,certainty\na,lung,good,0.9\n", "`dice` must be a number"),
    ],
    ids=["no dice", "another region", "percent", "words"],
)
def test_an_invalid_score_table_is_rejected(
    trained: Path, tmp_path: Path, content: str, message: str
) -> None:
    rows = content.splitlines()
    named = [rows[0], *(row.replace("a,", f"{n},", 1) for n, row in enumerate(rows[1:]))]
    (tmp_path / "scores.csv").write_text("\n".join(named) + "\n")
    result = thorax(
        "export", tmp_path / "m.onnx", "--trained", trained, "--scores", tmp_path / "scores.csv"
    )
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()


def test_a_score_table_without_certainty_gives_no_expected_dice(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text("case,region,dice\na,lung,0.9\n")
    model = tmp_path / "m.onnx"
    thorax("export", model, "--trained", trained, "--scores", tmp_path / "scores.csv")
    assert "expected Dice  unknown" in thorax("model", "show", model).stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("[]", "must contain a mapping"), (None, "cannot be read")],
)
def test_invalid_metrics_are_rejected(
    trained: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    scores = tmp_path / "metrics.json"
    if content is not None:
        scores.write_text(content)
    target = tmp_path / "a.onnx"
    result = thorax("export", target, "--trained", trained, "--metrics", scores)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not target.exists()


def test_a_file_that_is_not_a_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("no model")
    result = thorax("model", "show", tmp_path / "a.onnx")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: model {tmp_path}/a.onnx cannot be loaded: it is damaged or not an ONNX file; "
        "copy or export it again\n"
    )


# Formats


def save_dicom(
    folder: Path, hu: np.ndarray, spacing_mm: tuple[float, float, float], **tags: Any
) -> None:
    """Write canonical voxels, the first one at the origin, as an axial series."""
    folder.mkdir(exist_ok=True)
    x_mm, y_mm, z_mm = spacing_mm
    corner_mm = [-(hu.shape[0] - 1) * x_mm, -(hu.shape[1] - 1) * y_mm]
    for z in range(hu.shape[2]):
        # DICOM axes point to the left and to the back; rows come first.
        stored = (hu[::-1, ::-1, z].T + 1024).clip(0).astype(np.uint16)
        dataset = one_slice(stored, [*corner_mm, z * z_mm], PixelSpacing=[y_mm, x_mm], **tags)
        name = f"{dataset.SeriesNumber}-{(z * 7) % hu.shape[2]:03d}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha", "series"])
def test_the_mask_does_not_depend_on_the_format(model: Path, tmp_path: Path, name: str) -> None:
    """The scan as NIfTI and in another format."""
    spacing_mm = 2.0, 2.5, 4.0
    hu = np.full((24, 20, 11), -1000, np.int16)
    hu[3:21, 2:18] = 40
    hu[5:10, 5:14, 2:9], hu[13:19, 4:15, 1:9] = 500, 300
    nifti = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([*spacing_mm, 1.0])), nifti)
    other = tmp_path / name
    if name == "series":
        save_dicom(other, hu, spacing_mm)
    else:
        image = SimpleITK.GetImageFromArray(hu[::-1, ::-1].T)
        image.SetSpacing(spacing_mm)
        image.SetOrigin([-23 * 2.0, -19 * 2.5, 0])
        SimpleITK.WriteImage(image, str(other))
    masks = []
    for scan in (nifti, other):
        mask = tmp_path / f"{scan.name}_mask.nii.gz"
        result = thorax("predict", scan, mask, "--model", model, "--intensity", "hu")
        assert result.exit_code == 0, result.stderr
        masks.append(nibabel.as_closest_canonical(nibabel.load(mask)))
    first, second = (np.asarray(mask.dataobj) for mask in masks)
    assert 0 < first.sum() < first.size / 2
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".dcm"])
def test_the_suffix_decides_the_format_of_the_mask(
    model: Path, tmp_path: Path, suffix: str
) -> None:
    hu = np.full((16, 16, 5), -1000, np.int16)
    hu[4:12, 4:12, 1:4] = 500
    save_dicom(tmp_path / "series", hu, (2.0, 2.0, 3.0))
    mask = tmp_path / f"mask{suffix}"
    result = thorax("predict", tmp_path / "series", mask, "--model", model, "--intensity", "hu")
    assert result.exit_code == 0, result.stderr
    if suffix == ".dcm":
        segments = pydicom.dcmread(mask)
        assert segments.Modality == "SEG"
        assert segments.SegmentSequence[0].SegmentLabel == "lung"
        assert np.count_nonzero(segments.pixel_array) == 8 * 8 * 3
    else:
        written = Scan(mask)
        assert np.count_nonzero(written.voxels()) == 8 * 8 * 3
        assert written.grid.matches(Scan(tmp_path / "series").grid)


def test_series_option(model: Path, tmp_path: Path) -> None:
    """The longest series in a folder is the default."""
    hu = np.full((16, 16, 6), -1000, np.int16)
    hu[4:12, 4:12, 1:4] = 500
    save_dicom(tmp_path / "study", hu, (2.0, 2.0, 3.0))
    save_dicom(
        tmp_path / "study", hu[..., :5], (2.0, 2.0, 3.0), SeriesNumber=9, SeriesInstanceUID="1.9"
    )
    planes = {}
    for series in ((), ("--series", "9"), ("--series", "1.9")):
        mask = tmp_path / f"mask{len(planes)}.nii"
        arguments = ("--model", model, "--intensity", "hu", *series)
        assert thorax("predict", tmp_path / "study", mask, *arguments).exit_code == 0
        planes[series] = nibabel.load(mask).shape[2]
    assert list(planes.values()) == [6, 5, 5]
    result = thorax(
        "predict", tmp_path / "study", tmp_path / "m.nii", "--series", 8, *arguments[:4]
    )
    assert result.exit_code == 1
    assert "there is no DICOM series 8" in result.stderr
