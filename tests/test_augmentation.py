"""Augmentation: each parameter changes what it says, planes and fractions alike."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from .learning import STILL, augmentation

SIDE = 32
SEEDS = range(60)


def box(x: slice, y: slice, *, channels: int = 1) -> np.ndarray:
    """Return ones in a box of a canvas of zeros, the same in each channel."""
    drawn = np.zeros((SIDE, SIDE, channels), np.float32)
    drawn[x, y] = 1.0
    return drawn


SQUARE = box(slice(8, 24), slice(8, 24))
BAR = box(slice(6, 26), slice(14, 18))
CORNER = box(slice(4, 10), slice(4, 16))


def centre(fraction: np.ndarray) -> np.ndarray:
    """Return the centre of mass from the middle of the canvas, in pixels."""
    places = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return (places * fraction[..., 0]).sum(axis=(1, 2)) / fraction.sum()


def tilt_degrees(fraction: np.ndarray) -> float:
    """Return the angle of the longest axis to x, from the second moments."""
    x, y = np.indices((SIDE, SIDE)) - centre(fraction)[:, None, None] - (SIDE - 1) / 2
    xx, yy, xy = ((part * fraction[..., 0]).sum() for part in (x * x, y * y, x * y))
    return float(np.degrees(np.arctan2(2 * xy, xx - yy) / 2))


def test_zeros_change_nothing() -> None:
    stack, fractions = box(slice(3), slice(5), channels=3), SQUARE
    changed = augmentation()(stack, fractions, seed=1)
    assert changed[0] is stack
    assert changed[1] is fractions


@pytest.mark.parametrize("name", sorted(STILL))
def test_each_parameter_alone_changes_the_stack(name: str) -> None:
    changes = augmentation(**{name: 0.2 if name != "rotate_degrees" else 10.0})
    stack = 0.3 + 0.4 * CORNER
    changed = [changes(stack, CORNER, seed=seed)[0] for seed in SEEDS]
    assert sum(not np.array_equal(one, stack) for one in changed) > 10


@pytest.mark.parametrize("name", ["contrast", "noise"])
def test_intensities_alone_leave_fractions_alone(name: str) -> None:
    changes, fractions = augmentation(**{name: 0.2}), CORNER / 3
    for seed in SEEDS:
        np.testing.assert_array_equal(changes(0.5 * CORNER, fractions, seed=seed)[1], fractions)


@pytest.mark.parametrize(
    ("name", "value"), [("rotate_degrees", 20.0), ("zoom", 0.2), ("shift", 0.1)]
)
def test_one_draw_moves_all_planes_and_all_fractions(name: str, value: float) -> None:
    """Where the planes are the fraction before, they are so after.

    But for 1/32: OpenCV rounds places in one channel otherwise than in several.
    """
    changes, moved = augmentation(**{name: value}), 0
    for seed in SEEDS:
        stack, fractions = changes(np.repeat(CORNER, 5, -1), np.repeat(CORNER, 2, -1), seed=seed)
        for plane in (*np.moveaxis(stack, -1, 0), *np.moveaxis(fractions, -1, 0)):
            np.testing.assert_allclose(plane, fractions[..., 0], atol=1 / 32)
        moved += not np.allclose(fractions, CORNER)
    assert moved > len(SEEDS) / 2


def test_moved_fractions_are_fractions_still() -> None:
    changes = augmentation(rotate_degrees=20.0)
    changed = np.stack([changes(CORNER, CORNER, seed=seed)[1] for seed in SEEDS])
    assert changed.min() == 0
    assert changed.max() == 1
    assert ((changed > 0.1) & (changed < 0.9)).any()


def test_windowed_planes_stay_in_their_range() -> None:
    changes = augmentation(contrast=0.9, noise=0.9)
    changed = np.stack([changes(0.2 + 0.6 * CORNER, CORNER, seed=seed)[0] for seed in SEEDS])
    assert changed.min() == 0
    assert changed.max() == 1


def test_rotation_turns_about_the_middle_both_ways_and_not_too_far() -> None:
    changes = augmentation(rotate_degrees=15.0)
    turned = [changes(BAR, BAR, seed=seed)[1] for seed in SEEDS]
    angles = [tilt_degrees(bar) for bar in turned]
    assert -15.5 < min(angles) < -8
    assert 8 < max(angles) < 15.5
    for bar in turned:
        assert centre(bar) == pytest.approx([0, 0], abs=0.1)
        assert bar.sum() == pytest.approx(BAR.sum(), rel=0.02)


def test_zoom_goes_both_ways_and_not_too_far() -> None:
    changes = augmentation(zoom=0.2)
    sizes = [changes(SQUARE, SQUARE, seed=seed)[1].sum() / SQUARE.sum() for seed in SEEDS]
    assert 0.8**2 - 0.02 < min(sizes) < 0.8
    assert 1.2 < max(sizes) < 1.2**2 + 0.02


def test_shift_goes_all_ways_and_not_too_far() -> None:
    changes = augmentation(shift=0.125)
    moves = np.array([centre(changes(SQUARE, SQUARE, seed=seed)[1]) for seed in SEEDS])
    for along in moves.T:
        assert -4.1 < along.min() < -2
        assert 2 < along.max() < 4.1


def test_what_comes_in_from_beyond_the_border_is_air_and_no_region() -> None:
    full, changes = np.ones((SIDE, SIDE, 1), np.float32), augmentation(shift=0.3)
    came_in = 0
    for seed in SEEDS:
        stack, fractions = changes(full, full, seed=seed)
        np.testing.assert_allclose(stack, fractions, atol=1e-6)
        came_in += (stack == 0).sum() > SIDE
    assert came_in > len(SEEDS) / 2


def test_contrast_and_brightness_are_the_same_all_over_the_stack() -> None:
    changes = augmentation(contrast=0.2)
    levels = [np.unique(changes(0.5 * np.ones_like(BAR), BAR, seed=seed)[0]) for seed in SEEDS]
    assert all(len(level) == 1 for level in levels)
    # 20% more or less of 0.5, and up to 0.1 brighter or darker.
    assert 0.3 <= min(levels)[0] < 0.45
    assert 0.55 < max(levels)[0] <= 0.7


def test_noise_has_no_mean_and_at_most_the_deviation_asked_for() -> None:
    changes, grey = augmentation(noise=0.1), np.full((SIDE, SIDE, 5), 0.5, np.float32)
    changed = [changes(grey, SQUARE, seed=seed)[0] - 0.5 for seed in SEEDS]
    deviations = [float(one.std()) for one in changed]
    assert 0.05 < max(deviations) < 0.105
    assert max(abs(float(one.mean())) for one in changed) < 0.01


def test_left_stays_left_and_front_stays_front() -> None:
    """No flips: the heart lies on one side."""
    changes = augmentation(rotate_degrees=20.0, zoom=0.2, shift=0.05, contrast=0.1, noise=0.02)
    for seed in SEEDS:
        assert (centre(changes(CORNER, CORNER, seed=seed)[1]) < 0).all()


def test_each_step_has_draws_of_its_own() -> None:
    """Turned or not, noisy or not: all four occur. Equal draws would put noise on turned only."""
    changes = augmentation(rotate_degrees=20.0, noise=0.05)
    occurred = set()
    for seed in range(200):
        stack, fractions = changes(0.5 + 0.2 * SQUARE, CORNER, seed=seed)
        inside = stack[13:19, 13:19]
        occurred.add((not np.array_equal(fractions, CORNER), float(np.ptp(inside)) > 1e-3))
    assert len(occurred) == 4


# Seeds


ALL = {"rotate_degrees": 10.0, "zoom": 0.1, "shift": 0.1, "contrast": 0.1, "noise": 0.05}


def test_the_seed_alone_decides() -> None:
    """Not what was changed before, nor by which object, nor NumPy's own state."""
    once = [augmentation(**ALL)(CORNER, CORNER, seed=seed) for seed in SEEDS]
    np.random.seed(1)  # noqa: NPY002
    changes = augmentation(**ALL)
    for seed in reversed(SEEDS):
        for one, other in zip(once[seed], changes(CORNER, CORNER, seed=seed), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len({stack.tobytes() for stack, _ in once}) > len(SEEDS) / 2


def test_the_seed_alone_decides_in_threads_too() -> None:
    """tf.data maps in many threads, and OpenCV lets go of the interpreter's lock."""
    changes = augmentation(**ALL)
    stack = np.random.default_rng(0).random((128, 128, 5), np.float32)

    def change(seed: int) -> bytes:
        return changes(stack, stack[..., :1], seed=seed)[0].tobytes()

    alone = [change(seed) for seed in range(100)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(change, range(100))) == alone


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31 + 10_000])
def test_seeds_of_a_whole_training_are_possible(seed: int) -> None:
    stack, _ = augmentation(**ALL)(CORNER, CORNER, seed=seed)
    assert np.isfinite(stack).all()


# Shapes


@pytest.mark.parametrize("planes", [1, 3, 5, 9])
@pytest.mark.parametrize("regions", [1, 2, 8])
def test_shapes_and_types_are_kept(planes: int, regions: int) -> None:
    changes = augmentation(**ALL)
    seen = box(slice(8), slice(8), channels=planes), box(slice(8), slice(8), channels=regions)
    for seed in range(8):
        stack, fractions = changes(*seen, seed=seed)
        assert (stack.shape, fractions.shape) == ((SIDE, SIDE, planes), (SIDE, SIDE, regions))
        assert stack.dtype == fractions.dtype == np.float32


def test_albumentations_is_told_not_to_ask_the_network() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
