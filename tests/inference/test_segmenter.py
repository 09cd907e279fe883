"""Segmenters, run on scans whose masks can be checked by eye."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU, IntensityScale
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.outputs import Bits, Progress, name_outputs, write_outputs
from thorax.inference.segmenter import Model, Segmenter, load
from thorax.io import PlaneWriter, Scan
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.keras_file import save_trained
from thorax.models.spec import ExpectedDiceModel, ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]

SIDE = 8
REGIONS = {"body": (1, 2), "bone": (2,)}
AFFINE = np.array([[0.7, 0, 0, -20], [0, 0.7, 0, 30], [0, 0, 2.5, -5], [0, 0, 0, 1.0]])


def make_segmenter(weights: Any, biases: Any, **spec: Any) -> Segmenter:
    """Return a segmenter whose logits are ``stack @ weights + biases``; the window is 0..1000."""
    context = (len(weights) - 1) // 2
    defaults = {"canvas": SIDE, "crop": "none", "window_hu": (0, 1000), "regions": REGIONS}
    model_spec = ModelSpec(context=context, **defaults | spec)
    engine = KerasEngine(pointwise(weights, biases, canvas=model_spec.canvas), model_spec.window)
    return Segmenter([Model(model_spec, engine, "0" * 64)])


def segment(
    segmenter: Segmenter,
    scan: Scan,
    mask: Path,
    *,
    intensity: IntensityScale | None = HU,
    threshold: float | None = None,
    bits: Bits = 0,
    progress: Progress = iter,
) -> list[Path]:
    """Segment a scan as `thorax predict` does, and return the files written."""
    preprocessed = segmenter.preprocess(scan, intensity=intensity)
    prediction = segmenter.predict(preprocessed, threshold=threshold)
    outputs = name_outputs(mask, segmenter.regions.names, bits=bits)
    write_outputs(prediction, outputs, progress=progress)
    return list(outputs.files)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """Return a segmenter with 250 HU as the threshold of body and 750 HU as that of bone."""
    return make_segmenter([[80, 80]], [-20, -60])


def chest(depth: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return a scan and its mask: a box of body with bone inside."""
    voxels = np.full((SIDE, SIDE, depth), -1000, np.int16)
    voxels[1:5, 2:8, 1:4] = 500
    voxels[2, 3:5, 3] = 1000
    mask = np.zeros((SIDE, SIDE, depth), np.uint8)
    mask[1:5, 2:8, 1:4] = 1
    mask[2, 3:5, 3] = 2
    return voxels, mask


def lay_out(voxels: np.ndarray, order: str) -> nibabel.Nifti1Image:
    """Return an image of canonical voxels with another axis order in its file."""
    ras, other = (nibabel.orientations.axcodes2ornt(codes) for codes in ("RAS", order))
    image = nibabel.Nifti1Image(voxels, AFFINE)
    return image.as_reoriented(nibabel.orientations.ornt_transform(ras, other))


def read(path: Path) -> np.ndarray:
    """Return the voxels as read by nibabel, canonical."""
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


# Models


def test_the_digest_of_a_trained_model_depends_on_its_network_and_its_spec(tmp_path: Path) -> None:
    spec = ModelSpec(SIDE, "none", 0, (0, 1000), {"lung": (1,)})
    one, other = (pointwise([[80]], [bias], canvas=SIDE) for bias in (-20, -30))
    trained = [(one, 0.5), (one, 0.5), (one, 0.4), (other, 0.5)]
    digests = []
    for number, (network, threshold) in enumerate(trained):
        save_trained(tmp_path / str(number), network, replace(spec, threshold=threshold))
        digests.append(load(tmp_path / str(number)).digest)
    assert digests[0] == digests[1]
    assert len(set(digests[1:])) == 3


# All files or none


EVERY = ("ct.json", "ct.nii.gz", "ct.png", "ct_body.nii.gz", "ct_bone.nii.gz")


def write_every_file(segmenter: Segmenter, scan: Scan, mask: Path) -> None:
    prediction = segmenter.predict(segmenter.preprocess(scan, intensity=HU))
    names = segmenter.regions.names
    write_outputs(prediction, name_outputs(mask, names, bits=8, statistics=True, preview=True))


def test_every_file_is_written(segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path) -> None:
    scan = Scan(save_nifti("scan.nii.gz", chest()[0], AFFINE))
    write_every_file(segmenter, scan, tmp_path / "out/ct.nii.gz")
    assert tuple(sorted(path.name for path in (tmp_path / "out").iterdir())) == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_no_file_is_written_if_one_cannot_be(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path, name: str
) -> None:
    scan = Scan(save_nifti("scan.nii.gz", chest()[0], AFFINE))
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"cannot write .*out/{name}: a folder has that name"):
        write_every_file(segmenter, scan, tmp_path / "out/ct.nii.gz")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("mask", ["ct.nii.gz", "ct.nrrd"])
@pytest.mark.parametrize("order", ["RAS", "SRA"])
def test_no_file_is_written_if_the_mask_is_not_complete(
    segmenter: Segmenter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    mask: str,
) -> None:
    nibabel.save(lay_out(chest()[0], order), tmp_path / "scan.nii.gz")
    (tmp_path / "out").mkdir()
    finish, calls = PlaneWriter.finish, list[PlaneWriter]()

    def fail_at_the_last(writer: PlaneWriter) -> None:
        calls.append(writer)
        if len(calls) == 3:  # body, bone, and the mask
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(writer)

    monkeypatch.setattr(PlaneWriter, "finish", fail_at_the_last)
    with pytest.raises(InputError, match=rf"cannot write {tmp_path}/out/{mask}: No space left"):
        write_every_file(segmenter, Scan(tmp_path / "scan.nii.gz"), tmp_path / "out" / mask)
    assert not list((tmp_path / "out").iterdir())


# Masks


def test_a_mask_is_on_the_grid_of_the_scan(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    voxels, expected = chest()
    scan = Scan(save_nifti("ct.nii.gz", voxels, AFFINE))
    written = segment(segmenter, scan, tmp_path / "mask.nii.gz")
    assert written == [tmp_path / "mask.nii.gz"]
    image = nibabel.load(tmp_path / "mask.nii.gz")
    assert image.shape == voxels.shape
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, nibabel.load(scan.path).affine)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)


@pytest.mark.parametrize("labels", [(1, 2, 3), (2, 1, 3), (3, 1, 2)])
def test_side_labels_divide_the_lung_into_right_and_left(
    save_nifti: SaveNifti, tmp_path: Path, labels: tuple[int, ...]
) -> None:
    """Voxels 0 to 2 along x are the patient's left, 5 to 7 the right; a lesion keeps its label."""
    voxels = np.full((SIDE, SIDE, 5), -1000, np.int16)
    voxels[0:3], voxels[5:8] = 500, 500
    voxels[1, 4, 2] = 1000
    two_lungs = make_segmenter(
        [[80, 80]],
        [-20, -60],
        regions={"lung": labels, "lesion": (3,)},
        side_labels={"right": 1, "left": 2},
    )
    scan = Scan(save_nifti("ct.nii.gz", voxels, AFFINE))
    segment(two_lungs, scan, tmp_path / "mask.nii.gz")
    mask = read(tmp_path / "mask.nii.gz")
    assert np.unique(mask[5:8]).tolist() == [1]
    assert np.unique(mask[3:5]).tolist() == [0]
    assert mask[1, 4, 2] == 3
    mask[1, 4, 2] = 2
    assert np.unique(mask[0:3]).tolist() == [2]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("RAS", id="RAS, as in thorax"),
        pytest.param("LPS", id="LPS, as in DICOM"),
        pytest.param("LPI", id="LPI, highest slice first"),
        pytest.param("RAI", id="RAI, highest slice first"),
        pytest.param("SRA", id="SRA, slices fastest"),
        pytest.param("PIR", id="PIR, slices second and reversed"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_mask_does_not_depend_on_the_axis_order_of_the_file(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path, order: str, suffix: str
) -> None:
    """36 slices are more than two slabs and two batches."""
    voxels, expected = chest(36)
    voxels[6, 0, 30], expected[6, 0, 30] = 800, 2
    reordered = lay_out(voxels, order)
    scan = save_nifti(f"ct{suffix}", np.asarray(reordered.dataobj), reordered.affine)
    mask = tmp_path / f"mask{suffix}"
    segment(segmenter, Scan(scan), mask)
    written = nibabel.load(mask)
    assert nibabel.aff2axcodes(written.affine) == tuple(order)
    assert written.shape == reordered.shape
    assert written.affine == pytest.approx(reordered.affine, abs=1e-4)
    np.testing.assert_array_equal(read(mask), expected)


@pytest.mark.parametrize("order", ["RAS", "LPI", "SRA"])
def test_stacks_run_from_feet_to_head_for_every_axis_order(
    save_nifti: SaveNifti, tmp_path: Path, order: str
) -> None:
    """A network that segments the slice below moves the mask up by one slice."""
    lower = make_segmenter([[80], [0], [0]], [-20], regions={"body": (1,)})
    voxels, _ = chest()
    expected = np.zeros_like(voxels)
    expected[1:5, 2:8, 2:5] = 1
    reordered = lay_out(voxels, order)
    scan = save_nifti("ct.nii.gz", np.asarray(reordered.dataobj), reordered.affine)
    segment(lower, Scan(scan), tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii.gz"), expected)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((16, 16), id="twice the canvas"),
        pytest.param((4, 4), id="half the canvas"),
        pytest.param((16, 8), id="not square"),
        pytest.param((1, 1), id="one voxel per slice"),
    ],
)
def test_slices_of_any_size_are_restored_to_their_size(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path, size: tuple[int, int]
) -> None:
    """The canvas has 8 pixels per side. The front half of the slice is body."""
    voxels = np.full((*size, 1), -1000, np.int16)
    voxels[:, size[1] // 2 :] = 500
    segment(segmenter, Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels > 0)


def test_the_mask_is_empty_outside_the_body_crop(save_nifti: SaveNifti, tmp_path: Path) -> None:
    """A couch as dense as bone is outside the crop, so the network never sees it."""
    voxels = np.full((40, 40, 2), -1000, np.int16)
    voxels[8:32, 8:28] = 500
    voxels[:, 37] = 1000
    cropped = make_segmenter([[80, 80]], [-20, -60], canvas=28, crop="body")
    segment(cropped, Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels == 500)


def test_8_bit_exports_are_segmented(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    """0..255 stand for -500..1500 HU: 64 is 2 HU, 128 is 504 HU and 192 is 1006 HU."""
    _, expected = chest()
    exported = np.choose(expected, [64, 128, 192]).astype(np.uint8)
    scan = Scan(save_nifti("ct.nii", exported))
    segment(segmenter, scan, tmp_path / "mask.nii", intensity=IntensityScale((-500, 1500)))
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), expected)


# Probabilities and thresholds


@pytest.fixture
def graded() -> Segmenter:
    """Return a segmenter whose logit of one region is ``8·(HU / 1000) - 4``."""
    return make_segmenter([[8]], [-4], regions={"body": (1,)})


@pytest.fixture
def steps(save_nifti: SaveNifti) -> Scan:
    """Return a scan with probabilities of nearly 0, 1/5, 1/2 and 4/5.

    The logit of 1/5 is -1.386, which is 8·0.327 - 4, and so on.
    """
    voxels = np.full((SIDE, SIDE, 1), -1000, np.int16)
    voxels[2:6, 4:8, 0] = [[327, 327, 500, 500], [327, 327, 500, 500], [673] * 4, [673] * 4]
    return Scan(save_nifti("steps.nii.gz", voxels))


@pytest.mark.parametrize(
    ("threshold", "segmented_hu"),
    [
        pytest.param(0.15, {327, 500, 673}, id="low"),
        pytest.param(0.3, {500, 673}, id="between"),
        pytest.param(0.5, {500, 673}, id="equal is inside"),
        pytest.param(0.7, {673}, id="high"),
        pytest.param(0.9, set(), id="too high"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_thresholds(
    steps: Scan, tmp_path: Path, threshold: float, segmented_hu: set[int], own: bool
) -> None:
    """The threshold of the model, and one that replaces it."""
    spec = {"regions": {"body": (1,)}, "threshold": threshold if own else 0.99}
    graded = make_segmenter([[8]], [-4], **spec)
    segment(graded, steps, tmp_path / "mask.nii", threshold=None if own else threshold)
    np.testing.assert_array_equal(
        read(tmp_path / "mask.nii"), np.isin(steps.voxels(), list(segmented_hu))
    )


FIT = ExpectedDiceModel(5, bias=0.1, half_width=0.05, least_certainty=0.5)


def with_expected_dice() -> Segmenter:
    """Return `graded` with a fit of its expected Dice."""
    return make_segmenter([[8]], [-4], regions={"body": (1,)}, expected_dice={"body": FIT})


def test_the_expected_dice_follows_from_the_certainty(steps: Scan) -> None:
    segmenter = with_expected_dice()
    prediction = segmenter.predict(segmenter.preprocess(steps, intensity=HU))
    (scores,) = prediction.quality
    assert scores.certainty is not None
    dice = min(scores.certainty + 0.1, 1.0)
    assert prediction.expected_dice["body"].dice == pytest.approx(dice, abs=1e-4)
    measurements = RegionMeasurements(prediction.regions.names, steps.grid)
    statistics = prediction.statistics(measurements)
    assert statistics.expected_dice == prediction.expected_dice
    assert statistics.as_dict()["expected_dice"]["body"]["dice"] == pytest.approx(dice, abs=1e-4)


def test_other_uses_of_the_model_have_no_expected_dice(steps: Scan) -> None:
    """The fit does not apply to another threshold, test-time augmentation or an ensemble."""
    segmenter = with_expected_dice()
    preprocessed = segmenter.preprocess(steps, intensity=HU)
    assert segmenter.predict(preprocessed, threshold=0.4).expected_dice == {}
    two = [*segmenter.models, *segmenter.models]
    for other in (Segmenter(segmenter.models, tta=True), Segmenter(two)):
        assert other.predict(preprocessed).expected_dice == {}


@pytest.mark.parametrize(("logit", "threshold"), [(1.05, 0.5), (40, 0.7)])
def test_augmentation_keeps_a_body_that_the_field_of_view_truncates(
    save_nifti: SaveNifti, logit: float, threshold: float
) -> None:
    """The probability is 0.74 or 1 everywhere; shifted copies lack pixels on two sides."""
    flat = make_segmenter([[0]], [logit], regions={"body": (1,)})
    augmented = Segmenter(flat.models, tta=True)
    scan = Scan(save_nifti("ct.nii", np.zeros((SIDE, SIDE, 2), np.int16)))
    preprocessed = augmented.preprocess(scan, intensity=HU)
    prediction = augmented.predict(preprocessed, threshold=threshold)
    assert (prediction.probabilities >= threshold).all()
    assert prediction.quality[0].agreement == 1


def test_an_empty_region_has_no_expected_dice(save_nifti: SaveNifti) -> None:
    segmenter = with_expected_dice()
    air = Scan(save_nifti("air.nii.gz", np.full((SIDE, SIDE, 2), -1000, np.int16)))
    preprocessed = segmenter.preprocess(air, intensity=HU)
    assert segmenter.predict(preprocessed).expected_dice == {}


def test_the_default_threshold_is_one_half(graded: Segmenter) -> None:
    assert graded.spec.threshold == 0.5


def test_probabilities_are_written_next_to_the_mask(
    graded: Segmenter, steps: Scan, tmp_path: Path
) -> None:
    """With 8 bits for 0..1, values read by nibabel are exact to half of 1/255."""
    written = segment(graded, steps, tmp_path / "mask.nii.gz", bits=8)
    assert written == [tmp_path / "mask.nii.gz", tmp_path / "mask_body.nii.gz"]
    image = nibabel.load(written[1])
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(image.affine, nibabel.load(steps.path).affine)
    probabilities, hu = image.get_fdata(), nibabel.load(steps.path).get_fdata()
    for value, probability in ((327, 0.2), (500, 0.5), (673, 0.8)):
        assert probabilities[hu == value] == pytest.approx(probability, abs=0.5 / 255 + 2e-4)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


def test_each_region_has_its_own_probabilities(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    """The overshoot of cubic interpolation is clipped to 0 to 1."""
    voxels = np.full((20, 20, 2), -1000, np.int16)
    voxels[2:18, 2:18] = 500
    voxels[6:14, 6:14] = 1000
    scan = Scan(save_nifti("ct.nii", voxels))
    written = segment(segmenter, scan, tmp_path / "out" / "mask.nii", bits=8)
    assert [path.name for path in written] == ["mask.nii", "mask_body.nii", "mask_bone.nii"]
    body, bone = (nibabel.load(path).get_fdata() for path in written[1:])
    assert body[4:16, 4:16].min() > 0.95
    assert bone[8:12, 8:12].min() > 0.95
    assert bone[4, 4].max() < 0.05
    for probabilities in (body, bone):
        assert probabilities.min() == 0
        assert probabilities.max() == pytest.approx(1)


def test_an_invalid_suffix_is_rejected_before_anything_is_written(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    scan = Scan(save_nifti("ct.nii", chest()[0]))
    with pytest.raises(InputError, match=r"must end in .*, got .*mask\.png"):
        segment(segmenter, scan, tmp_path / "out" / "mask.png")
    assert not (tmp_path / "out").exists()


def test_a_truncated_scan_leaves_no_mask(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    path = save_nifti("ct.nii", chest()[0])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError):
        segment(segmenter, Scan(path), tmp_path / "out" / "mask.nii", bits=8)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_failure_in_the_middle_leaves_neither_mask_nor_probabilities(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    scan = Scan(save_nifti("ct.nii.gz", chest(40)[0]))

    def stop_after_one(slabs: Any) -> Any:
        yield next(iter(slabs))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(segmenter, scan, tmp_path / "out" / "mask.nii.gz", bits=8, progress=stop_after_one)
    assert not list((tmp_path / "out").iterdir())
