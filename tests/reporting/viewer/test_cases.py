"""Cases of the viewer."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.reporting.viewer import make_viewer_case

from .chests import AFFINE, SHAPE, ball, in_memory

REGIONS = Regions({"lung": (1, 2), "lesion": (2,)})


def read(content: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def test_scan_and_masks_cover_the_same_box_around_the_body(chest: Scan, truth: Scan) -> None:
    case = make_viewer_case("a", chest, {"truth": truth}, REGIONS)
    scan, mask = read(case.scan), read(case.masks["truth"].labels)
    assert scan.shape[0] < SHAPE[0]
    assert scan.shape[2] == SHAPE[2]
    for corner in (-0.5, 1):
        ends = [
            [*(np.array(image.shape) * corner - 0.5 * (corner > 0)), 1] for image in (scan, mask)
        ]
        positions = [image.affine @ end for image, end in zip((scan, mask), ends, strict=True)]
        np.testing.assert_allclose(*positions, atol=1e-3)
    np.testing.assert_array_equal(np.unique(mask.dataobj), [0, 1, 2])
    assert np.count_nonzero(mask.dataobj) == np.count_nonzero(truth.voxels())


def test_the_start_is_in_the_last_region_of_the_first_mask(chest: Scan, truth: Scan) -> None:
    case = make_viewer_case("a", chest, {"truth": truth}, REGIONS)
    start = read(case.scan).affine @ [*(case.start * np.array(read(case.scan).shape) - 0.5), 1]
    np.testing.assert_allclose(start[:3], (AFFINE @ [50, 30, 14, 1])[:3], atol=4)
    assert make_viewer_case("a", chest, {}).start == (0.5, 0.5, 0.5)


def test_an_empty_region_has_no_surface(chest: Scan, truth: Scan) -> None:
    empty = in_memory(np.zeros(SHAPE, np.uint8), "empty.nii")
    case = make_viewer_case("a", chest, {"truth": truth, "predicted": empty}, REGIONS)
    assert list(case.masks) == ["truth", "predicted"]
    assert list(case.masks["truth"].surfaces) == ["lung", "lesion"]
    assert case.masks["predicted"].surfaces == {}
    parts = [case.scan, *(mask.labels for mask in case.masks.values())]
    parts += case.masks["truth"].surfaces.values()
    assert case.size_bytes == sum(map(len, parts))


def test_mask_voxels_outside_the_body_are_kept(chest: Scan) -> None:
    far = np.zeros(SHAPE, np.uint8)
    far[1, 54, 3] = 1
    case = make_viewer_case("a", chest, {"far": in_memory(far, "far.nii")})
    assert np.count_nonzero(read(case.masks["far"].labels).dataobj) == 1
    assert case.regions.labels == {"label_1": (1,)}


def test_windows_are_the_usual_ones_in_radiology(chest: Scan) -> None:
    lung, mediastinum = make_viewer_case("a", chest, {}).windows
    assert ((lung.low + lung.high) / 2, lung.high - lung.low) == (-600, 1500)
    assert ((mediastinum.low + mediastinum.high) / 2, mediastinum.high - mediastinum.low) == (
        40,
        400,
    )


def test_another_intensity_scale_is_detected_or_given(chest: Scan) -> None:
    shifted = in_memory(chest.voxels()[::-1, ::-1] + np.int16(1024), "shifted.nii")
    plain = make_viewer_case("a", in_memory(chest.voxels()[::-1, ::-1], "plain.nii"), {})
    detected = make_viewer_case("a", shifted, {})
    assert detected.scan == plain.scan
    assert any("1024" in note for note in detected.notes)
    assert (
        make_viewer_case("a", shifted, {}, intensity=IntensityScale(offset_hu=1024)).scan
        == plain.scan
    )


def test_an_unknown_scale_is_displayed_in_its_range() -> None:
    strength = np.random.default_rng(0).integers(200, 4000, SHAPE).astype(np.uint16)
    case = make_viewer_case("mr", in_memory(strength, "mr.nii"), {})
    (window,) = case.windows
    assert window.name == "Whole range"
    assert (window.low, window.high) == pytest.approx((200, 4000), abs=20)
    assert case.notes == (
        "Unknown intensity scale: the scan is displayed in the range of its values.",
    )
    assert read(case.scan).shape == SHAPE


def test_a_constant_scan_can_be_displayed() -> None:
    case = make_viewer_case("flat", in_memory(np.full(SHAPE, 7, np.uint8), "flat.nii"), {})
    assert np.asarray(read(case.scan).dataobj).ravel()[0] == 7


def test_a_mask_on_another_grid_is_rejected(chest: Scan, truth: Scan) -> None:
    moved = in_memory(ball((48, 28, 12), 20).astype(np.uint8), "moved.nii", AFFINE + np.eye(4) * 3)
    with pytest.raises(
        InputError, match=r"affine of its scan, but moved\.nii is up to \d+ mm away"
    ):
        make_viewer_case("a", chest, {"truth": truth, "moved": moved}, REGIONS)


def test_a_mask_a_small_part_of_a_voxel_away_is_put_on_the_scan(chest: Scan, truth: Scan) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 0.02
    near = in_memory(truth.to_stored(truth.voxels()), "near.nii", affine)
    case = make_viewer_case("a", chest, {"truth": truth, "near": near}, REGIONS)
    assert case.masks["near"].labels == case.masks["truth"].labels
    assert case.notes[-1].startswith("near.nii is up to 0.02 mm away from")


def test_empty_masks_without_named_regions_are_rejected(chest: Scan) -> None:
    empty = in_memory(np.zeros(SHAPE, np.uint8), "empty.nii")
    with pytest.raises(InputError, match=r"empty\.nii have 0; give --region$"):
        make_viewer_case("a", chest, {"empty": empty})


def test_equal_inputs_give_equal_cases(chest: Scan, truth: Scan) -> None:
    first, second = (make_viewer_case("a", chest, {"truth": truth}, REGIONS) for _ in range(2))
    assert first.scan == second.scan
    assert first.masks["truth"].labels == second.masks["truth"].labels
    assert first.masks["truth"].surfaces == second.masks["truth"].surfaces
