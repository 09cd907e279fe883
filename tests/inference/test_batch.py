"""Many scans in one go: one that fails does not stop the others, and what is done stays done."""

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
from thorax.inference.manifest import Manifest, Row
from thorax.inference.segmenter import Model, Segmenter
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]
SPEC = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
WISH = PredictOptions(domain=HU)
TENTH_ML = np.diag([10.0, 10.0, 1.0, 1.0])


def make_segmenter(digest: str = "a" * 64) -> Segmenter:
    """Return a segmenter that takes 250 HU and more for lung."""
    return Segmenter([Model(SPEC, KerasEngine(pointwise([[80]], [-20], canvas=8)), digest)])


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return make_segmenter()


@pytest.fixture
def scans(save_nifti: SaveNifti, tmp_path: Path) -> Path:
    """Return a folder with three scans, which have 8, 16 and 24 voxels of lung."""
    for count in (1, 2, 3):
        voxels = np.full((8, 8, 8), -1000, np.int16)
        voxels[:2, 2:4, : 2 * count] = 500
        save_nifti(f"scans/s{count}.nii.gz", voxels, TENTH_ML)
    return tmp_path / "scans"


def run(
    segmenter: Segmenter, scans: Path, options: PredictOptions = WISH, **others: Any
) -> tuple[list[Row], list[str]]:
    """Segment a folder; return its rows, and the cases that were told of, in order."""
    masks, told = scans.parent / "masks", []
    rows = predict_folder(
        segmenter,
        find_tasks([scans], masks, **others),
        options,
        folder=masks,
        tell=lambda row: told.append(f"{row.case} {row.status}"),
    )
    return rows, told


def table(scans: Path) -> list[dict[str, str]]:
    with (scans.parent / "masks/manifest.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_each_scan_gets_its_mask_and_its_row(segmenter: Segmenter, scans: Path) -> None:
    """By hand: so many voxels of 0.1 mL, of which one mask holds 8."""
    rows, told = run(segmenter, scans)
    assert told == ["s1 done", "s2 done", "s3 done"]
    assert [row.volumes_ml["lung"] for row in rows] == pytest.approx([0.8, 1.6, 2.4])
    for row in rows:
        mask = np.asarray(nibabel.load(row.mask).dataobj)
        np.testing.assert_array_equal(mask, np.asarray(nibabel.load(row.scan).dataobj) == 500)
    assert [line["lung_ml"] for line in table(scans)] == ["0.8", "1.6", "2.4"]
    assert {line["intensity"] for line in table(scans)} == {"hu"}
    written = json.loads((scans.parent / "masks/manifest.json").read_text())
    assert [row["case"] for row in written] == ["s1", "s2", "s3"]


def test_a_scan_that_fails_is_told_of_and_the_others_go_on(
    segmenter: Segmenter, scans: Path
) -> None:
    (scans / "s2.nii.gz").write_bytes(b"nothing of the kind")
    rows, told = run(segmenter, scans)
    assert told == ["s1 done", "s2 failed", "s3 done"]
    assert rows[1].error.startswith(f"{scans}/s2.nii.gz is ")
    assert not Path(rows[1].mask).exists()
    assert [line["case"] for line in table(scans)] == ["s2", "s1", "s3"]
    assert sorted(path.name for path in (scans.parent / "masks").iterdir()) == [
        "manifest.csv",
        "manifest.json",
        "s1.nii.gz",
        "s3.nii.gz",
    ]


def test_a_defect_in_one_scan_takes_no_other_along(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = segmenter.find

    def fail(opened: Any, **others: Any) -> Any:
        if opened.held.scan.path.name == "s1.nii.gz":
            raise MemoryError("no room")
        return find(opened, **others)

    monkeypatch.setattr(segmenter, "find", fail)
    rows, told = run(segmenter, scans)
    assert told == ["s1 failed", "s2 done", "s3 done"]
    assert rows[0].error == "MemoryError: no room"


def test_what_is_done_is_not_done_again(segmenter: Segmenter, scans: Path) -> None:
    run(segmenter, scans)
    before = {path: path.stat().st_mtime_ns for path in (scans.parent / "masks").glob("*.gz")}
    (scans.parent / "masks/s2.nii.gz").unlink()
    _, told = run(segmenter, scans)
    assert told == ["s1 done", "s3 done", "s2 done"]
    after = {path: path.stat().st_mtime_ns for path in (scans.parent / "masks").glob("*.gz")}
    assert [path.name for path in after if after[path] != before[path]] == ["s2.nii.gz"]


def test_another_scan_under_the_same_name_is_done_anew(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti
) -> None:
    run(segmenter, scans)
    voxels = np.full((8, 8, 8), -1000, np.int16)
    voxels[:4, :4, :4] = 500
    save_nifti("scans/s1.nii.gz", voxels, TENTH_ML)
    rows, told = run(segmenter, scans)
    assert told == ["s2 done", "s3 done", "s1 done"]
    assert rows[0].volumes_ml["lung"] == pytest.approx(6.4)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"digest": "b" * 64}, id="another model"),
        pytest.param({"wish": replace(WISH, threshold=0.9)}, id="another threshold"),
        pytest.param({"wish": replace(WISH, force=True)}, id="asked for by name"),
    ],
)
def test_what_was_done_otherwise_is_done_again(scans: Path, change: dict[str, Any]) -> None:
    run(make_segmenter(), scans)
    masks = scans.parent / "masks"
    before = {path: path.stat().st_mtime_ns for path in masks.glob("*.gz")}
    digest = change.pop("digest", "a" * 64)
    rows, _ = run(make_segmenter(digest), scans, **change)
    assert {row.status for row in rows} == {"done"}
    assert all(path.stat().st_mtime_ns != before[path] for path in masks.glob("*.gz"))


def test_two_batches_in_one_folder_keep_apart(segmenter: Segmenter, scans: Path) -> None:
    """The first is at work still; once it has ended, or was killed, the second may go on."""
    said = r"another batch is at work in .*masks; wait for its end, or"
    with Manifest(scans.parent / "masks").alone(), pytest.raises(InputError, match=said):
        run(segmenter, scans)
    assert not list((scans.parent / "masks").glob("*.nii.gz"))
    rows, _ = run(segmenter, scans)
    assert [row.status for row in rows] == ["done"] * 3


def test_files_beside_one_mask_are_never_the_mask_of_another_scan(
    segmenter: Segmenter, scans: Path
) -> None:
    (scans / "s2.nii.gz").rename(scans / "s1_lung.nii.gz")
    run(segmenter, scans)
    with pytest.raises(
        InputError, match=r"s1.nii.gz and .*s1_lung.nii.gz would both write .*masks/s1_lung.nii.gz;"
    ):
        run(segmenter, scans, replace(WISH, bits=8))


def test_a_file_is_known_by_another_spelling_too(
    segmenter: Segmenter, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(
        "scan,mask\nscans/s1.nii.gz,out/s1.nii.gz\n"
        f"scans/s2.nii.gz,../{tmp_path.name}/out/s1_lung.nii.gz\n"
    )
    jobs = find_tasks([tmp_path / "pairs.csv"], None)
    options = replace(WISH, bits=8)
    with pytest.raises(InputError, match="would both write"):
        predict_folder(segmenter, jobs, options, folder=tmp_path, tell=lambda _: None)


def test_masks_of_others_are_left_alone_unless_forced(segmenter: Segmenter, scans: Path) -> None:
    mine = scans.parent / "masks/s3.nii.gz"
    mine.parent.mkdir()
    mine.write_text("the work of a week")
    rows, told = run(segmenter, scans)
    assert told == ["s3 failed", "s1 done", "s2 done"]
    assert rows[2].error == f"{mine} exists already; give --force to write over it"
    assert mine.read_text() == "the work of a week"
    rows, _ = run(segmenter, scans, replace(WISH, force=True))
    assert rows[2].status == "done"


def test_a_batch_that_was_killed_goes_on_where_it_was(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a power cut would leave it: no table, one mask done, one begun."""
    masks = scans.parent / "masks"
    find = segmenter.find

    def stop_at_two(opened: Any, **others: Any) -> Any:
        if opened.held.scan.path.name == "s2.nii.gz":
            raise KeyboardInterrupt
        return find(opened, **others)

    monkeypatch.setattr(segmenter, "find", stop_at_two)
    monkeypatch.setattr("thorax.inference.batch.Manifest.write", lambda manifest: None)
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, scans)
    monkeypatch.undo()
    assert sorted(path.name for path in masks.glob("*.nii.gz")) == ["s1.nii.gz"]
    begun = (masks / "s1.nii.gz").stat().st_mtime_ns
    _, told = run(segmenter, scans)
    assert told == ["s1 done", "s2 done", "s3 done"]
    assert (masks / "s1.nii.gz").stat().st_mtime_ns == begun
    assert [line["status"] for line in table(scans)] == ["done"] * 3


def test_ctrl_c_leaves_whole_files_and_a_whole_table(
    segmenter: Segmenter, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = segmenter.find

    def stop_at_three(opened: Any, **others: Any) -> Any:
        if opened.held.scan.path.name == "s3.nii.gz":
            raise KeyboardInterrupt
        return find(opened, **others)

    monkeypatch.setattr(segmenter, "find", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        run(segmenter, scans)
    assert [(line["case"], line["status"]) for line in table(scans)] == [
        ("s3", "started"),
        ("s1", "done"),
        ("s2", "done"),
    ]
    names = {path.name for path in (scans.parent / "masks").iterdir()}
    assert names == {"manifest.csv", "manifest.json", "s1.nii.gz", "s2.nii.gz"}


def test_all_that_is_asked_for_lies_beside_the_mask(segmenter: Segmenter, scans: Path) -> None:
    options = replace(WISH, bits=16, statistics=True, preview=True)
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
    found = nibabel.load(masks / "s1_lung.nii.gz")
    assert found.get_data_dtype() == np.uint16
    assert found.get_fdata().max() == pytest.approx(1.0)
    assert (masks / "s1.png").read_bytes().startswith(b"\x89PNG")


def test_scans_of_which_one_is_in_doubt_come_with_it_first(
    segmenter: Segmenter, scans: Path, save_nifti: SaveNifti, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lung that stops for two planes and goes on; that all are too small is not looked at."""
    monkeypatch.setattr("thorax.inference.segmenter.plausibility_warnings", lambda statistics: ())
    voxels = np.full((8, 8, 12), -1000, np.int16)
    voxels[2:6, 2:6], voxels[2:6, 2:6, 5:7] = 500, -1000
    save_nifti("scans/torn.nii.gz", voxels, TENTH_ML)
    run(segmenter, scans)
    first = table(scans)[0]
    assert first["case"] == "torn"
    assert first["quality_warnings"] == "lung: neighbouring planes differ (Dice 0.00)"


def test_a_missing_scan_is_one_of_the_batch(segmenter: Segmenter, scans: Path) -> None:
    jobs = [ScanTask("gone", scans / "gone.nii.gz", scans.parent / "masks/gone.nii.gz")]
    told: list[Row] = []
    (row,) = predict_folder(segmenter, jobs, WISH, folder=scans.parent / "masks", tell=told.append)
    assert row.error == f"there is no file {scans}/gone.nii.gz"
    assert told == [row]


def test_a_model_must_go_with_the_others_of_an_ensemble() -> None:
    engine = KerasEngine(pointwise([[80]], [-20], canvas=8))
    other = replace(SPEC, regions={"lung": (2,)})
    with pytest.raises(
        InputError, match="models of an ensemble must be alike, but their `regions`"
    ):
        Segmenter([Model(SPEC, engine, "a"), Model(other, engine, "b")])


@pytest.mark.parametrize(
    ("flip", "names"),
    [
        (0.0, "as it is+shifted+shifted back"),
        (0.5, "as it is+mirrored+shifted+shifted back"),
    ],
)
def test_variants_are_mirrored_only_for_models_trained_so(flip: float, names: str) -> None:
    """The heart lies on one side: others would be led astray."""
    spec = replace(SPEC, provenance={"augmentation": {"flip": flip}})
    engine = KerasEngine(pointwise([[80]], [-20], canvas=8))
    assert Segmenter([Model(spec, engine, "a")], tta=True).settings == names


def test_an_ensemble_is_the_mean_of_its_models(save_nifti: SaveNifti) -> None:
    """One model is sure of lung where the other is sure of none: the mean is a half."""
    sure, never = (
        Model(SPEC, KerasEngine(pointwise([[0]], [logit], canvas=8)), "a") for logit in (30, -30)
    )
    both = Segmenter([sure, never], postprocess=False)
    voxels = np.zeros((8, 8, 2), np.int16)
    from thorax.io import Scan

    found = both.find(both.open(Scan(save_nifti("ct.nii", voxels)), domain=HU))
    np.testing.assert_allclose(found.probabilities, 0.5)
    assert found.quality[0].agreement == 0
    assert found.quality[0].warnings("lung") == [
        "lung: the network is not sure of itself (0.67)",
        "lung: variants agree by a Dice of 0.00 only",
    ]
