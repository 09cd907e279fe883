"""Volumes, densities and extents of regions, measured slab by slab."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thorax.imaging.grid import Grid
from thorax.inference.measurements import RegionMeasurements
from thorax.io import Scan

NAMES = ("lung", "infection")
SPACED = np.diag([2.0, 4.0, 5.0, 1.0])


def measure(
    hu: np.ndarray,
    masks: np.ndarray,
    sides: np.ndarray | None = None,
    *,
    affine: np.ndarray = SPACED,
    cuts: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Return the JSON content for a scan that is added in slabs, the last first."""
    depth, x, y = hu.shape
    measurements = RegionMeasurements(NAMES[: len(masks)], Grid((x, y, depth), affine))
    edges = sorted({0, depth, *cuts})
    for start, stop in reversed(list(pairwise(edges))):
        part = None if sides is None else sides[start:stop]
        measurements.add(start, hu[start:stop], masks[:, start:stop], part)
    return json.loads(json.dumps(measurements.result().as_dict(), allow_nan=False))


# Literals


def test_a_scan_of_six_voxels() -> None:
    hu = np.array([[[-1000, -900], [-400, 40]], [[-951, -950], [0, 0]]], np.int16)
    lung = np.array([[[1, 1], [1, 0]], [[1, 1], [0, 0]]], bool)
    sides = np.array([[[2, 2], [1, 0]], [[2, 2], [0, 0]]], np.uint8)
    statistics = measure(hu, lung[None], sides)
    assert (statistics["shape"], statistics["spacing_mm"]) == ([2, 2, 2], [2.0, 4.0, 5.0])
    assert statistics["voxel_ml"] == pytest.approx(0.04)
    whole, right, left = (
        statistics["regions"]["lung"][part] for part in ("whole", "right", "left")
    )
    assert (whole["voxels"], right["voxels"], left["voxels"]) == (5, 1, 4)
    assert whole["volume_ml"] == pytest.approx(0.2)
    assert whole["mean_hu"] == pytest.approx(-840.2)
    assert whole["percentiles_hu"] == {"5": -1000, "50": -950, "95": -400}
    assert whole["low_attenuation_share"] == pytest.approx(2 / 5)
    assert whole["high_attenuation_share"] == pytest.approx(1 / 5)
    assert left["low_attenuation_share"] == pytest.approx(2 / 4)
    assert (right["mean_hu"], right["sd_hu"]) == (-400, 0)
    assert left["box_voxels"] == [[0, 0, 0], [0, 1, 1]]
    assert right["box_voxels"] == [[1, 0, 0], [1, 0, 0]]
    assert "share_of_lung" not in whole


def test_boxes_in_mm_extend_to_the_outer_edges_of_voxels() -> None:
    """The centre of voxel 0 is at (-10, 20, 30); voxels are 2×4×5 mm."""
    affine = SPACED.copy()
    affine[:3, 3] = -10, 20, 30
    mask = np.zeros((1, 4, 5, 6), bool)
    mask[0, 1:3, 2:4, 3:6] = True
    whole = measure(np.zeros((4, 5, 6), np.int16), mask, affine=affine)["regions"]["lung"]["whole"]
    assert whole["box_voxels"] == [[2, 3, 1], [3, 5, 2]]
    assert whole["box_mm"] == [[-7, 30, 32.5], [-3, 42, 42.5]]


def test_the_box_in_mm_of_a_tilted_scan_contains_all_corners() -> None:
    cos, sin = np.cos(0.3), np.sin(0.3)
    tilted = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    mask = np.ones((1, 1, 1, 1), bool)
    whole = measure(np.zeros((1, 1, 1), np.int16), mask, affine=tilted)["regions"]["lung"]["whole"]
    half = (cos + sin) / 2
    assert np.allclose(whole["box_mm"], [[-0.5, -half, -half], [0.5, half, half]])


@pytest.mark.parametrize(
    ("voxel", "faces"),
    [
        ((2, 2, 2), []),
        ((0, 2, 2), ["left"]),
        ((4, 2, 2), ["right"]),
        ((2, 0, 2), ["back"]),
        ((2, 4, 2), ["front"]),
        ((2, 2, 0), ["feet"]),
        ((2, 2, 4), ["head"]),
        ((4, 0, 4), ["right", "back", "head"]),
    ],
)
def test_faces_of_the_field_of_view(voxel: tuple[int, int, int], faces: list[str]) -> None:
    x, y, z = voxel
    mask = np.zeros((1, 5, 5, 5), bool)
    mask[0, z, x, y] = True
    statistics = measure(np.zeros((5, 5, 5), np.int16), mask)
    assert statistics["regions"]["lung"]["whole"]["touches"] == faces


def test_the_share_of_the_first_region() -> None:
    """Four voxels of lung; two of infection in the right lung, and one outside."""
    masks = np.array([[[[1, 1, 1, 1, 0, 0]]], [[[1, 1, 0, 0, 0, 1]]]], bool)
    sides = np.array([[[1, 1, 1, 2, 0, 0]]], np.uint8)
    parts = measure(np.zeros((1, 1, 6), np.int16), masks, sides)["regions"]["infection"]
    assert parts["whole"]["voxels"] == 3
    shares = {name: part["share_of_lung"] for name, part in parts.items()}
    assert shares == {"whole": 1 / 2, "right": pytest.approx(2 / 3), "left": 0}


def test_without_sides_only_the_whole_is_measured() -> None:
    statistics = measure(np.zeros((1, 2, 2), np.int16), np.ones((2, 1, 2, 2), bool))
    assert {name: list(parts) for name, parts in statistics["regions"].items()} == {
        "lung": ["whole"],
        "infection": ["whole"],
    }


def test_undefined_values_are_null() -> None:
    statistics = measure(
        np.zeros((1, 2, 2), np.int16), np.zeros((2, 1, 2, 2), bool), np.zeros((1, 2, 2), np.uint8)
    )
    assert statistics["regions"]["infection"]["left"] == {
        "voxels": 0,
        "volume_ml": 0.0,
        "mean_hu": None,
        "sd_hu": None,
        "percentiles_hu": None,
        "low_attenuation_share": None,
        "high_attenuation_share": None,
        "box_voxels": None,
        "box_mm": None,
        "touches": [],
        "share_of_lung": None,
    }


# Laws

SHAPE = (6, 4, 3)
HU = arrays(np.int16, SHAPE, elements=st.sampled_from([-32768, -1024, -950, -600, 0, 3071, 32767]))
MASKS = arrays(bool, (2, *SHAPE))
SIDES = arrays(np.uint8, SHAPE, elements=st.integers(1, 2))


@given(HU, MASKS, SIDES, st.sets(st.integers(1, 5)))
def test_slabs_add_up_to_the_scan(
    hu: np.ndarray, masks: np.ndarray, sides: np.ndarray, cuts: set[int]
) -> None:
    assert measure(hu, masks, sides, cuts=tuple(cuts)) == measure(hu, masks, sides)
    assert measure(hu, masks, cuts=tuple(cuts)) == measure(hu, masks)


@given(HU, MASKS, SIDES)
def test_sides_add_up_to_the_whole(hu: np.ndarray, masks: np.ndarray, sides: np.ndarray) -> None:
    for parts in measure(hu, masks, sides)["regions"].values():
        whole, right, left = parts["whole"], parts["right"], parts["left"]
        assert whole["voxels"] == right["voxels"] + left["voxels"]
        sums = [part["voxels"] * part["mean_hu"] for part in (right, left) if part["voxels"]]
        assert sum(sums) == pytest.approx(whole["voxels"] * (whole["mean_hu"] or 0))
        assert set(whole["touches"]) == {*right["touches"], *left["touches"]}


@given(HU, MASKS, SIDES)
def test_densities_agree_with_numpy(hu: np.ndarray, masks: np.ndarray, sides: np.ndarray) -> None:
    masks[:, 0, 0, 0], sides[0, 0, 0] = True, 1
    right = measure(hu, masks, sides)["regions"]["infection"]["right"]
    right_hu = hu[masks[1] & (sides == 1)].astype(np.float64)
    assert right["mean_hu"] == pytest.approx(right_hu.mean())
    assert right["sd_hu"] == pytest.approx(right_hu.std())
    exact = np.percentile(right_hu, [5, 50, 95], method="inverted_cdf")
    assert list(right["percentiles_hu"].values()) == exact.tolist()
    assert right["low_attenuation_share"] == pytest.approx((right_hu < -950).mean())


# Invalid slabs


@pytest.mark.parametrize(
    ("start", "hu", "masks", "sides", "message"),
    [
        (
            0,
            (1, 3, 2),
            (1, 1, 3, 3),
            None,
            r"1 masks of the shape of its HU, got HU \(1, 3, 2\)",
        ),
        (0, (1, 2, 3), (1, 1, 2, 3), None, r"within the \(3, 2, 4\) voxels of the grid"),
        (0, (1, 3, 2), (2, 1, 3, 2), None, r"must have 1 masks"),
        (0, (1, 3, 2), (1, 1, 3, 2), (2, 3, 2), r"sides \(2, 3, 2\)"),
        (3, (2, 3, 2), (1, 2, 3, 2), None, r"got \(0, 0, 3\) to \(2, 1, 4\)"),
        (-1, (2, 3, 2), (1, 2, 3, 2), None, r"got \(0, 0, -1\)"),
    ],
)
def test_slabs_of_another_shape_are_rejected(
    start: int,
    hu: tuple[int, ...],
    masks: tuple[int, ...],
    sides: tuple[int, ...] | None,
    message: str,
) -> None:
    measurements = RegionMeasurements(("lung",), Grid((3, 2, 4), np.eye(4)))
    with pytest.raises(ValueError, match=message):
        measurements.add(
            start,
            np.zeros(hu, np.int16),
            np.zeros(masks, bool),
            None if sides is None else np.zeros(sides, np.uint8),
        )


# A crop


@given(HU, MASKS, SIDES)
def test_a_crop_gives_the_same_as_whole_slices(
    hu: np.ndarray, masks: np.ndarray, sides: np.ndarray
) -> None:
    depth, x, y = hu.shape
    wide = ((0, 0), (2, 1), (0, 3))
    grid = Grid((x + 3, y + 3, depth), np.eye(4))
    whole, crop = (RegionMeasurements(NAMES[: len(masks)], grid) for _ in range(2))
    whole.add(0, np.pad(hu, wide), np.pad(masks, ((0, 0), *wide)), np.pad(sides, wide))
    crop.add(0, hu, masks, sides, corner=(2, 0))
    assert crop.result() == whole.result()


# A real scan


def test_the_lungs_of_a_real_scan(real_scans: Path) -> None:
    """Compare with counts over the whole volume."""
    scan = Scan(real_scans / "lctsc" / "scans" / "S1-201.nii.gz")
    mask = Scan(real_scans / "lctsc" / "masks" / "S1-201.nii.gz")
    measurements = RegionMeasurements(("lung",), scan.grid)
    for (start, hu), (_, labels) in zip(scan.slabs(), mask.slabs(), strict=True):
        measurements.add(start, hu.astype(np.int16), labels[None] > 0, None)
    whole, lung = measurements.result().regions["lung"].whole, mask.voxels() > 0
    assert whole.voxels == np.count_nonzero(lung)
    assert whole.volume_ml == pytest.approx(np.count_nonzero(lung) * 0.977**2 * 3 / 1000, rel=0.01)
    assert whole.mean_hu == pytest.approx(scan.voxels()[lung].mean(dtype=np.float64))
    assert whole.touches_border == ()
    x, y, z = np.nonzero(lung)
    assert whole.box_voxels
    assert whole.box_voxels[1] == (x.max(), y.max(), z.max())
