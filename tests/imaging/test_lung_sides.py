"""Division of a lung mask into right and left."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from thorax.imaging.intensity import IntensityScale
from thorax.imaging.lung_sides import (
    LEFT,
    RIGHT,
    SIDE_NAMES,
    _seam,
    lung_sides,
    widen_sides,
)
from thorax.imaging.placement import place_whole
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.preprocessing.canvas import find_placement, place_regions


def drawn(*rows: str) -> np.ndarray:
    """One plane seen from the head, x to the right and y upwards: ``(1, H, W)`` letters."""
    return np.array([list(row) for row in rows[::-1]]).T[None]


def sides_of(*rows: str) -> np.ndarray:
    """L and R as sides; every other character is outside."""
    letters = drawn(*rows)
    return (letters == "R") * RIGHT + (letters == "L") * LEFT


# Literals


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(("............", ".LLL....RRR.", ".LLLL..RRRR."), id="apart"),
        pytest.param(
            ("............", "LLLL....RRRR", "LLLLLLRRRRRR", "LLLL....RRRR"), id="a bridge"
        ),
        pytest.param(("LL........RR", "LLL.....RRRR", "LLLLL.RRRRRR"), id="a gap off the middle"),
        pytest.param(
            ("LLL.....RRRR", "LLLL..RRRRRR", "LLLLLRRRRRRR"), id="an anterior junction line"
        ),
        pytest.param(("............", ".......RRRR.", ".......RRRR."), id="the right one alone"),
        pytest.param(("............", ".LLLL.......", ".LLLL......."), id="the left one alone"),
        pytest.param(("............", ".LLLLLLL....", ".LLLLLLL...."), id="beyond the middle"),
        pytest.param(
            (".......LLLL.", ".......LL...", ".......LL...", ".......LLLL."), id="only the left"
        ),
        pytest.param(
            (".RRRR.......", "...RR.......", "...RR.......", ".RRRR......."), id="only the right"
        ),
        pytest.param(("...........R", ".L.......RRR", ".........RRR"), id="one collapsed"),
        pytest.param(("............", "............"), id="none"),
    ],
)
def test_the_sides_of_drawn_lungs(rows: tuple[str, ...]) -> None:
    expected = np.repeat(sides_of(*rows), 6, axis=0)
    assert lung_sides(expected > 0).tolist() == expected.tolist()


def test_labels_are_those_of_lungmask() -> None:
    assert SIDE_NAMES == {1: "right", 2: "left"}


# Laws

MASKS = arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6)))


@given(MASKS)
def test_right_and_left_add_up_to_the_lung(lung: np.ndarray) -> None:
    sides = lung_sides(lung)
    assert sides.dtype == np.uint8
    assert ((sides > 0) == lung).all()
    assert sides.max(initial=0) <= LEFT


@given(MASKS)
def test_the_mask_is_not_changed(lung: np.ndarray) -> None:
    before = lung.copy()
    lung_sides(lung)
    assert (lung == before).all()


def ball(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float
) -> np.ndarray:
    away = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return np.sqrt((away**2).sum(axis=0)) < radius


def two_balls(*, left_x: float, right_x: float, radius: float = 11.0) -> np.ndarray:
    """Sides of two balls on 24 canvases of 64×48; in the overlap, the nearer centre decides."""
    left, right = (ball((24, 64, 48), (12, x, 24), radius) for x in (left_x, right_x))
    nearer_left = (np.arange(64) < (left_x + right_x) / 2)[:, None]
    return np.where(left | right, np.where(nearer_left, LEFT, RIGHT), 0).astype(np.uint8)


@pytest.mark.parametrize("move", [-6, 0, 6])
@pytest.mark.parametrize("apart", [16, 20, 26])
def test_overlapping_balls_are_separated_at_their_waist(move: int, apart: int) -> None:
    """One pixel on each side of the waist may get either label."""
    expected = two_balls(left_x=31.5 + move - apart / 2, right_x=31.5 + move + apart / 2)
    sides, waist = lung_sides(expected > 0), 32 + move
    for clear in (np.s_[:, : waist - 1], np.s_[:, waist + 1 :]):
        assert (sides[clear] == expected[clear]).all()


def test_mirrored_lungs_have_mirrored_sides() -> None:
    lung = two_balls(left_x=18, right_x=42) > 0
    lung |= ball(lung.shape, (8, 50, 30), 9)
    mirrored = lung_sides(lung[:, ::-1])[:, ::-1]
    assert (np.array([0, LEFT, RIGHT])[mirrored] == lung_sides(lung)).all()


def test_noise_that_connects_the_lungs_in_one_plane_is_cut_as_in_its_neighbours() -> None:
    expected = two_balls(left_x=16, right_x=46)
    noisy = expected > 0
    noisy[12, 14:48, 16:32] = True
    sides = lung_sides(noisy)
    assert (sides == expected)[expected > 0].all()


def slanted() -> np.ndarray:
    """Two lungs on 9 canvases of 24×16; their gap is at x = 9 at the back and x = 12 in front."""
    gap = 9 + np.arange(16) // 4
    across = np.arange(24)[:, None]
    plane = np.where(across > gap, RIGHT, np.where(across < gap, LEFT, 0))
    plane[:2], plane[-2:] = 0, 0
    return np.repeat(plane[None], 9, axis=0).astype(np.uint8)


def test_a_plane_without_a_gap_is_cut_at_the_gap_of_its_neighbours() -> None:
    expected = slanted()
    closed = expected > 0
    closed[4, 2:-2] = True
    sides = lung_sides(closed)
    assert (sides == expected)[expected > 0].all()


def count_cuts(plane: np.ndarray, seam: tuple[int, ...]) -> int:
    """Count the pairs of neighbouring lung pixels of a plane ``(H, W)`` that a seam separates."""
    right = np.arange(len(plane))[:, None] >= np.array(seam)
    return sum(
        np.count_nonzero((part[1:] & part[:-1]) & (side[1:] != side[:-1]))
        for part, side in ((plane, right), (plane.T, right.T))
    )


@given(arrays(bool, (4, 4)))
def test_no_other_seam_cuts_fewer_pixels(plane: np.ndarray) -> None:
    """Compared with all 625 seams with steps of at most three pixels; the pull is far below 1."""
    seams = [
        seam
        for seam in product(range(5), repeat=4)
        if all(abs(here - there) <= 3 for here, there in pairwise(seam))
    ]
    best = _seam(plane[None].astype(np.float32), 2.0, 0.0)[0]
    assert count_cuts(plane, tuple(best)) == min(count_cuts(plane, seam) for seam in seams)


def test_a_lung_that_extends_beyond_the_middle_stays_whole() -> None:
    """A part of the right lung is further left than the medial border of the left lung."""
    left, right = ball((24, 64, 48), (12, 14, 16), 12), ball((24, 64, 48), (12, 48, 20), 15)
    horn = np.zeros_like(left)
    horn[8:16, 22:48, 32:38] = True
    sides = lung_sides(left | right | horn)
    assert (sides[left] == LEFT).all()
    assert (sides[right | horn] == RIGHT).all()


def test_small_pieces_get_the_side_of_their_position() -> None:
    expected = two_balls(left_x=16, right_x=46)
    expected[2, 8:10, 4:6], expected[22, 50:52, 40:44] = LEFT, RIGHT
    assert (lung_sides(expected > 0) == expected).all()


def test_a_collapsed_lung_connected_to_the_other_keeps_its_side() -> None:
    small, large = ball((24, 64, 48), (12, 18, 30), 5), ball((24, 64, 48), (12, 45, 22), 17)
    bridge = np.zeros_like(small)
    bridge[11:13, 18:45, 29:31] = True
    sides = lung_sides(small | large | bridge)
    assert (sides[small] == LEFT).all()
    assert (sides[large] == RIGHT).all()


# Restoring sides


def test_sides_are_widened_up_to_the_other_side() -> None:
    sides = np.zeros((1, 16, 7), np.uint8)
    sides[0, 4, 3], sides[0, 11, 3] = LEFT, RIGHT
    row = widen_sides(sides)[0, :, 3].tolist()
    assert row == [0, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0]
    assert widen_sides(sides)[0, :, 0].tolist() == row


def test_pixels_between_close_lungs_have_the_nearer_side() -> None:
    sides = np.zeros((1, 9, 1), np.uint8)
    sides[0, 2], sides[0, 6] = LEFT, RIGHT
    assert widen_sides(sides)[0, :, 0].tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 1]


def test_every_restored_lung_voxel_has_a_side() -> None:
    sides = two_balls(left_x=20, right_x=43)
    placement = place_whole((150, 113), canvas=64)
    canvases = np.zeros((24, 64, 64), np.uint8)
    canvases[..., :48] = sides
    restored = placement.restore_labels(widen_sides(canvases))
    lung = placement.restore(canvases > 0) >= 0.5
    assert restored.shape == (24, 150, 113)
    assert (restored[lung] > 0).all()
    right = placement.restore(canvases == RIGHT) >= 0.5
    assert (restored[right] == RIGHT).all()


# Real lungs


def placed_lungs(folder: Path, name: str) -> np.ndarray:
    scan = Scan(folder / "lctsc" / "scans" / f"{name}.nii.gz")
    mask = Scan(folder / "lctsc" / "masks" / f"{name}.nii.gz")
    placement = find_placement(scan, IntensityScale(), canvas=128, crop="none")
    return place_regions(mask, Regions({"lung": (1,)}), placement)[0][..., 0] >= 128


def by_components(lung: np.ndarray) -> np.ndarray:
    """Label the two largest components; the right lung is nearer to the patient's right."""
    parts, _ = ndimage.label(lung)
    first, second = np.argsort(-np.bincount(parts[parts > 0]))[:2]
    right, left = sorted((first, second), key=lambda part: -np.nonzero(parts == part)[1].mean())
    return (parts == right) * RIGHT + (parts == left) * LEFT


@pytest.mark.parametrize("name", ["S1-101", "S1-104"])
def test_lungs_of_real_scans(real_scans: Path, name: str) -> None:
    """Separate, single, shifted, upper third alone, and with gaps of 28 mm closed in front."""
    lung = placed_lungs(real_scans, name)
    truth = by_components(lung)
    assert np.count_nonzero(truth == RIGHT) > np.count_nonzero(truth == LEFT)
    for part in (truth, truth * (truth == 1), truth * (truth == 2), truth[2 * len(truth) // 3 :]):
        assert (lung_sides(part > 0) == part)[part > 0].all()
    for side in (RIGHT, LEFT):
        single = truth == side
        centre = np.nonzero(single)[1].mean()
        for offset in (0, -16, 16):
            moved = np.roll(single, round(single.shape[1] / 2 - centre) + offset, axis=1)
            assert (lung_sides(moved)[moved] == side).mean() > 0.95
    for move in (-12, 12):
        moved = np.roll(truth, move, axis=1)
        assert (lung_sides(moved > 0) == moved)[moved > 0].all()
    bridged = ndimage.binary_closing(lung, np.ones((1, 7, 7))) | lung
    assert (lung_sides(bridged) == truth)[truth > 0].mean() > 0.999
