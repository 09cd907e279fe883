"""Batches of scans: failures do not stop the others, and finished scans are skipped."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU
from thorax.inference.batch import PredictOptions, predict_folder
from thorax.inference.inputs import ScanTask, find_tasks
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.row import ManifestRow
from thorax.inference.segmenter import Model, Segmenter
from thorax.io import Scan, scan_files_on_disk
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]
SPEC = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
OPTIONS = PredictOptions(intensity=HU)
TENTH_ML = np.diag([10.0, 10.0, 1.0, 1.0])


def make_segmenter(digest: str = "a" * 64) -> Segmenter:
    """Return a segmenter that segments voxels of at least 250 HU as lung."""
    return Segmenter(
        [Model(SPEC, KerasEngine(pointwise([[80]], [-20], canvas=8), SPEC.window), digest)]
    )


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return make_segmenter()


@pytest.fixture
def scans(save_nifti: SaveNifti, tmp_path: Path) -> Path:
    """Return a folder of three scans with 8, 16 and 24 voxels of lung."""
    for count in (1, 2, 3):
        voxels = np.full((8, 8, 8), -1000, np.int16)
        voxels[:2, 2:4, : 2 * count] = 500
        save_nifti(f"scans/s{count}.nii.gz", voxels, TENTH_ML)
    return tmp_path / "scans"


def run(
    segmenter: Segmenter, scans: Path, options: PredictOptions = OPTIONS, **others: Any
) -> tuple[list[ManifestRow], list[str]]:
    """Segment a folder; return its rows, and the reported cases in order."""
    masks, reported = scans.parent / "masks", list[str]()
    rows = predict_folder(
        segmenter,
        find_tasks([scans], masks, **others),
        options,
        folder=masks,
        report=lambda row: reported.append(f"{row.case} {row.status}"),
    )
    return rows, reported


def table(scans: Path) -> list[dict[str, str]]:
    with (scans.parent / "masks/manifest.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_scan_gets_a_mask_and_a_row(segmenter: Segmenter, scans: Path) -> None:
    """Voxels of 0.1 mL: the first mask has 8 of them."""
    rows, reported = run(segmenter, scans)
    assert reported == ["s1 done", "s2 done", "s3 done"]
    assert [row.volumes_ml["lung"] for row in rows] == pytest.approx([0.8, 1.6, 2.4])
    for row in rows:
        mask = np.asarray(nibabel.load(row.mask).dataobj)
        np.testing.assert_array_equal(mask, np.asarray(nibabel.load(row.scan).dataobj) == 500)
    assert [line["lung_ml"] for line in table(scans)] == ["0.8", "1.6", "2.4"]
    assert {line["intensity"] for line in table(scans)} == {"hu"}
    written = json.loads((scans.parent / "masks/manifest.json").read_text())
    assert [row["case"] for row in written] == ["s1", "s2", "s3"]


def test_a_scan_that_fails_is_reported_and_the_others_continue(
    segmenter: Segmenter, scans: Path
) -> None:
    (scans / "s2.nii.gz").write_bytes(b"nothing of the kind")
    rows, reported = run(segmenter, scans)
    assert reported == ["s1 done", "s2 failed", "s3 done"]
    assert rows[1].error.startswith(f"{scans}/s2.nii.gz is ")
    assert not Path(rows[1].mask).exists()
    assert [line["case"] for line in table(scans)] == ["s2", "s1", "s3"]
    assert sorted(path.name for path in (scans.parent / "masks").iterdir()) == [
        "manifest.csv",
        "manifest.json",
        "s1.nii.gz",
        "s3.nii.gz",
        "timings.csv",
    ]


def test_a_defect_in_one_scan_does_not_stop_the_others(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = segmenter.predict

    def fail(preprocessed: Any, **others: Any) -> Any:
        if preprocessed.scan.path.name == "s1.nii.gz":
            raise MemoryError("no room")
        return predict(preprocessed, **others)

    monkeypatch.setattr(segmenter, "predict", fail)
    rows, reported = run(segmenter, scans)
    assert reported == ["s1 failed", "s2 done", "s3 done"]
    assert rows[0].error == "MemoryError: no room"


def test_finished_scans_are_skipped(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans)
    before = {path: path.stat().st_mtime_ns for path in (scans.parent / "masks").glob("*.gz")}
    (scans.parent / "masks/s2.nii.gz").unlink()
    _, reported = run(segmenter, scans)
    assert reported == ["s1 done", "s3 done", "s2 done"]
    after = {path: path.stat().st_mtime_ns for path in (scans.parent / "masks").glob("*.gz")}
    assert [path.name for path in after if after[path] != before[path]] == ["s2.nii.gz"]


def test_a_replaced_scan_is_segmented_again(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti
) -> None:
    run(segmenter, scans)
    voxels = np.full((8, 8, 8), -1000, np.int16)
    voxels[:4, :4, :4] = 500
    save_nifti("scans/s1.nii.gz", voxels, TENTH_ML)
    rows, reported = run(segmenter, scans)
    assert reported == ["s2 done", "s3 done", "s1 done"]
    assert rows[0].volumes_ml["lung"] == pytest.approx(6.4)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"digest": "b" * 64}, id="another model"),
        pytest.param({"options": replace(OPTIONS, threshold=0.9)}, id="another threshold"),
        pytest.param({"options": replace(OPTIONS, force=True)}, id="force"),
        pytest.param({"options": replace(OPTIONS, engine="onnxruntime")}, id="another engine"),
        pytest.param({"options": replace(OPTIONS, device="gpu")}, id="another device"),
        pytest.param({"options": replace(OPTIONS, precision="float32")}, id="another precision"),
    ],
)
def test_scans_segmented_with_other_settings_are_segmented_again(
    scans: Path, change: dict[str, Any]
) -> None:
    run(make_segmenter(), scans)
    masks = scans.parent / "masks"
    before = {path: path.stat().st_mtime_ns for path in masks.glob("*.gz")}
    digest = change.pop("digest", "a" * 64)
    rows, _ = run(make_segmenter(digest), scans, **change)
    assert {row.status for row in rows} == {"done"}
    assert all(path.stat().st_mtime_ns != before[path] for path in masks.glob("*.gz"))


def test_probabilities_with_other_bits_are_written_again(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, replace(OPTIONS, bits=8))
    path = scans.parent / "masks/s1_lung.nii.gz"
    assert nibabel.load(path).get_data_dtype() == np.uint8
    run(segmenter, scans, replace(OPTIONS, bits=16))
    assert nibabel.load(path).get_data_dtype() == np.uint16
    before = path.stat().st_mtime_ns
    run(segmenter, scans)
    assert path.stat().st_mtime_ns == before


def test_a_folder_is_locked_against_a_second_batch(segmenter: Segmenter, scans: Path) -> None:
    """The second batch can start once the first has ended or was killed."""
    message = r"another `thorax predict` is writing to .*masks; wait for it, or"
    with Manifest(scans.parent / "masks").exclusive(), pytest.raises(InputError, match=message):
        run(segmenter, scans)
    assert not list((scans.parent / "masks").glob("*.nii.gz"))
    rows, _ = run(segmenter, scans)
    assert [row.status for row in rows] == ["done"] * 3


def test_a_probability_map_must_not_be_the_mask_of_another_scan(
    segmenter: Segmenter, scans: Path
) -> None:
    (scans / "s2.nii.gz").rename(scans / "s1_lung.nii.gz")
    run(segmenter, scans)
    with pytest.raises(
        InputError, match=r"s1.nii.gz and .*s1_lung.nii.gz would both write .*masks/s1_lung.nii.gz;"
    ):
        run(segmenter, scans, replace(OPTIONS, bits=8))


def test_a_scan_must_not_write_the_manifest(segmenter: Segmenter, scans: Path) -> None:
    (scans / "s2.nii.gz").rename(scans / "manifest.nii.gz")
    with pytest.raises(InputError) as error:
        run(segmenter, scans, replace(OPTIONS, statistics=True))
    assert str(error.value) == (
        f"{scans.parent}/masks/manifest.json lists the scans of the folder, but "
        f"{scans}/manifest.nii.gz would write it, too; rename the scan"
    )
    assert not (scans.parent / "masks").exists()
    assert run(segmenter, scans)[1] == ["manifest done", "s1 done", "s3 done"]


def test_two_spellings_of_a_path_are_the_same_file(
    segmenter: Segmenter, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(
        "scan,mask\nscans/s1.nii.gz,out/s1.nii.gz\n"
        f"scans/s2.nii.gz,../{tmp_path.name}/out/s1_lung.nii.gz\n"
    )
    tasks = find_tasks([tmp_path / "pairs.csv"], None)
    options = replace(OPTIONS, bits=8)
    with pytest.raises(InputError, match="would both write"):
        predict_folder(segmenter, tasks, options, folder=tmp_path, report=lambda _: None)


def test_existing_files_are_kept_without_force(segmenter: Segmenter, scans: Path) -> None:
    mine = scans.parent / "masks/s3.nii.gz"
    mine.parent.mkdir()
    mine.write_text("the work of a week")
    rows, reported = run(segmenter, scans)
    assert reported == ["s3 failed", "s1 done", "s2 done"]
    assert rows[2].error == f"{mine} already exists; use --force to overwrite"
    rows, reported = run(segmenter, scans)
    assert reported == ["s1 done", "s2 done", "s3 failed"]
    assert mine.read_text() == "the work of a week"
    rows, _ = run(segmenter, scans, replace(OPTIONS, force=True))
    assert rows[2].status == "done"


def test_a_file_next_to_a_mask_of_this_batch_is_kept_without_force(
    segmenter: Segmenter, scans: Path
) -> None:
    run(segmenter, scans)
    mine = scans.parent / "masks/s1.json"
    mine.write_text("my notes")
    rows, _ = run(segmenter, scans, replace(OPTIONS, statistics=True))
    assert [row.status for row in rows] == ["failed", "done", "done"]
    assert rows[0].error == f"{mine} already exists; use --force to overwrite"
    assert mine.read_text() == "my notes"


def test_files_that_describe_a_replaced_mask_are_removed(segmenter: Segmenter, scans: Path) -> None:
    every = replace(OPTIONS, statistics=True, bits=8)
    masks = scans.parent / "masks"
    run(segmenter, scans, every)
    (masks / "s1.txt").write_text("my notes")
    run(make_segmenter("b" * 64), scans)
    assert sorted(path.name for path in masks.glob("s1*")) == ["s1.nii.gz", "s1.txt"]
    rows, _ = run(make_segmenter("b" * 64), scans, every)
    assert rows[0].files == ("s1.nii.gz", "s1_lung.nii.gz", "s1.json")
    assert all((masks / name).exists() for name in rows[0].files)


def test_files_of_an_earlier_run_are_kept_if_the_mask_is(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans, replace(OPTIONS, statistics=True))
    run(segmenter, scans)
    rows, reported = run(segmenter, scans, replace(OPTIONS, statistics=True))
    assert reported == ["s1 done", "s2 done", "s3 done"]
    assert rows[0].files == ("s1.nii.gz", "s1.json")
    assert (scans.parent / "masks/s1.json").exists()


def test_a_file_of_an_earlier_run_that_cannot_be_removed_is_named(
    segmenter: Segmenter, scans: Path
) -> None:
    run(segmenter, scans, replace(OPTIONS, statistics=True))
    statistics = scans.parent / "masks/s1.json"
    statistics.unlink()
    statistics.mkdir()
    rows, _ = run(make_segmenter("b" * 64), scans)
    assert rows[0].warnings[-1].startswith(f"{statistics} describes an older mask; remove it (")


def test_a_scan_that_failed_may_replace_the_mask_of_an_earlier_run(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti
) -> None:
    """The mask is of the batch, although the last row says that the scan failed."""
    run(segmenter, scans)
    whole = (scans / "s1.nii.gz").read_bytes()
    (scans / "s1.nii.gz").write_bytes(b"still being copied")
    assert run(segmenter, scans)[1] == ["s2 done", "s3 done", "s1 failed"]
    (scans / "s1.nii.gz").write_bytes(whole)
    assert run(segmenter, scans)[1] == ["s2 done", "s3 done", "s1 done"]


def test_a_mask_that_is_drawn_after_a_failure_is_kept(segmenter: Segmenter, scans: Path) -> None:
    whole = (scans / "s1.nii.gz").read_bytes()
    (scans / "s1.nii.gz").write_bytes(b"still being copied")
    run(segmenter, scans)
    drawn = scans.parent / "masks/s1.nii.gz"
    drawn.write_text("the work of a week")
    (scans / "s1.nii.gz").write_bytes(whole)
    rows, _ = run(segmenter, scans)
    assert rows[0].error == f"{drawn} already exists; use --force to overwrite"


def test_files_of_a_killed_run_are_replaced(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed after it had written the mask, but before it could say so."""
    finished = Manifest.add

    def killed(manifest: Manifest, row: ManifestRow) -> None:
        if row.status == "done":
            raise KeyboardInterrupt
        finished(manifest, row)

    monkeypatch.setattr(Manifest, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, scans)
    monkeypatch.undo()
    assert (scans.parent / "masks/s1.nii.gz").exists()
    assert run(segmenter, scans)[1] == ["s1 done", "s2 done", "s3 done"]


def test_masks_of_a_version_that_did_not_store_file_names_are_replaced(
    segmenter: Segmenter, scans: Path
) -> None:
    run(segmenter, scans)
    path = scans.parent / "masks/manifest.json"
    path.write_text(json.dumps([{**row, "files": None} for row in json.loads(path.read_text())]))
    rows, _ = run(segmenter, scans, replace(OPTIONS, threshold=0.9))
    assert [row.status for row in rows] == ["done"] * 3


def test_a_killed_batch_resumes(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut: no table, one finished mask, one started."""
    masks = scans.parent / "masks"
    predict = segmenter.predict

    def stop_at_two(preprocessed: Any, **others: Any) -> Any:
        if preprocessed.scan.path.name == "s2.nii.gz":
            raise KeyboardInterrupt
        return predict(preprocessed, **others)

    monkeypatch.setattr(segmenter, "predict", stop_at_two)
    monkeypatch.setattr("thorax.inference.batch.Manifest.write", lambda manifest: None)
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, scans)
    monkeypatch.undo()
    assert sorted(path.name for path in masks.glob("*.nii.gz")) == ["s1.nii.gz"]
    written = (masks / "s1.nii.gz").stat().st_mtime_ns
    _, reported = run(segmenter, scans)
    assert reported == ["s1 done", "s2 done", "s3 done"]
    assert (masks / "s1.nii.gz").stat().st_mtime_ns == written
    assert [line["status"] for line in table(scans)] == ["done"] * 3


def test_ctrl_c_leaves_complete_files_and_a_complete_table(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = segmenter.predict

    def stop_at_three(preprocessed: Any, **others: Any) -> Any:
        if preprocessed.scan.path.name == "s3.nii.gz":
            raise KeyboardInterrupt
        return predict(preprocessed, **others)

    monkeypatch.setattr(segmenter, "predict", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, scans)
    assert [(line["case"], line["status"]) for line in table(scans)] == [
        ("s3", "started"),
        ("s1", "done"),
        ("s2", "done"),
    ]
    names = {path.name for path in (scans.parent / "masks").iterdir()}
    assert names == {"manifest.csv", "manifest.json", "timings.csv", "s1.nii.gz", "s2.nii.gz"}


def test_all_requested_files_are_next_to_the_mask(segmenter: Segmenter, scans: Path) -> None:
    options = replace(OPTIONS, bits=16, statistics=True, preview=True)
    run(segmenter, scans, options)
    masks = scans.parent / "masks"
    assert sorted(path.name for path in masks.glob("s1*")) == [
        "s1.json",
        "s1.nii.gz",
        "s1.png",
        "s1_lung.nii.gz",
    ]
    statistics = json.loads((masks / "s1.json").read_text())
    assert statistics["regions"]["lung"]["whole"]["voxels"] == 8
    assert statistics["regions"]["lung"]["whole"]["mean_hu"] == 500
    probabilities = nibabel.load(masks / "s1_lung.nii.gz")
    assert probabilities.get_data_dtype() == np.uint16
    assert probabilities.get_fdata().max() == pytest.approx(1.0)
    assert (masks / "s1.png").read_bytes().startswith(b"\x89PNG")


def test_scans_with_quality_warnings_come_first(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lung that is interrupted for two slices; plausibility warnings are off, all are small."""
    monkeypatch.setattr("thorax.inference.segmenter.plausibility_warnings", lambda statistics: ())
    voxels = np.full((8, 8, 12), -1000, np.int16)
    voxels[2:6, 2:6], voxels[2:6, 2:6, 5:7] = 500, -1000
    save_nifti("scans/torn.nii.gz", voxels, TENTH_ML)
    run(segmenter, scans)
    first = table(scans)[0]
    assert first["case"] == "torn"
    assert first["quality_warnings"] == "lung: neighbouring slices differ (Dice 0.00)"


def test_a_missing_scan_is_reported_in_the_batch(segmenter: Segmenter, scans: Path) -> None:
    tasks = [ScanTask("gone", scans / "gone.nii.gz", scans.parent / "masks/gone.nii.gz")]
    reported: list[ManifestRow] = []
    (row,) = predict_folder(
        segmenter, tasks, OPTIONS, folder=scans.parent / "masks", report=reported.append
    )
    assert row.error == f"there is no file {scans}/gone.nii.gz"
    assert reported == [row]


def test_models_of_an_ensemble_must_be_compatible() -> None:
    engine = KerasEngine(pointwise([[80]], [-20], canvas=8), SPEC.window)
    other = replace(SPEC, regions={"lung": (2,)})
    with pytest.raises(InputError, match="models of an ensemble must have the same `regions`"):
        Segmenter([Model(SPEC, engine, "a"), Model(other, engine, "b")])


@pytest.mark.parametrize(
    ("flip", "names"),
    [
        (0.0, "identity+shifted by 3+shifted by -3"),
        (0.5, "identity+mirrored+shifted by 3+shifted by -3"),
    ],
)
def test_scans_are_mirrored_only_for_models_trained_with_mirroring(flip: float, names: str) -> None:
    """The heart is on one side, so other models would be misled."""
    spec = replace(SPEC, provenance={"augmentation": {"flip": flip}})
    engine = KerasEngine(pointwise([[80]], [-20], canvas=8), SPEC.window)
    assert Segmenter([Model(spec, engine, "a")], tta=True).settings == names


def test_an_ensemble_is_the_mean_of_its_models(save_nifti: SaveNifti) -> None:
    """One model gives 1 and the other 0 everywhere: the mean is 0.5."""
    sure, never = (
        Model(SPEC, KerasEngine(pointwise([[0]], [logit], canvas=8), SPEC.window), "a")
        for logit in (30, -30)
    )
    both = Segmenter([sure, never], postprocess=False)
    voxels = np.zeros((8, 8, 2), np.int16)
    scan = Scan(save_nifti("ct.nii", voxels))
    prediction = both.predict(both.preprocess(scan, intensity=HU))
    np.testing.assert_allclose(prediction.probabilities, 0.5)
    assert prediction.quality[0].agreement == 0
    assert prediction.quality[0].warnings("lung") == [
        "lung: the network is uncertain (0.67)",
        "lung: variants or models disagree (Dice 0.00)",
    ]


def test_a_replaced_voxel_file_is_noticed(tmp_path: Path) -> None:
    """A batch compares all files of a scan with those of the earlier run."""
    (tmp_path / "a.nhdr").write_text("NRRD0004\ntype: short\ndata file: ./a.raw\n\n")
    (tmp_path / "b.mhd").write_text("NDims = 3\nElementDataFile = b.raw\n")
    for name in ("a.raw", "b.raw", "c.hdr", "c.img.gz", "d.nii"):
        (tmp_path / name).write_bytes(b"12")
    files = {
        name: [path.name for path in scan_files_on_disk(tmp_path / name)]
        for name in ("a.nhdr", "b.mhd", "c.hdr", "c.img.gz", "d.nii", "missing.nii")
    }
    assert files == {
        "a.nhdr": ["a.nhdr", "a.raw"],
        "b.mhd": ["b.mhd", "b.raw"],
        "c.hdr": ["c.hdr", "c.img.gz"],
        "c.img.gz": ["c.img.gz", "c.hdr"],
        "d.nii": ["d.nii"],
        "missing.nii": [],
    }
