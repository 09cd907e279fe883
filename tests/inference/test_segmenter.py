"""Segmenters: saved, loaded, and run on scans whose masks are known by eye."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import HU, IntensityScale
from thorax.inference.measurements import RegionMeasurements
from thorax.inference.outputs import Bits, Watch, outputs_of, write_outputs
from thorax.inference.segmenter import Model, Segmenter
from thorax.io import Scan
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.spec import ExpectedDiceModel, ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]

SIDE = 8
REGIONS = {"body": (1, 2), "bone": (2,)}
AFFINE = np.array([[0.7, 0, 0, -20], [0, 0.7, 0, 30], [0, 0, 2.5, -5], [0, 0, 0, 1.0]])


def make_segmenter(weights: Any, biases: Any, **spec: Any) -> Segmenter:
    """Return a segmenter whose logits are ``stack @ weights + biases``; the window is 0..1000."""
    context = (len(weights) - 1) // 2
    known = {"canvas": SIDE, "crop": "none", "window_hu": (0, 1000), "regions": REGIONS}
    engine = KerasEngine(pointwise(weights, biases, canvas=spec.get("canvas", SIDE)))
    return Segmenter([Model(ModelSpec(context=context, **known | spec), engine, "0" * 64)])


def segment(
    segmenter: Segmenter,
    scan: Scan,
    mask: Path,
    *,
    domain: IntensityScale | None = HU,
    threshold: float | None = None,
    bits: Bits = 0,
    watch: Watch = iter,
) -> list[Path]:
    """Segment a scan as `thorax predict` does, and return the files written."""
    found = segmenter.find(segmenter.open(scan, domain=domain), threshold=threshold)
    outputs = outputs_of(mask, segmenter.regions.names, bits=bits)
    write_outputs(found, outputs, watch=watch)
    return list(outputs.files)


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
    written = segment(segmenter, scan, tmp_path / "mask.nii.gz")
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
    segment(segmenter, Scan(scan), mask)
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
    segment(lower, Scan(scan), tmp_path / "mask.nii.gz")
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
    segment(segmenter, Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels > 0)


def test_nothing_is_found_outside_the_body_crop(save_nifti: SaveNifti, tmp_path: Path) -> None:
    """A couch of bone lies beside the body; the network never sees it."""
    voxels = np.full((40, 40, 2), -1000, np.int16)
    voxels[8:32, 8:28] = 500
    voxels[:, 37] = 1000
    cropped = make_segmenter([[80, 80]], [-20, -60], canvas=28, crop="body")
    segment(cropped, Scan(save_nifti("ct.nii", voxels)), tmp_path / "mask.nii")
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), voxels == 500)


def test_the_scan_may_be_an_8_bit_export(
    segmenter: Segmenter, save_nifti: SaveNifti, tmp_path: Path
) -> None:
    """0..255 stand for -500..1500 HU: 64 is 2 HU, 128 is 504 HU and 192 is 1006 HU."""
    _, expected = chest()
    exported = np.choose(expected, [64, 128, 192]).astype(np.uint8)
    scan = Scan(save_nifti("ct.nii", exported))
    segment(segmenter, scan, tmp_path / "mask.nii", domain=IntensityScale((-500, 1500)))
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
    segment(graded, steps, tmp_path / "mask.nii", threshold=None if own else threshold)
    np.testing.assert_array_equal(read(tmp_path / "mask.nii"), np.isin(steps.voxels(), list(found)))


KNOWN = ExpectedDiceModel(5, bias=0.1, error=0.05, least_certainty=0.5)


def expecting(**known: Any) -> Segmenter:
    """Return `graded`, with what its certainty stood for on held-out cases."""
    return make_segmenter(
        [[8]], [-4], regions={"body": (1,)}, expected_dice={"body": KNOWN}, **known
    )


def test_the_dice_to_expect_follows_from_the_certainty(steps: Scan) -> None:
    segmenter = expecting()
    found = segmenter.find(segmenter.open(steps, domain=HU))
    (doubt,) = found.quality
    assert doubt.certainty is not None
    assert found.expected_dice == {"body": KNOWN.dice(doubt.certainty)}
    volumes = RegionMeasurements(found.regions.names, steps.grid)
    assert found.statistics(volumes)["expected_dice"] == {
        "body": asdict(KNOWN.dice(doubt.certainty))
    }


def test_what_was_learnt_holds_for_the_use_that_it_was_learnt_of_alone(steps: Scan) -> None:
    """Another threshold, variants and ensembles have certainties of their own."""
    segmenter = expecting()
    opened = segmenter.open(steps, domain=HU)
    assert segmenter.find(opened, threshold=0.4).expected_dice == {}
    two = [*segmenter.models, *segmenter.models]
    for other in (Segmenter(segmenter.models, tta=True), Segmenter(two)):
        assert other.find(opened).expected_dice == {}


def test_where_nothing_is_found_nothing_is_expected(save_nifti: SaveNifti) -> None:
    segmenter = expecting()
    air = Scan(save_nifti("air.nii.gz", np.full((SIDE, SIDE, 2), -1000, np.int16)))
    assert segmenter.find(segmenter.open(air, domain=HU)).expected_dice == {}


def test_a_segmenter_has_a_threshold_of_one_half_unless_told(graded: Segmenter) -> None:
    assert graded.spec.threshold == 0.5


def test_probabilities_are_written_beside_the_mask(
    graded: Segmenter, steps: Scan, tmp_path: Path
) -> None:
    """8 bits for 0..1: read by anyone, they are right to half of 1/255."""
    written = segment(graded, steps, tmp_path / "mask.nii.gz", bits=8)
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
    written = segment(segmenter, scan, tmp_path / "out" / "mask.nii", bits=8)
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
    with pytest.raises(InputError, match=r"must end in .*, got .*mask\.png"):
        segment(segmenter, scan, tmp_path / "out" / "mask.png")
    assert not (tmp_path / "out").exists()


def test_a_scan_that_is_cut_short_leaves_no_mask(
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

    def stop_after_one(spans: Any) -> Any:
        yield next(iter(spans))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(segmenter, scan, tmp_path / "out" / "mask.nii.gz", bits=8, watch=stop_after_one)
    assert not list((tmp_path / "out").iterdir())
