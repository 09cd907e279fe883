"""Synthetic chests look like chest CTs."""

import time

import numpy as np
import pytest
from scipy import ndimage

from thorax.imaging.grid import Volume
from thorax.phantom import INFECTION, LEFT, RIGHT, Chest, chest

SEED = 0
NUMBERS = range(8)


@pytest.fixture(scope="module")
def chests() -> list[Chest]:
    return [chest(number, seed=SEED) for number in NUMBERS]


@pytest.fixture(scope="module")
def scans(chests: list[Chest]) -> list[np.ndarray]:
    return [canonical(case.scan) for case in chests]


@pytest.fixture(scope="module")
def masks(chests: list[Chest]) -> list[np.ndarray]:
    return [canonical(case.mask) for case in chests]


@pytest.fixture(scope="module")
def bodies(scans: list[np.ndarray]) -> list[np.ndarray]:
    return [body(scan) for scan in scans]


def canonical(volume: Volume) -> np.ndarray:
    """Reorient voxels to R, A, S by the affine alone."""
    directions = volume.grid.affine[:3, :3] / volume.grid.spacing_mm
    axes = np.abs(directions).argmax(axis=1)
    signs = [np.sign(directions[world, axis]) for world, axis in enumerate(axes)]
    flips = tuple(slice(None, None, int(sign)) for sign in signs)
    return volume.voxels.transpose(axes)[flips]


def body(scan: np.ndarray) -> np.ndarray:
    patches, _ = ndimage.label(scan > -500)
    largest = patches == 1 + np.bincount(patches.ravel())[1:].argmax()
    planes = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(largest, 2, 0)]
    return np.stack(planes, axis=2)


def dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(truth & predicted) / (truth.sum() + predicted.sum())


def world_middle(volume: Volume, label: int) -> np.ndarray:
    middle = np.argwhere(volume.voxels == label).mean(axis=0)
    return volume.grid.affine[:3, :3] @ middle + volume.grid.affine[:3, 3]


def shares(masks: list[np.ndarray]) -> np.ndarray:
    return np.array([np.mean(mask[mask > 0] == INFECTION) for mask in masks])


def test_the_same_number_and_seed_give_the_same_bits(chests: list[Chest]) -> None:
    again = chest(3, seed=SEED)
    assert again.name == "phantom_003"
    np.testing.assert_array_equal(again.scan.voxels, chests[3].scan.voxels)
    np.testing.assert_array_equal(again.mask.voxels, chests[3].mask.voxels)
    np.testing.assert_array_equal(again.scan.grid.affine, chests[3].scan.grid.affine)


def test_another_number_or_seed_gives_another_patient(chests: list[Chest]) -> None:
    volumes_ml = {np.count_nonzero(case.mask.voxels) * case.mask.grid.voxel_ml for case in chests}
    assert len(volumes_ml) == len(chests)
    other = chest(0, seed=SEED + 1)
    assert (other.mask.voxels > 0).sum() != (chests[0].mask.voxels > 0).sum()


@pytest.mark.parametrize(("number", "seed"), [(-1, 0), (0, -1)])
def test_negative_numbers_are_rejected(number: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        chest(number, seed=seed)


def test_scan_and_mask_share_a_grid_and_have_their_types(chests: list[Chest]) -> None:
    for case in chests:
        assert case.scan.grid.matches(case.mask.grid)
        assert case.scan.voxels.dtype == np.int16
        assert case.mask.voxels.dtype == np.uint8
        assert set(np.unique(case.mask.voxels)) <= {0, LEFT, RIGHT, INFECTION}


def test_the_left_lung_is_on_the_patients_left(chests: list[Chest]) -> None:
    for case in chests:
        left, right = world_middle(case.mask, LEFT), world_middle(case.mask, RIGHT)
        assert left[0] < right[0] - 80.0
        assert abs(left[2] - right[2]) < 60.0


def test_each_lung_is_one_component(masks: list[np.ndarray]) -> None:
    for mask in masks:
        patches, _ = ndimage.label(mask > 0)
        sizes = np.sort(np.bincount(patches.ravel())[1:])[::-1]
        assert sizes[:2].sum() > 0.99 * sizes.sum()


def test_lungs_have_a_plausible_volume(chests: list[Chest]) -> None:
    for case in chests:
        volume_ml = np.count_nonzero(case.mask.voxels) * case.mask.grid.voxel_ml
        assert 1500 < volume_ml < 5500


def test_lungs_narrow_towards_the_apex_and_the_diaphragm(masks: list[np.ndarray]) -> None:
    for mask in masks:
        area = np.count_nonzero(mask, axis=(0, 1))
        levels = np.flatnonzero(area)
        middle = area[(levels[0] + levels[-1]) // 2]
        assert area[levels[-1]] < 0.35 * middle
        assert area[levels[0]] < 0.5 * middle
        assert np.abs(np.diff(area[levels])).max() < 0.35 * area.max()


def test_tissues_have_realistic_densities(
    scans: list[np.ndarray], masks: list[np.ndarray], bodies: list[np.ndarray]
) -> None:
    for scan, mask, inside in zip(scans, masks, bodies, strict=True):
        healthy = scan[(mask == LEFT) | (mask == RIGHT)]
        soft = scan[inside & (scan > -20) & (scan < 90)]
        fat = scan[inside & (scan > -150) & (scan < -60)]
        assert -880 < np.median(healthy) < -740
        assert min(len(soft), len(fat)) > 0.05 * inside.sum()
        assert np.count_nonzero(inside & (scan > 300)) > 0.004 * inside.sum()
        assert scan.max() < 1600


def test_lung_is_denser_at_the_back(scans: list[np.ndarray], masks: list[np.ndarray]) -> None:
    for scan, mask in zip(scans, masks, strict=True):
        healthy = (mask == LEFT) | (mask == RIGHT)
        rows = np.flatnonzero(healthy.any(axis=(0, 2)))
        back, front = rows[len(rows) // 4], rows[-len(rows) // 4]
        means = [np.median(scan[:, y][healthy[:, y]]) for y in (back, front)]
        assert means[0] > means[1] + 10


def test_the_trachea_is_air_but_not_lung(
    chests: list[Chest], scans: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    for case, scan, mask in zip(chests, scans, masks, strict=True):
        top = np.flatnonzero(mask.any(axis=(0, 1)))[-1]
        plane, lung = scan[:, :, top - 2], mask[:, :, top - 2] > 0
        middle = np.abs(np.arange(len(plane)) - np.argwhere(lung)[:, 0].mean()) < 15
        airway = body(scan)[:, :, top - 2] & (plane < -800) & ~lung & middle[:, None]
        area_mm2 = airway.sum() * np.prod(sorted(case.scan.grid.spacing_mm)[:2])
        assert 40 < area_mm2 < 450


def test_some_cases_have_bowel_gas_below_the_lungs(
    chests: list[Chest], scans: list[np.ndarray], masks: list[np.ndarray], bodies: list[np.ndarray]
) -> None:
    gas_ml = []
    for case, scan, mask, inside in zip(chests, scans, masks, bodies, strict=True):
        levels = np.flatnonzero(mask.any(axis=(0, 1)))
        low = slice(0, levels[0] + len(levels) // 4)
        gas = inside[:, :, low] & (scan[:, :, low] < -800) & (mask[:, :, low] == 0)
        gas_ml.append(gas.sum() * case.scan.grid.voxel_ml)
    assert max(gas_ml) > 100
    assert min(gas_ml) < 20


def test_the_couch_is_separate_from_the_body(
    scans: list[np.ndarray], bodies: list[np.ndarray]
) -> None:
    for scan, inside in zip(scans, bodies, strict=True):
        outside = (scan > -500) & ~inside
        back = np.flatnonzero(inside.any(axis=(0, 2)))[0]
        assert outside[:, :back].sum() > 50 * scan.shape[2]


def test_the_infection_varies_from_mild_to_severe(masks: list[np.ndarray]) -> None:
    share = shares(masks)
    infected = share[share > 0]
    assert 0.03 <= infected.mean() <= 0.15
    assert infected.min() < 0.05
    assert infected.max() > 0.12


def test_some_patients_are_healthy() -> None:
    assert not (chest(17, seed=SEED).mask.voxels == INFECTION).any()


def test_infection_contains_ground_glass_and_consolidation(
    scans: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    hu = np.concatenate([scan[mask == INFECTION] for scan, mask in zip(scans, masks, strict=True)])
    assert np.mean((hu > -700) & (hu < -400)) > 0.25
    assert np.mean((hu > -100) & (hu < 80)) > 0.1
    assert np.median(hu) > -650


def test_infection_is_denser_than_the_lung_around_it(
    scans: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    for scan, mask in zip(scans, masks, strict=True):
        infected = mask == INFECTION
        ring = ndimage.binary_dilation(infected, iterations=4) & (mask > 0) & ~infected
        if infected.any():
            assert np.median(scan[infected]) > np.median(scan[ring]) + 100


def test_infection_touches_the_pleura_and_is_low_and_dorsal(masks: list[np.ndarray]) -> None:
    touching, lower, dorsal = 0, [], []
    for mask in masks:
        pleura = (mask > 0) & ~ndimage.binary_erosion(mask > 0)
        touching += np.count_nonzero(pleura & (mask == INFECTION)) > 30
        difference = np.argwhere(mask == INFECTION).mean(0) - np.argwhere(mask > 0).mean(0)
        dorsal.append(difference[1])
        lower.append(difference[2])
    assert touching >= 5
    assert np.mean(dorsal) < -5
    assert np.mean(lower) < 0


def test_a_threshold_segments_neither_the_whole_lung_nor_consolidation(
    scans: list[np.ndarray], masks: list[np.ndarray], bodies: list[np.ndarray]
) -> None:
    scores, missed = [], []
    for scan, mask, inside in zip(scans, masks, bodies, strict=True):
        predicted = inside & (scan < -500)
        scores.append(dice(mask > 0, predicted))
        missed.append(np.mean(~predicted[mask == INFECTION]))
    assert np.mean(scores) < 0.93
    assert min(scores) > 0.75
    assert np.mean(missed) > 0.3


def test_grids_differ_from_case_to_case(chests: list[Chest]) -> None:
    orientations = {
        tuple(np.sign(np.rint(case.scan.grid.affine[:3, :3])).ravel()) for case in chests
    }
    assert len(orientations) >= 3
    assert len({case.scan.grid.spacing_mm for case in chests}) == len(chests)
    assert len({case.scan.grid.shape for case in chests}) >= 6
    assert len({tuple(case.scan.grid.affine[:3, 3]) for case in chests}) == len(chests)


def test_shapes_and_spacings_are_in_their_ranges(chests: list[Chest]) -> None:
    for case in chests:
        slice_mm = max(case.scan.grid.spacing_mm)
        along = case.scan.grid.spacing_mm.index(slice_mm)
        sides = [n for axis, n in enumerate(case.scan.grid.shape) if axis != along]
        assert 5.0 <= slice_mm <= 8.01
        assert 32 <= case.scan.grid.shape[along] <= 56
        assert all(144 <= side <= 224 for side in sides)
        assert all(1.55 <= mm <= 2.45 or mm == slice_mm for mm in case.scan.grid.spacing_mm)


def test_some_scans_are_oblique(chests: list[Chest]) -> None:
    more = [chest(number, seed=SEED) for number in range(8, 11)]
    skew = [
        np.sort(np.abs(case.scan.grid.affine[:3, :3] / case.scan.grid.spacing_mm).ravel())[5]
        for case in chests + more
    ]
    assert max(skew) > 0.01
    assert min(skew) == 0.0


def test_some_scans_have_padding_outside_the_field_of_view(scans: list[np.ndarray]) -> None:
    padded = [scan for scan in scans if scan.min() < -1024]
    assert 1 <= len(padded) < len(scans)
    for scan in padded:
        assert scan.min() in (-2000, -3024)
        assert (scan[0, 0] == scan.min()).all()


def test_a_case_is_made_in_about_two_seconds() -> None:
    started = time.process_time()
    chest(1, seed=SEED)
    assert time.process_time() - started < 6.0
