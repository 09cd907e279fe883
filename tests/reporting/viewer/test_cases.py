"""What a page shows of a case."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.reporting.viewer import LUNG, MEDIASTINUM, make_viewer_case

from .chests import AFFINE, SHAPE, ball, in_memory

REGIONS = Regions({"lung": (1, 2), "lesion": (2,)})


def read(content: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def test_scan_and_masks_fill_the_same_box_around_the_body(chest: Scan, truth: Scan) -> None:
    shown = make_viewer_case("a", chest, {"truth": truth}, REGIONS)
    scan, mask = read(shown.scan), read(shown.masks["truth"].labels)
    assert scan.shape[0] < SHAPE[0]
    assert scan.shape[2] == SHAPE[2]
    for corner in (-0.5, 1):
        ends = [[*(np.array(one.shape) * corner - 0.5 * (corner > 0)), 1] for one in (scan, mask)]
        there = [one.affine @ end for one, end in zip((scan, mask), ends, strict=True)]
        np.testing.assert_allclose(*there, atol=1e-3)
    np.testing.assert_array_equal(np.unique(mask.dataobj), [0, 1, 2])
    assert np.count_nonzero(mask.dataobj) == np.count_nonzero(truth.voxels())


def test_it_starts_in_the_last_region_that_the_first_mask_shows(chest: Scan, truth: Scan) -> None:
    shown = make_viewer_case("a", chest, {"truth": truth}, REGIONS)
    place = read(shown.scan).affine @ [*(shown.start * np.array(read(shown.scan).shape) - 0.5), 1]
    np.testing.assert_allclose(place[:3], (AFFINE @ [50, 30, 14, 1])[:3], atol=4)
    assert make_viewer_case("a", chest, {}).start == (0.5, 0.5, 0.5)


def test_a_region_that_is_not_there_has_no_surface(chest: Scan, truth: Scan) -> None:
    empty = in_memory(np.zeros(SHAPE, np.uint8), "empty.nii")
    shown = make_viewer_case("a", chest, {"truth": truth, "predicted": empty}, REGIONS)
    assert list(shown.masks) == ["truth", "predicted"]
    assert list(shown.masks["truth"].surfaces) == ["lung", "lesion"]
    assert shown.masks["predicted"].surfaces == {}
    held = [shown.scan, *(mask.labels for mask in shown.masks.values())]
    held += shown.masks["truth"].surfaces.values()
    assert shown.size_bytes == sum(map(len, held))


def test_what_a_mask_shows_outside_the_body_is_kept(chest: Scan) -> None:
    far = np.zeros(SHAPE, np.uint8)
    far[1, 54, 3] = 1
    shown = make_viewer_case("a", chest, {"far": in_memory(far, "far.nii")})
    assert np.count_nonzero(read(shown.masks["far"].labels).dataobj) == 1
    assert shown.regions.labels == {"label_1": (1,)}


def test_windows_are_those_of_radiology(chest: Scan) -> None:
    assert make_viewer_case("a", chest, {}).windows == (LUNG, MEDIASTINUM)
    assert (LUNG.low + LUNG.high) / 2, LUNG.high - LUNG.low == (-600, 1500)
    assert (MEDIASTINUM.low + MEDIASTINUM.high) / 2 == 40
    assert MEDIASTINUM.high - MEDIASTINUM.low == 400


def test_another_domain_is_found_out_or_given(chest: Scan) -> None:
    shifted = in_memory(chest.voxels()[::-1, ::-1] + np.int16(1024), "shifted.nii")
    plain = make_viewer_case("a", in_memory(chest.voxels()[::-1, ::-1], "plain.nii"), {})
    found = make_viewer_case("a", shifted, {})
    assert found.scan == plain.scan
    assert any("1024" in note for note in found.notes)
    assert (
        make_viewer_case("a", shifted, {}, domain=IntensityScale(offset_hu=1024)).scan == plain.scan
    )


def test_what_is_no_ct_is_shown_in_its_own_range() -> None:
    strength = np.random.default_rng(0).integers(200, 4000, SHAPE).astype(np.uint16)
    shown = make_viewer_case("mr", in_memory(strength, "mr.nii"), {})
    (window,) = shown.windows
    assert window.name == "Whole range"
    assert (window.low, window.high) == pytest.approx((200, 4000), abs=20)
    assert shown.notes == (
        "The values of this scan were not recognised as HU: it is shown in their own range.",
    )
    assert read(shown.scan).shape == SHAPE


def test_one_value_alone_can_be_shown() -> None:
    shown = make_viewer_case("flat", in_memory(np.full(SHAPE, 7, np.uint8), "flat.nii"), {})
    assert np.asarray(read(shown.scan).dataobj).ravel()[0] == 7


def test_a_mask_on_another_grid_is_refused(chest: Scan, truth: Scan) -> None:
    moved = in_memory(ball((48, 28, 12), 20).astype(np.uint8), "moved.nii", AFFINE + np.eye(4) * 3)
    with pytest.raises(InputError, match=r"affine of its scan, but moved\.nii lies elsewhere"):
        make_viewer_case("a", chest, {"truth": truth, "moved": moved}, REGIONS)


def test_empty_masks_without_named_regions_are_refused(chest: Scan) -> None:
    empty = in_memory(np.zeros(SHAPE, np.uint8), "empty.nii")
    with pytest.raises(InputError, match=r"empty\.nii show 0; give --region$"):
        make_viewer_case("a", chest, {"empty": empty})


def test_equal_cases_are_equal_exhibits(chest: Scan, truth: Scan) -> None:
    first, second = (make_viewer_case("a", chest, {"truth": truth}, REGIONS) for _ in range(2))
    assert first.scan == second.scan
    assert first.masks["truth"].labels == second.masks["truth"].labels
    assert first.masks["truth"].surfaces == second.masks["truth"].surfaces
