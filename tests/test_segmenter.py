"""Segmenters: saved, loaded, and run on scans whose masks are known by eye."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.engines import KerasEngine
from thorax.errors import InputError
from thorax.intensity import Domain
from thorax.scans import Scan
from thorax.segmenter import Segmenter, SegmenterSpec, load, load_spec, written_files

from .learning import pointwise

SaveNifti = Callable[..., Path]

SIDE = 8
REGIONS = {"body": (1, 2), "bone": (2,)}
AFFINE = np.array([[0.7, 0, 0, -20], [0, 0.7, 0, 30], [0, 0, 2.5, -5], [0, 0, 0, 1.0]])


def make_segmenter(weights: Any, biases: Any, **spec: Any) -> Segmenter:
    """Return a segmenter whose logits are ``stack @ weights + biases``; the window is 0..1000."""
    context = (len(weights) - 1) // 2
    known = {"canvas": SIDE, "crop": "none", "window_hu": (0, 1000), "regions": REGIONS}
    return Segmenter(
        SegmenterSpec(context=context, **known | spec),
        KerasEngine(pointwise(weights, biases, canvas=spec.get("canvas", SIDE))),
    )


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """Return a segmenter that takes 250 HU and more for body, 750 HU and more for bone."""
    return make_segmenter([[80, 80]], [-20, -60])


def chest(depth: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return a scan, and its mask as anyone would draw it: a box of body with bone inside."""
    voxels = np.full((SIDE, SIDE, depth), -1000, np.int16)
    voxels[1:5, 2:8, 1:4] = 500
    voxels[2, 3:5, 3] = 1000
    mask = np.zeros((SIDE, SIDE, depth), np.uint8)
    mask[1:5, 2:8, 1:4] = 1
    mask[2, 3:5, 3] = 2
    return voxels, mask


def lay_out(voxels: np.ndarray, order: str) -> nibabel.Nifti1Image:
    """Return an image of canonical voxels whose file has its axes in another order."""
    ras, other = (nibabel.orientations.axcodes2ornt(codes) for codes in ("RAS", order))
    image = nibabel.Nifti1Image(voxels, AFFINE)
    return image.as_reoriented(nibabel.orientations.ornt_transform(ras, other))


def read(path: Path) -> np.ndarray:
    """Return the voxels as nibabel reads them, canonical."""
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


# Masks


def test_a_mask_by_eye(segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path) -> None:
    voxels, expected = chest()
    scan = Scan(save_nifti("ct.nii.gz", voxels, AFFINE))
    written = segmenter.segment(scan, tmp_path / "mask.nii.gz")
    assert written == [tmp_path / "mask.nii.gz"]
    image = nibabel.load(tmp_path / "mask.nii.gz")
    assert image.shape == voxels.shape
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, nibabel.load(scan.path).affine)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("RAS", id="RAS, as thorax has it"),
        pytest.param("LPS", id="LPS, as DICOM has it"),
        pytest.param("LPI", id="LPI, highest plane first"),
        pytest.param("RAI", id="RAI, highest plane first"),
        pytest.param("SRA", id="SRA, planes fastest"),
        pytest.param("PIR", id="PIR, planes in the middle and turned"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_patient_has_one_mask_however_the_file_is_laid_out(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path, order: str, suffix: str
) -> None:
    """With 36 planes, more than two slabs and two batches."""
    voxels, expected = chest(36)
    voxels[6, 0, 30], expected[6, 0, 30] = 800, 2
    turned = lay_out(voxels, order)
    scan = save_nifti(f"ct{suffix}", np.asarray(turned.dataobj), turned.affine)
    mask = tmp_path / f"mask{suffix}"
    segmenter.segment(Scan(scan), mask)
    written = nibabel.load(mask)
    assert nibabel.aff2axcodes(written.affine) == tuple(order)
    assert written.shape == turned.shape
    assert written.affine == pytest.approx(turned.affine, abs=1e-4)
    np.testing.assert_array_equal(read(mask), expected)


@pytest.mark.parametrize("order", ["RAS", "LPI", "SRA"])
def test_a_stack_runs_from_the_feet_to_the_head_in_every_layout(
    save_nifti: SaveNifti, tmp_path: Path, order: str
) -> None:
    """A network that looks at the plane below moves the mask up by a plane."""
    lower = make_segmenter([[80], [0], [0]], [-20], regions={"body": (1,)})
    voxels, _ = chest()
    expected = np.zeros_like(voxels)
    expected[1:5, 2:8, 2:5] = 1
    turned = lay_out(voxels, order)
    scan = save_nifti("ct.nii.gz", np.asarray(turned.dataobj), turned.affine)
    lower.segment(Scan(scan), tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii.gz"), expected)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((16, 16), id="twice the canvas"),
        pytest.param((4, 4), id="half the canvas"),
        pytest.param((16, 8), id="not square"),
        pytest.param((1, 1), id="one voxel a plane"),
    ],
)
def test_planes_of_any_size_come_back_in_their_size(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path, size: tuple[int, int]
) -> None:
    """The canvas has 8 pixels a side. The front half of the plane is body."""
    voxels = np.full((*size, 1), -1000, np.int16)
    voxels[:, size[1] // 2 :] = 500
    segmenter.segment(Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels > 0)


def test_nothing_is_found_outside_the_body_crop(save_nifti: SaveNifti, tmp_path: Path) -> None:
    """A couch of bone lies beside the body; the network never sees it."""
    voxels = np.full((40, 40, 2), -1000, np.int16)
    voxels[8:32, 8:28] = 500
    voxels[:, 37] = 1000
    cropped = make_segmenter([[80, 80]], [-20, -60], canvas=28, crop="body")
    cropped.segment(Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels == 500)


def test_the_scan_may_be_an_8_bit_export(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    """0..255 stand for -500..1500 HU: 64 is 2 HU, 128 is 504 HU and 192 is 1006 HU."""
    _, expected = chest()
    exported = np.choose(expected, [64, 128, 192]).astype(np.uint8)
    scan = Scan(save_nifti("ct.nii", exported))
    segmenter.segment(scan, tmp_path / "mask.nii", domain=Domain((-500, 1500)))
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), expected)


# Probabilities and thresholds


@pytest.fixture
def graded() -> Segmenter:
    """Return a segmenter whose logit of one region is ``8·(HU / 1000) - 4``."""
    return make_segmenter([[8]], [-4], regions={"body": (1,)})


@pytest.fixture
def steps(save_nifti: SaveNifti) -> Scan:
    """Return a scan in which the probabilities are nearly 0, 1/5, 1/2 and 4/5.

    The logit of 1/5 is -1.386, which is 8·0.327 - 4, and so on.
    """
    voxels = np.full((SIDE, SIDE, 1), -1000, np.int16)
    voxels[2:6, 4:8, 0] = [[327, 327, 500, 500], [327, 327, 500, 500], [673] * 4, [673] * 4]
    return Scan(save_nifti("steps.nii.gz", voxels))


@pytest.mark.parametrize(
    ("threshold", "found"),
    [
        pytest.param(0.15, {327, 500, 673}, id="low"),
        pytest.param(0.3, {500, 673}, id="between"),
        pytest.param(0.5, {500, 673}, id="just reached counts"),
        pytest.param(0.7, {673}, id="high"),
        pytest.param(0.9, set(), id="too high"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_the_threshold_acts(
    steps: Scan, tmp_path: Path, threshold: float, found: set[int], own: bool
) -> None:
    """Whether it is the segmenter's own, or goes before that."""
    spec = {"regions": {"body": (1,)}, "threshold": threshold if own else 0.99}
    graded = make_segmenter([[8]], [-4], **spec)
    graded.segment(steps, tmp_path / "mask.nii", threshold=None if own else threshold)
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), np.isin(steps.voxels(), list(found)))


def test_a_segmenter_has_a_threshold_of_one_half_unless_told(graded: Segmenter) -> None:
    assert graded.spec.threshold == 0.5


def test_probabilities_are_written_beside_the_mask(
    graded: Segmenter, steps: Scan, tmp_path: Path
) -> None:
    """8 bits for 0..1: read by anyone, they are right to half of 1/255."""
    written = graded.segment(steps, tmp_path / "mask.nii.gz", probabilities=True)
    assert written == [tmp_path / "mask.nii.gz", tmp_path / "mask_body.nii.gz"]
    image = nibabel.load(written[1])
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, nibabel.load(steps.path).affine)
    found, hu = image.get_fdata(), nibabel.load(steps.path).get_fdata()
    for value, probability in ((327, 0.2), (500, 0.5), (673, 0.8)):
        assert found[hu == value] == pytest.approx(probability, abs=0.5 / 255 + 2e-4)
    assert found.min() >= 0
    assert found.max() <= 1


def test_each_region_has_its_own_probabilities(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    """The overshoot of the cubic interpolation is cut off: all is 0 to 1."""
    voxels = np.full((20, 20, 2), -1000, np.int16)
    voxels[2:18, 2:18] = 500
    voxels[6:14, 6:14] = 1000
    scan = Scan(save_nifti("ct.nii", voxels))
    written = segmenter.segment(scan, tmp_path / "out" / "mask.nii", probabilities=True)
    assert [path.name for path in written] == ["mask.nii", "mask_body.nii", "mask_bone.nii"]
    body, bone = (nibabel.load(path).get_fdata() for path in written[1:])
    assert body[4:16, 4:16].min() > 0.95
    assert bone[8:12, 8:12].min() > 0.95
    assert bone[4, 4].max() < 0.05
    for found in (body, bone):
        assert found.min() == 0
        assert found.max() == pytest.approx(1)


def test_a_name_that_is_no_nifti_is_refused_before_anything_is_written(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    scan = Scan(save_nifti("ct.nii", chest()[0]))
    with pytest.raises(InputError, match=r"must end in \.nii or \.nii\.gz, got .*mask\.png"):
        segmenter.segment(scan, tmp_path / "out" / "mask.png")
    assert not (tmp_path / "out").exists()


def test_a_scan_that_is_cut_short_leaves_no_mask(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    path = save_nifti("ct.nii", chest()[0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError):
        segmenter.segment(Scan(path), tmp_path / "out" / "mask.nii", probabilities=True)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_failure_in_the_middle_leaves_neither_mask_nor_probabilities(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    scan = Scan(save_nifti("ct.nii.gz", chest(40)[0]))

    def stop_after_one(spans: Any) -> Any:
        yield next(iter(spans))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segmenter.segment(
            scan, tmp_path / "out" / "mask.nii.gz", probabilities=True, watch=stop_after_one
        )
    assert not list((tmp_path / "out").iterdir())


# Saving and loading


def test_a_loaded_segmenter_gives_the_same_masks(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    segmenter.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.spec == segmenter.spec
    voxels, expected = chest()
    loaded.segment(Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), expected)


def test_all_of_a_spec_comes_back(tmp_path: Path) -> None:
    spec = {
        "crop": "body",
        "window_hu": (-1000.5, 400),
        # Not in the order of the alphabet: it is the order of the network's maps.
        "regions": {"nodule": (7,), "lung": (1, 2, 7), "airway": (5,)},
        "threshold": 0.35,
        "provenance": {"split": {"test": ["a", "b"]}, "loss": "dice", "versions": {"keras": "3"}},
    }
    made = make_segmenter([[1, 2, 3]] * 5, [0, 0, 0], **spec)
    made.save(tmp_path)
    loaded = load_spec(tmp_path)
    assert loaded == made.spec
    assert (loaded.canvas, loaded.context, loaded.crop) == (SIDE, 2, "body")
    assert (loaded.window.low_hu, loaded.window.high_hu) == (-1000.5, 400)
    assert list(loaded.regions) == ["nodule", "lung", "airway"]
    assert loaded.threshold == 0.35
    assert loaded.provenance == spec["provenance"]
    assert load(tmp_path).regions.names == ("nodule", "lung", "airway")


def test_saving_again_gives_equal_bytes(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock says, which Keras and zipfile ask: DVC compares bytes."""
    segmenter.save(tmp_path / "one")
    later = datetime.datetime(2033, 5, 18, 3, 33, 20)
    clock = SimpleNamespace(now=lambda: later)
    monkeypatch.setattr("keras.src.saving.saving_lib.datetime.datetime", clock)
    monkeypatch.setattr("time.time", later.timestamp)
    monkeypatch.setattr("time.localtime", lambda *_: later.timetuple())
    segmenter.save(tmp_path / "two")
    for name in ("model.keras", "spec.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "model.keras",
        "spec.json",
    ]


def test_saving_what_was_loaded_gives_equal_bytes(segmenter: Segmenter, tmp_path: Path) -> None:
    segmenter.save(tmp_path / "one")
    load(tmp_path / "one").save(tmp_path / "two")
    for name in ("model.keras", "spec.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_spec_is_for_people_too(segmenter: Segmenter, tmp_path: Path) -> None:
    segmenter.save(tmp_path)
    assert json.loads((tmp_path / "spec.json").read_text()) == {
        "canvas": 8,
        "crop": "none",
        "context": 0,
        "window_hu": [0, 1000],
        "regions": {"body": [1, 2], "bone": [2]},
        "threshold": 0.5,
        "provenance": {},
        "format": 1,
    }


def test_files_are_named_after_the_mask_and_the_regions(segmenter: Segmenter) -> None:
    spec = segmenter.spec
    mask = Path("out/p1.v2.nii")
    assert written_files(mask, spec, probabilities=False) == [mask]
    assert written_files(mask, spec, probabilities=True) == [
        mask,
        Path("out/p1.v2_body.nii"),
        Path("out/p1.v2_bone.nii"),
    ]


# Damage


@pytest.fixture
def saved(segmenter: Segmenter, tmp_path: Path) -> Path:
    """Return the folder of a segmenter."""
    segmenter.save(tmp_path / "model")
    return tmp_path / "model"


def change_spec(folder: Path, **changes: Any) -> None:
    """Set keys of a spec; None takes a key away."""
    content = json.loads((folder / "spec.json").read_text()) | changes
    left = {key: value for key, value in content.items() if value is not None}
    (folder / "spec.json").write_text(json.dumps(left))


def test_a_missing_model_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=f"there is no model in {tmp_path}; train one with `dvc repro`, or name one with "
        "--model",
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"canvas": None}, "key `canvas` is missing", id="a missing key"),
        pytest.param({"canvas": "big"}, "`canvas`: .* got 'big'", id="a wrong type"),
        pytest.param({"threshold": 1.5}, "`threshold`: .* less than 1, got 1.5", id="out of range"),
        pytest.param({"crop": "hands"}, "`crop`: .* got 'hands'", id="an unknown word"),
        pytest.param({"colour": 1}, "unknown key `colour`", id="an unknown key"),
    ],
)
def test_a_damaged_spec_is_told(saved: Path, changes: dict[str, Any], problem: str) -> None:
    change_spec(saved, **changes)
    with pytest.raises(InputError, match=rf"spec\.json is damaged: {problem}"):
        load(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", '"spec"'])
def test_a_spec_that_is_none_is_damaged(saved: Path, content: str) -> None:
    (saved / "spec.json").write_text(content)
    with pytest.raises(InputError, match=r"spec\.json is damaged: \S"):
        load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"format": 2}, id="the number alone"),
        pytest.param({"format": 2, "resample_mm": 1.0, "crop": None}, id="with what it brings"),
    ],
)
def test_a_newer_form_is_told(saved: Path, changes: dict[str, Any]) -> None:
    change_spec(saved, **changes)
    with pytest.raises(
        InputError,
        match=rf"{saved} was written by a newer thorax \(form 2, known: 1\); update thorax",
    ):
        load(saved)


def test_a_missing_network_is_told(saved: Path) -> None:
    (saved / "model.keras").unlink()
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load(saved)


def test_a_damaged_network_is_told(saved: Path) -> None:
    network = saved / "model.keras"
    network.write_bytes(network.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model .*model\.keras cannot be loaded: \S"):
        load(saved)


def test_the_spec_is_read_without_the_network(saved: Path) -> None:
    (saved / "model.keras").unlink()
    assert list(load_spec(saved).regions) == ["body", "bone"]
