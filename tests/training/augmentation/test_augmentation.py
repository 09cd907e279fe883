"""Augmentation: the effect of each parameter on slices and fractions."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ...learning import augmentation

SIDE = 32
STRENGTHS = {
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
ALL = STRENGTHS | {"thick_slices": 0.2, "mixup": 0.2, "cutmix": 0.2}
SEEDS = range(60)


def box(x: slice, y: slice, *, channels: int = 1) -> np.ndarray:
    """Return a canvas of zeros with a box of ones, the same in each channel."""
    canvas = np.zeros((SIDE, SIDE, channels), np.float32)
    canvas[x, y] = 1.0
    return canvas


SQUARE = box(slice(8, 24), slice(8, 24))
BAR = box(slice(6, 26), slice(14, 18))
CORNER = box(slice(4, 10), slice(4, 16))


def centre(fraction: np.ndarray) -> np.ndarray:
    """Return the centre of mass relative to the centre of the canvas, in pixels."""
    positions = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return (positions * fraction[..., 0]).sum(axis=(1, 2)) / fraction.sum()


def tilt_degrees(fraction: np.ndarray) -> float:
    """Return the angle between the longest axis and x, from the second moments."""
    x, y = np.indices((SIDE, SIDE)) - centre(fraction)[:, None, None] - (SIDE - 1) / 2
    xx, yy, xy = ((part * fraction[..., 0]).sum() for part in (x * x, y * y, x * y))
    return float(np.degrees(np.arctan2(2 * xy, xx - yy) / 2))


def test_zeros_change_nothing() -> None:
    stack, fractions = box(slice(3), slice(5), channels=3), SQUARE
    changed = augmentation()(stack, fractions, seed=1)
    assert changed[0] is stack
    assert changed[1] is fractions


def test_level_none_changes_nothing(tmp_path: Path) -> None:
    changes = augmentation(**ALL, level="none", custom=str(tmp_path / "missing.json"))
    stack, fractions = CORNER, SQUARE
    for seed in SEEDS:
        changed = changes(stack, fractions, seed=seed)
        assert changed[0] is stack
        assert changed[1] is fractions
    assert not changes.mixing
    assert changes.thick_slices == 0


@pytest.mark.parametrize("name", sorted(STRENGTHS))
def test_each_parameter_changes_the_stack(name: str) -> None:
    changes = augmentation(**{name: STRENGTHS[name]})
    # Three different slices, so that a missing one has an effect.
    stack = np.concatenate([0.2 + 0.3 * CORNER, 0.3 + 0.4 * CORNER, 0.4 + 0.5 * CORNER], axis=-1)
    changed = [changes(stack, CORNER, seed=seed)[0] for seed in SEEDS]
    assert sum(not np.array_equal(image, stack) for image in changed) > 10


@pytest.mark.parametrize(
    "name", ["contrast", "gamma", "noise", "blur", "sharpen", "low_resolution", "missing_planes"]
)
def test_intensity_transforms_do_not_change_fractions(name: str) -> None:
    changes, fractions = augmentation(**{name: STRENGTHS[name]}), CORNER / 3
    stack = 0.5 * np.repeat(CORNER, 3, -1)
    for seed in SEEDS:
        np.testing.assert_array_equal(changes(stack, fractions, seed=seed)[1], fractions)


@pytest.mark.parametrize("name", ["blur", "sharpen", "low_resolution", "missing_planes"])
@pytest.mark.parametrize("planes", [1, 5])
def test_constant_slices_stay_constant(name: str, planes: int) -> None:
    changes = augmentation(**{name: 0.9})
    constant = np.full((SIDE, SIDE, planes), 0.3, np.float32)
    for seed in SEEDS:
        np.testing.assert_allclose(changes(constant, CORNER, seed=seed)[0], constant, atol=1e-6)


def test_blur_spreads_within_each_slice_and_keeps_its_sum() -> None:
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


def test_sharpening_overshoots_at_edges_up_to_its_strength() -> None:
    """On both sides of an edge: dark gets darker, bright gets brighter."""
    step = np.full((SIDE, SIDE, 5), 0.4, np.float32)
    step[:, 16:] = 0.6
    changes, overshoots = augmentation(sharpen=0.8), []
    for seed in SEEDS:
        sharp = changes(step, CORNER, seed=seed)[0]
        assert sharp[:, :8] == pytest.approx(0.4)
        assert sharp[:, -8:] == pytest.approx(0.6)
        overshoots.append(float(sharp.max()) - 0.6)
        assert 0.4 - sharp.min() == pytest.approx(overshoots[-1], abs=1e-5)
    # A blur removes at most half of the step of 0.2, and at most 0.8 of that is added.
    assert 0.03 < max(overshoots) < 0.8 * 0.1


def test_low_resolution_removes_fine_lines_and_keeps_coarse_shapes() -> None:
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


def test_without_neighbours_all_slices_are_the_centre_slice() -> None:
    stack = np.broadcast_to(np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32), (SIDE, SIDE, 5))
    missing = augmentation(missing_planes=0.999)(stack, CORNER, seed=0)[0]
    np.testing.assert_array_equal(missing, np.full((SIDE, SIDE, 5), 0.3, np.float32))


def test_neighbours_are_missing_independently_and_replaced_by_the_inner_one() -> None:
    stack = np.broadcast_to(np.array([1, 2, 3, 4, 5], np.float32) / 10, (SIDE, SIDE, 5))
    changes = augmentation(missing_planes=0.3)
    stacks = [
        tuple(np.rint(10 * changes(stack, CORNER, seed=seed)[0][0, 0]).astype(int).tolist())
        for seed in range(200)
    ]
    below = {(1, 2), (2, 2), (1, 3), (3, 3)}
    above = {(4, 5), (4, 4), (3, 5), (3, 3)}
    assert set(stacks) == {(*low, 3, *high) for low in below for high in above}
    assert 0.2 < np.mean([values[1] == 3 for values in stacks]) < 0.4


def test_a_smaller_field_of_view_is_surrounded_by_air_without_regions() -> None:
    grey, full = np.full((SIDE, SIDE, 3), 0.4, np.float32), np.ones((SIDE, SIDE, 2), np.float32)
    changes, cuts = augmentation(field_of_view=0.25), []
    for seed in SEEDS:
        stack, fractions = changes(grey, full, seed=seed)
        inside = fractions[..., 0] == 1
        assert set(np.unique(fractions)) <= {0, 1}
        np.testing.assert_array_equal(stack, grey * inside[..., None])
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert inside.sum() == len(rows) * len(columns)
        cuts.append((rows[0], SIDE - 1 - rows[-1], columns[0], SIDE - 1 - columns[-1]))
    assert all(5 <= highest <= 8 for highest in np.max(cuts, axis=0))
    assert any(len(set(cut)) > 2 for cut in cuts)


@pytest.mark.parametrize(
    ("name", "value"), [("rotate_degrees", 20.0), ("zoom", 0.2), ("shift", 0.1)]
)
def test_slices_and_fractions_move_together(name: str, value: float) -> None:
    """Slices that equal the fractions before are equal to them after.

    Up to 1/32: OpenCV rounds positions differently in one channel and in several.
    """
    changes, moved = augmentation(**{name: value}), 0
    for seed in SEEDS:
        stack, fractions = changes(np.repeat(CORNER, 5, -1), np.repeat(CORNER, 2, -1), seed=seed)
        for plane in (*np.moveaxis(stack, -1, 0), *np.moveaxis(fractions, -1, 0)):
            np.testing.assert_allclose(plane, fractions[..., 0], atol=1 / 32)
        moved += not np.allclose(fractions, CORNER)
    assert moved > len(SEEDS) / 2


def test_moved_fractions_are_fractions() -> None:
    changes = augmentation(rotate_degrees=20.0)
    changed = np.stack([changes(CORNER, CORNER, seed=seed)[1] for seed in SEEDS])
    assert changed.min() == 0
    assert changed.max() == 1
    assert ((changed > 0.1) & (changed < 0.9)).any()


def test_windowed_slices_stay_in_0_to_1() -> None:
    changes = augmentation(contrast=0.9, noise=0.9)
    changed = np.stack([changes(0.2 + 0.6 * CORNER, CORNER, seed=seed)[0] for seed in SEEDS])
    assert changed.min() == 0
    assert changed.max() == 1


def test_rotation_is_about_the_centre_in_both_directions_up_to_its_limit() -> None:
    changes = augmentation(rotate_degrees=15.0)
    bars = [changes(BAR, BAR, seed=seed)[1] for seed in SEEDS]
    angles = [tilt_degrees(bar) for bar in bars]
    assert -15.5 < min(angles) < -8
    assert 8 < max(angles) < 15.5
    for bar in bars:
        assert centre(bar) == pytest.approx([0, 0], abs=0.1)
        assert bar.sum() == pytest.approx(BAR.sum(), rel=0.02)


def test_a_flip_exchanges_left_and_right_only() -> None:
    """Slices are ``[x, y]``: the first axis runs from right to left."""
    stack = np.arange(4 * 4 * 3, dtype=np.float32).reshape(4, 4, 3) / 100
    fractions = stack[..., :1]
    results = {
        (changed.tobytes(), shares.tobytes())
        for changed, shares in (
            augmentation(flip=0.5)(stack, fractions, seed=seed) for seed in range(20)
        )
    }
    mirrored = np.ascontiguousarray(stack[::-1])
    assert results == {
        (stack.tobytes(), np.ascontiguousarray(fractions).tobytes()),
        (mirrored.tobytes(), np.ascontiguousarray(mirrored[..., :1]).tobytes()),
    }


def test_zoom_is_in_both_directions_up_to_its_limit() -> None:
    changes = augmentation(zoom=0.2)
    sizes = [changes(SQUARE, SQUARE, seed=seed)[1].sum() / SQUARE.sum() for seed in SEEDS]
    assert 0.8**2 - 0.02 < min(sizes) < 0.8
    assert 1.2 < max(sizes) < 1.2**2 + 0.02


def test_shift_is_in_all_directions_up_to_its_limit() -> None:
    changes = augmentation(shift=0.125)
    moves = np.array([centre(changes(SQUARE, SQUARE, seed=seed)[1]) for seed in SEEDS])
    for along in moves.T:
        assert -4.1 < along.min() < -2
        assert 2 < along.max() < 4.1


def test_beyond_the_border_there_is_air_and_no_region() -> None:
    full, changes = np.ones((SIDE, SIDE, 1), np.float32), augmentation(shift=0.3)
    shifted = 0
    for seed in SEEDS:
        stack, fractions = changes(full, full, seed=seed)
        np.testing.assert_allclose(stack, fractions, atol=1e-6)
        shifted += (stack == 0).sum() > SIDE
    assert shifted > len(SEEDS) / 2


def test_contrast_and_brightness_are_equal_in_the_whole_stack() -> None:
    changes = augmentation(contrast=0.2)
    levels = [np.unique(changes(0.5 * np.ones_like(BAR), BAR, seed=seed)[0]) for seed in SEEDS]
    assert all(len(level) == 1 for level in levels)
    # 20% more or less of 0.5, and up to 0.1 brighter or darker.
    assert 0.3 <= min(levels)[0] < 0.45
    assert 0.55 < max(levels)[0] <= 0.7


def test_gamma_is_a_power_between_its_limit_and_the_inverse() -> None:
    """0.25 to the power of 1/2 is 1/2, to the power of 2 it is 1/16; 0 and 1 stay."""
    ramp = np.full((SIDE, SIDE, 3), 0.25, np.float32)
    ramp[:, :8], ramp[:, -8:] = 0.0, 1.0
    changed = [augmentation(gamma=1.0)(ramp, CORNER, seed=seed)[0] for seed in SEEDS]
    middles = [float(image[0, 16, 0]) for image in changed]
    assert 0.0625 <= min(middles) < 0.125
    assert 0.4 < max(middles) <= 0.5
    assert all((image[:, :8] == 0).all() and (image[:, -8:] == 1).all() for image in changed)
    assert all(len(np.unique(image)) == 3 for image in changed)


def test_noise_has_mean_0_and_a_deviation_up_to_its_limit() -> None:
    changes, grey = augmentation(noise=0.1), np.full((SIDE, SIDE, 5), 0.5, np.float32)
    changed = [changes(grey, SQUARE, seed=seed)[0] - 0.5 for seed in SEEDS]
    deviations = [float(noise.std()) for noise in changed]
    assert 0.05 < max(deviations) < 0.105
    assert max(abs(float(noise.mean())) for noise in changed) < 0.01


def test_without_flips_left_stays_left_and_front_stays_front() -> None:
    """The heart is on one side."""
    changes = augmentation(rotate_degrees=20.0, zoom=0.2, shift=0.05, contrast=0.1, noise=0.02)
    for seed in SEEDS:
        assert (centre(changes(CORNER, CORNER, seed=seed)[1]) < 0).all()


def test_transforms_have_independent_draws() -> None:
    """All four combinations of rotation and noise occur; equal draws would give two."""
    changes = augmentation(rotate_degrees=20.0, noise=0.05)
    combinations = set()
    for seed in range(200):
        stack, fractions = changes(0.5 + 0.2 * SQUARE, CORNER, seed=seed)
        inside = stack[13:19, 13:19]
        combinations.add((not np.array_equal(fractions, CORNER), float(np.ptp(inside)) > 1e-3))
    assert len(combinations) == 4


# Levels


@pytest.mark.parametrize(
    ("level", "degrees"),
    [
        pytest.param("soft", 10, id="half"),
        pytest.param("medium", 20, id="unchanged"),
        pytest.param("hard", 40, id="twice"),
    ],
)
def test_the_level_scales_rotation(level: str, degrees: float) -> None:
    changes = augmentation(rotate_degrees=20.0, level=level)
    angles = [tilt_degrees(changes(BAR, BAR, seed=seed)[1]) for seed in SEEDS]
    assert 0.85 * degrees < max(np.abs(angles)) < degrees + 0.5


@pytest.mark.parametrize(("level", "farthest"), [("soft", 1), ("medium", 3), ("hard", 7)])
def test_the_level_scales_shifts(level: str, farthest: int) -> None:
    """Whole pixels below 2, 4 and 8."""
    changes = augmentation(shift=0.125, level=level)
    moves = [abs(centre(changes(SQUARE, SQUARE, seed=seed)[1])).max() for seed in SEEDS]
    assert max(moves) == pytest.approx(farthest, abs=0.1)


# Seeds


def test_the_result_depends_on_the_seed_only() -> None:
    """Not on earlier calls, on the object or on NumPy's global state."""
    once = [augmentation(**ALL)(CORNER, CORNER, seed=seed) for seed in SEEDS]
    np.random.seed(1)  # noqa: NPY002
    changes = augmentation(**ALL)
    for seed in reversed(SEEDS):
        for image, expected in zip(changes(CORNER, CORNER, seed=seed), once[seed], strict=True):
            np.testing.assert_array_equal(image, expected)
    assert len({stack.tobytes() for stack, _ in once}) > len(SEEDS) / 2


def test_the_result_depends_on_the_seed_only_in_threads_too() -> None:
    """tf.data maps in many threads, and OpenCV releases the interpreter's lock."""
    changes = augmentation(**ALL)
    stack = np.random.default_rng(0).random((128, 128, 5), np.float32)

    def change(seed: int) -> bytes:
        return changes(stack, stack[..., :1], seed=seed)[0].tobytes()

    sequential = [change(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(change, range(40))) == sequential


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31 + 10_000])
def test_large_seeds_are_valid(seed: int) -> None:
    stack, _ = augmentation(**ALL)(CORNER, CORNER, seed=seed)
    assert np.isfinite(stack).all()


# Shapes


@pytest.mark.parametrize(("planes", "regions"), [(1, 1), (3, 8), (5, 2), (9, 1)])
def test_shapes_and_types_are_kept(planes: int, regions: int) -> None:
    changes = augmentation(**ALL)
    inputs = box(slice(8), slice(8), channels=planes), box(slice(8), slice(8), channels=regions)
    for seed in range(8):
        stack, fractions = changes(*inputs, seed=seed)
        assert (stack.shape, fractions.shape) == ((SIDE, SIDE, planes), (SIDE, SIDE, regions))
        assert stack.dtype == fractions.dtype == np.float32


def test_albumentations_does_not_look_for_updates() -> None:
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
