"""Augmentation: each parameter changes what it says, planes and fractions alike."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ...learning import augmentation

SIDE = 32
EACH = {
    "rotate_degrees": 10.0,
    "zoom": 0.2,
    "shift": 0.2,
    "contrast": 0.2,
    "gamma": 1.0,
    "noise": 0.2,
    "blur": 2.0,
    "sharpen": 0.8,
    "low_resolution": 0.6,
    "field_of_view": 0.2,
    "missing_planes": 0.4,
}
ALL = EACH | {"thick_slices": 0.2, "mixup": 0.2, "cutmix": 0.2}
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


def test_level_none_changes_nothing_however_strong_the_rest(tmp_path: Path) -> None:
    changes = augmentation(**ALL, level="none", custom=str(tmp_path / "missing.json"))
    stack, fractions = CORNER, SQUARE
    for seed in SEEDS:
        changed = changes(stack, fractions, seed=seed)
        assert changed[0] is stack
        assert changed[1] is fractions
    assert not changes.mixing
    assert changes.thick_slices == 0


@pytest.mark.parametrize("name", sorted(EACH))
def test_each_parameter_alone_changes_the_stack(name: str) -> None:
    changes = augmentation(**{name: EACH[name]})
    # Three planes that differ, so that a missing one shows.
    stack = np.concatenate([0.2 + 0.3 * CORNER, 0.3 + 0.4 * CORNER, 0.4 + 0.5 * CORNER], axis=-1)
    changed = [changes(stack, CORNER, seed=seed)[0] for seed in SEEDS]
    assert sum(not np.array_equal(one, stack) for one in changed) > 10


@pytest.mark.parametrize(
    "name", ["contrast", "gamma", "noise", "blur", "sharpen", "low_resolution", "missing_planes"]
)
def test_what_changes_planes_alone_leaves_fractions_alone(name: str) -> None:
    changes, fractions = augmentation(**{name: EACH[name]}), CORNER / 3
    stack = 0.5 * np.repeat(CORNER, 3, -1)
    for seed in SEEDS:
        np.testing.assert_array_equal(changes(stack, fractions, seed=seed)[1], fractions)


@pytest.mark.parametrize("name", ["blur", "sharpen", "low_resolution", "missing_planes"])
@pytest.mark.parametrize("planes", [1, 5, 9])
def test_flat_planes_stay_flat(name: str, planes: int) -> None:
    changes, flat = augmentation(**{name: 0.9}), np.full((SIDE, SIDE, planes), 0.3, np.float32)
    for seed in SEEDS:
        np.testing.assert_allclose(changes(flat, CORNER, seed=seed)[0], flat, atol=1e-6)


def test_blur_spreads_each_plane_within_itself_and_keeps_its_sum() -> None:
    changes, stack = augmentation(blur=1.5), np.zeros((SIDE, SIDE, 3), np.float32)
    stack[16, 16] = 0, 1, 0.5
    widths = []
    for seed in range(200):
        blurred = changes(stack, CORNER, seed=seed)[0]
        assert blurred.sum(axis=(0, 1)) == pytest.approx([0, 1, 0.5], abs=1e-5)
        rows = np.arange(SIDE) - 16
        widths.append(float(np.sqrt((rows**2 * blurred[..., 1].sum(axis=1)).sum())))
    assert 1.4 < max(widths) <= 1.5
    assert min(widths) == 0


def test_sharpening_widens_steps_by_no_more_than_asked_for() -> None:
    """An overshoot on both sides of an edge: dark gets darker, bright gets brighter."""
    step = np.full((SIDE, SIDE, 5), 0.4, np.float32)
    step[:, 16:] = 0.6
    changes, overshoots = augmentation(sharpen=0.8), []
    for seed in SEEDS:
        sharp = changes(step, CORNER, seed=seed)[0]
        assert sharp[:, :8] == pytest.approx(0.4)
        assert sharp[:, -8:] == pytest.approx(0.6)
        overshoots.append(float(sharp.max()) - 0.6)
        assert 0.4 - sharp.min() == pytest.approx(overshoots[-1], abs=1e-5)
    # Half of the step of 0.2 is the most that a blur takes off, and 0.8 of that is added.
    assert 0.03 < max(overshoots) < 0.8 * 0.1


def test_low_resolution_takes_fine_lines_away_and_leaves_coarse_shapes() -> None:
    lines = np.zeros((SIDE, SIDE, 5), np.float32)
    lines[::2, :16] = 1
    lines[8:24, 20:28] = 1
    changes, contrasts = augmentation(low_resolution=0.5), []
    for seed in SEEDS:
        coarse = changes(lines, CORNER, seed=seed)[0]
        contrasts.append(float(np.ptp(coarse[8:24, 4:12, 0])))
        assert coarse[12:20, 23:25].min() > 0.9
    assert max(contrasts) == 1
    assert min(contrasts) < 0.3


def test_a_stack_without_its_neighbours_shows_the_middle_plane_everywhere() -> None:
    stack = np.broadcast_to(np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32), (SIDE, SIDE, 5))
    missing = augmentation(missing_planes=0.999)(stack, CORNER, seed=0)[0]
    np.testing.assert_array_equal(missing, np.full((SIDE, SIDE, 5), 0.3, np.float32))


def test_each_neighbour_is_missing_with_its_own_chance_and_the_inner_one_stands_in() -> None:
    stack = np.broadcast_to(np.array([1, 2, 3, 4, 5], np.float32) / 10, (SIDE, SIDE, 5))
    changes = augmentation(missing_planes=0.3)
    seen = [
        tuple(np.rint(10 * changes(stack, CORNER, seed=seed)[0][0, 0]).astype(int).tolist())
        for seed in range(200)
    ]
    below = {(1, 2), (2, 2), (1, 3), (3, 3)}
    above = {(4, 5), (4, 4), (3, 5), (3, 3)}
    assert set(seen) == {(*low, 3, *high) for low in below for high in above}
    assert 0.2 < np.mean([shown[1] == 3 for shown in seen]) < 0.4


def test_a_cut_field_of_view_is_air_and_no_region_at_the_sides_alone() -> None:
    grey, full = np.full((SIDE, SIDE, 3), 0.4, np.float32), np.ones((SIDE, SIDE, 2), np.float32)
    changes, cuts = augmentation(field_of_view=0.25), []
    for seed in SEEDS:
        stack, fractions = changes(grey, full, seed=seed)
        seen = fractions[..., 0] == 1
        assert set(np.unique(fractions)) <= {0, 1}
        np.testing.assert_array_equal(stack, grey * seen[..., None])
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        assert seen.sum() == len(rows) * len(columns)
        cuts.append((rows[0], SIDE - 1 - rows[-1], columns[0], SIDE - 1 - columns[-1]))
    assert all(5 <= highest <= 8 for highest in np.max(cuts, axis=0))
    assert any(len(set(cut)) > 2 for cut in cuts)


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


def test_a_flip_mirrors_left_and_right_and_nothing_else() -> None:
    """Planes are ``[x, y]``: the first axis runs from right to left."""
    stack = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3) / 100
    fractions = stack[..., :1]
    seen = {
        (changed.tobytes(), shares.tobytes())
        for changed, shares in (
            augmentation(flip=0.5)(stack, fractions, seed=seed) for seed in range(20)
        )
    }
    mirrored = np.ascontiguousarray(stack[::-1])
    assert seen == {
        (stack.tobytes(), np.ascontiguousarray(fractions).tobytes()),
        (mirrored.tobytes(), np.ascontiguousarray(mirrored[..., :1]).tobytes()),
    }


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


def test_gamma_raises_intensities_to_a_power_between_the_inverse_and_itself() -> None:
    """0.25 to the power of 1/2 is 1/2, to the power of 2 it is 1/16; 0 and 1 stay."""
    ramp = np.full((SIDE, SIDE, 3), 0.25, np.float32)
    ramp[:, :8], ramp[:, -8:] = 0.0, 1.0
    changed = [augmentation(gamma=1.0)(ramp, CORNER, seed=seed)[0] for seed in SEEDS]
    middles = [float(one[0, 16, 0]) for one in changed]
    assert 0.0625 <= min(middles) < 0.125
    assert 0.4 < max(middles) <= 0.5
    assert all((one[:, :8] == 0).all() and (one[:, -8:] == 1).all() for one in changed)
    assert all(len(np.unique(one)) == 3 for one in changed)


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


# Levels


@pytest.mark.parametrize(
    ("level", "degrees"),
    [
        pytest.param("soft", 10, id="half"),
        pytest.param("medium", 20, id="as it stands"),
        pytest.param("hard", 40, id="twice"),
    ],
)
def test_the_level_makes_all_strengths_weaker_or_stronger(level: str, degrees: float) -> None:
    changes = augmentation(rotate_degrees=20.0, level=level)
    angles = [tilt_degrees(changes(BAR, BAR, seed=seed)[1]) for seed in SEEDS]
    assert 0.85 * degrees < max(np.abs(angles)) < degrees + 0.5


@pytest.mark.parametrize(("level", "farthest"), [("soft", 1), ("medium", 3), ("hard", 7)])
def test_the_level_makes_shifts_shorter_or_longer(level: str, farthest: int) -> None:
    """Whole pixels below 2, 4 and 8."""
    changes = augmentation(shift=0.125, level=level)
    moves = [abs(centre(changes(SQUARE, SQUARE, seed=seed)[1])).max() for seed in SEEDS]
    assert max(moves) == pytest.approx(farthest, abs=0.1)


# Seeds


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
