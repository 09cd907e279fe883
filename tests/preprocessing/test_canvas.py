"""Putting a scan and its mask on the canvas."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.imaging.intensity import IntensityScale
from thorax.imaging.overlap import Overlap
from thorax.imaging.placement import place_whole
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.preprocessing.canvas import find_placement, place_regions, place_scan

SaveNifti = Callable[..., Path]

REGIONS = Regions({"lung": (1, 2), "infection": (2,)})
HU = IntensityScale()


def upright(planes: list[list[list[float]]], kind: type = np.int16) -> np.ndarray:
    """Convert planes ``(N, X, Y)`` to voxels ``(X, Y, Z)``."""
    return np.moveaxis(np.array(planes, kind), 0, 2)


# Scans


def test_planes_are_averaged_in_hu(save_nifti: SaveNifti) -> None:
    planes = [[[-1000, -1000, 0, 40], [-1000, -1000, 40, 0], [0] * 4, [10] * 4], [[7] * 4] * 4]
    scan = Scan(save_nifti("scan.nii.gz", upright(planes)))
    placed = place_scan(scan, HU, place_whole((4, 4), canvas=2))
    assert placed.dtype == np.int16
    assert placed.tolist() == [[[-1000, 20], [5, 5]], [[7, 7], [7, 7]]]


def test_padding_of_canvas_and_scanner_becomes_air(save_nifti: SaveNifti) -> None:
    scan = Scan(save_nifti("scan.nii", upright([[[-3024, 0, 40, -2000]]])))
    placed = place_scan(scan, HU, place_whole((1, 4), canvas=4))
    assert placed.tolist() == [[[-1024] * 4, [-1024, 0, 40, -1024], [-1024] * 4, [-1024] * 4]]


def test_scanner_padding_is_raised_before_it_is_averaged(save_nifti: SaveNifti) -> None:
    """Otherwise a border of -3024 would give the body next to it the HU of lung."""
    scan = Scan(save_nifti("scan.nii", upright([[[-3024, 24], [-3024, 24]]])))
    placed = place_scan(scan, HU, place_whole((2, 2), canvas=1))
    assert placed.tolist() == [[[-500]]]


def test_an_8_bit_export_is_placed_in_hu(save_nifti: SaveNifti) -> None:
    scan = Scan(save_nifti("scan.nii", upright([[[0, 51], [255, 0]]], np.uint8)))
    placed = place_scan(scan, IntensityScale((-1250, 250)), place_whole((2, 2), canvas=2))
    assert placed.tolist() == [[[-1024, -950], [250, -1024]]]


@pytest.mark.parametrize("order", ["RAS", "LPI", "SRA"])
def test_planes_of_long_scans_keep_their_order(save_nifti: SaveNifti, order: str) -> None:
    """40 planes are more than two slabs."""
    voxels = np.broadcast_to(np.arange(40, dtype=np.int16), (2, 2, 40))
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    turned = image.as_reoriented(nibabel.orientations.axcodes2ornt(order))
    scan = Scan(save_nifti("scan.nii.gz", turned.dataobj, turned.affine))
    placed = place_scan(scan, HU, place_whole((2, 2), canvas=1))
    assert placed.ravel().tolist() == list(range(40))


# Placements


def test_without_a_crop_the_whole_plane_is_placed_in_mm(save_nifti: SaveNifti) -> None:
    """Four voxels of 1 mm by two of 3 mm: 4×6 mm, padded to 6×6 mm."""
    scan = Scan(save_nifti("scan.nii", np.zeros((4, 2, 1), np.int16), np.diag([1, 3, 5, 1])))
    placement = find_placement(scan, HU, canvas=6, crop="none")
    placed = placement.place(np.array([[[1, 2], [3, 4], [5, 6], [7, 8]]]), fill=0)
    assert placed == pytest.approx(
        np.array([[[0] * 6, *([row] * 3 + [row + 1] * 3 for row in (1, 3, 5, 7)), [0] * 6]])
    )


@pytest.fixture
def body() -> np.ndarray:
    """Return 40×30 voxels of air with a body at 10..29 × 8..21."""
    voxels = np.full((40, 30, 20), -1000, np.int16)
    voxels[10:30, 8:22] = 40
    return voxels


def test_without_a_crop_the_air_around_the_body_is_kept(
    save_nifti: SaveNifti, body: np.ndarray
) -> None:
    placement = find_placement(Scan(save_nifti("scan.nii", body)), HU, canvas=24, crop="none")
    assert (placement.x.start, placement.x.stop) == (0, 40)
    assert (placement.y.start, placement.y.stop) == (0, 30)


def test_the_body_crop_contains_the_body_and_a_margin(
    save_nifti: SaveNifti, body: np.ndarray
) -> None:
    placement = find_placement(Scan(save_nifti("scan.nii.gz", body)), HU, canvas=24, crop="body")
    assert (placement.x.start, placement.x.stop) == (8, 32)
    assert (placement.y.start, placement.y.stop) == (6, 24)


def test_the_body_of_an_8_bit_export_is_found_in_hu(
    save_nifti: SaveNifti, body: np.ndarray
) -> None:
    """Every value of such an export is above -400, the threshold of the body in HU."""
    exported = np.where(body > 0, 220, 30).astype(np.uint8)
    scan = Scan(save_nifti("scan.nii.gz", exported))
    placement = find_placement(scan, IntensityScale((-1250, 250)), canvas=24, crop="body")
    assert (placement.x.start, placement.x.stop) == (8, 32)


def test_the_body_is_searched_in_all_slabs(save_nifti: SaveNifti, body: np.ndarray) -> None:
    body[2:10, 8:22, 19] = 40
    placement = find_placement(Scan(save_nifti("scan.nii", body)), HU, canvas=24, crop="body")
    assert placement.x.start == 0


# Masks


def test_regions_are_placed_as_area_fractions(save_nifti: SaveNifti) -> None:
    labels = [[[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 0], [0, 0, 0, 1]], [[0] * 4] * 4]
    mask = Scan(save_nifti("mask.nii.gz", upright(labels, np.uint8)))
    fractions, _ = place_regions(mask, REGIONS, place_whole((4, 4), canvas=2))
    assert fractions.shape == (2, 2, 2, 2)
    assert fractions.dtype == np.uint8
    assert fractions[0, ..., 0].tolist() == [[255, 128], [0, 64]]
    assert fractions[0, ..., 1].tolist() == [[0, 128], [0, 0]]
    assert not fractions[1].any()


def test_the_ceiling_is_1_without_scaling(save_nifti: SaveNifti) -> None:
    labels = upright([[[0, 1, 2], [2, 1, 0]], [[0, 0, 0], [1, 1, 2]]], np.uint8)
    mask = Scan(save_nifti("mask.nii", labels))
    _, ceiling = place_regions(mask, REGIONS, place_whole((2, 3), canvas=3))
    assert ceiling == {"lung": Overlap(7, 7, 7), "infection": Overlap(3, 3, 3)}


def test_the_ceiling_measures_the_loss_of_the_canvas(save_nifti: SaveNifti) -> None:
    """A single voxel among 16 vanishes on a canvas of one pixel; a full plane does not."""
    labels = np.zeros((4, 4, 2), np.uint8)
    labels[1, 1, 0], labels[..., 1] = 1, 1
    mask = Scan(save_nifti("mask.nii", labels))
    _, ceiling = place_regions(mask, REGIONS, place_whole((4, 4), canvas=1))
    assert ceiling == {"lung": Overlap(16, 17, 16), "infection": Overlap(0, 0, 0)}


@pytest.mark.parametrize(("covered", "restored"), [(7, 0), (8, 16), (9, 16)])
def test_the_ceiling_has_a_threshold_of_half_of_the_area(
    save_nifti: SaveNifti, covered: int, restored: int
) -> None:
    labels = np.zeros(16, np.uint8)
    labels[:covered] = 1
    mask = Scan(save_nifti("mask.nii", labels.reshape(4, 4, 1)))
    _, ceiling = place_regions(mask, REGIONS, place_whole((4, 4), canvas=1))
    assert ceiling["lung"] == Overlap(min(covered, restored), covered, restored)


def test_the_ceiling_of_a_region_outside_the_box_is_0(save_nifti: SaveNifti) -> None:
    labels = np.zeros((40, 30, 1), np.uint8)
    labels[:3, :3] = 1
    ct = np.full((40, 30, 1), -1000, np.int16)
    ct[10:30, 8:22] = 40
    placement = find_placement(Scan(save_nifti("scan.nii", ct)), HU, canvas=24, crop="body")
    _, ceiling = place_regions(Scan(save_nifti("mask.nii", labels)), REGIONS, placement)
    assert ceiling["lung"] == Overlap(both=0, truth=9, predicted=0)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        pytest.param(9, np.uint8, r"label values \[9\] belong to no region", id="unknown"),
        pytest.param(0.5, np.float32, "must be whole numbers", id="interpolated"),
    ],
)
def test_labels_of_no_region_are_refused(
    save_nifti: SaveNifti, value: float, kind: type, message: str
) -> None:
    labels = np.zeros((4, 4, 20), kind)
    labels[2, 3, 19] = value
    mask = Scan(save_nifti("mask.nii.gz", labels))
    with pytest.raises(InputError, match=message):
        place_regions(mask, REGIONS, place_whole((4, 4), canvas=2))


def test_labels_stored_as_floats_are_read(save_nifti: SaveNifti) -> None:
    mask = Scan(save_nifti("mask.nii.gz", upright([[[0, 1], [2, 1]]], np.float32)))
    fractions, _ = place_regions(mask, REGIONS, place_whole((2, 2), canvas=2))
    assert fractions[0, ..., 0].tolist() == [[0, 255], [255, 255]]


# Real scans


def test_the_ceiling_of_real_lungs_on_128_pixels(real_scans: Path) -> None:
    """With a binary canvas it would be 0.979."""
    mask = Scan(real_scans / "lctsc" / "masks" / "S1-104.nii.gz")
    placement = find_placement(mask, HU, canvas=128, crop="none")
    _, ceiling = place_regions(mask, Regions({"lung": (1,)}), placement)
    assert ceiling["lung"].dice >= 0.995
    assert ceiling["lung"].truth == np.count_nonzero(mask.voxels())


def test_the_body_crop_of_a_real_scan_keeps_all_of_its_lungs(real_scans: Path) -> None:
    scan = Scan(real_scans / "lctsc" / "scans" / "S1-104.nii.gz")
    placement = find_placement(scan, HU, canvas=128, crop="body")
    lungs = Scan(real_scans / "lctsc" / "masks" / "S1-104.nii.gz").planes(0, scan.grid.shape[2])
    x, y = placement.x, placement.y
    assert np.count_nonzero(lungs[:, x.start : x.stop, y.start : y.stop]) == np.count_nonzero(lungs)
    assert (y.stop - y.start) < 0.8 * y.size


@pytest.mark.parametrize(
    ("folder", "scale", "least"),
    [("lctsc", HU, 0.998), ("covid19-slices", IntensityScale((-1250, 250)), 0.9997)],
)
def test_the_lung_crop_keeps_the_lungs_and_raises_the_ceiling(
    real_scans: Path, folder: str, scale: IntensityScale, least: float
) -> None:
    """The ceilings without a crop are 0.995 and 0.9994."""
    paths = sorted((real_scans / folder / "scans").glob("*.nii.gz"))
    assert len(paths) >= 5
    for path in paths:
        mask = Scan(real_scans / folder / "masks" / path.name)
        placement = find_placement(Scan(path), scale, canvas=128, crop="lungs")
        lungs = mask.voxels() > 0
        x, y = placement.x, placement.y
        assert lungs[x.start : x.stop, y.start : y.stop].sum() == lungs.sum()
        _, ceiling = place_regions(mask, Regions({"lung": (1, 2)}), placement)
        assert ceiling["lung"].dice >= least
