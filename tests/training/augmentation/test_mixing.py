"""Mixing: stacks and fractions of a batch have the same weight and the same box."""

import numpy as np
import pytest

from thorax.training.augmentation.mixing import Mixing, cutmix, draw_box, mixup

from ...learning import augmentation

SIDE = 16
SEEDS = range(100)
BLACK_WHITE = np.stack([np.zeros((SIDE, SIDE, 3)), np.ones((SIDE, SIDE, 3))]).astype(np.float32)
"""A black stack and a white one."""
EMPTY_FULL = BLACK_WHITE[..., :2]


def test_mixup_blends_each_element_with_the_one_before() -> None:
    batch = np.array([[0.0], [0.5], [1.0]], np.float32)
    np.testing.assert_allclose(mixup(batch, share=0.75), [[0.25], [0.375], [0.875]])


def test_cutmix_copies_the_box_of_the_element_before() -> None:
    batch = np.stack([np.full((3, 3, 1), value) for value in (1.0, 2.0, 3.0)])
    mixed = cutmix(batch, box=(slice(0, 2), slice(1, 3)))
    assert mixed[0, ..., 0].tolist() == [[1, 3, 3], [1, 3, 3], [1, 1, 1]]
    assert mixed[1, ..., 0].tolist() == [[2, 1, 1], [2, 1, 1], [2, 2, 2]]
    assert batch[0].max() == 1


@pytest.mark.parametrize(("share", "side"), [(0.0, 0), (0.25, 8), (0.5, 11), (1.0, 16)])
def test_a_box_has_its_share_of_the_canvas_and_any_position(share: float, side: int) -> None:
    generator, corners = np.random.default_rng(0), []
    for _ in SEEDS:
        rows, columns = draw_box(SIDE, share=share, generator=generator)
        assert rows.stop - rows.start == columns.stop - columns.start == side
        corners.append((rows.start, columns.start))
    assert np.min(corners, axis=0).tolist() == [0, 0]
    assert np.max(corners, axis=0).tolist() == [SIDE - side] * 2


def test_mixup_blends_fractions_with_the_weight_of_the_slices() -> None:
    mixing, shares = Mixing(mixup=1.0, cutmix=0.0), []
    for seed in SEEDS:
        stacks, fractions = mixing(BLACK_WHITE, EMPTY_FULL, seed=seed)
        shares.append(float(stacks[1, 0, 0, 0]))
        assert stacks[1] == pytest.approx(shares[-1])
        assert fractions[1] == pytest.approx(shares[-1])
        assert stacks[0] == pytest.approx(1 - shares[-1], abs=1e-6)
    # Beta(1, 1) is uniform.
    assert np.quantile(shares, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.12)


def test_a_small_alpha_hardly_changes_most_batches() -> None:
    mixing = Mixing(mixup=0.1, cutmix=0.0)
    shares = [float(mixing(BLACK_WHITE, EMPTY_FULL, seed=seed)[0][1, 0, 0, 0]) for seed in SEEDS]
    assert np.mean([0.1 < share < 0.9 for share in shares]) < 0.4


def test_cutmix_copies_one_box_of_slices_and_fractions() -> None:
    mixing, areas = Mixing(mixup=0.0, cutmix=1.0), []
    for seed in SEEDS:
        stacks, fractions = mixing(BLACK_WHITE, EMPTY_FULL, seed=seed)
        box = stacks[0, ..., 0] == 1
        np.testing.assert_array_equal(stacks[0], np.repeat(box[..., None], 3, -1))
        np.testing.assert_array_equal(stacks[1], np.repeat(~box[..., None], 3, -1))
        np.testing.assert_array_equal(fractions, stacks[..., :2])
        areas.append(box.mean())
    assert np.quantile(areas, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.12)


def test_with_both_each_batch_draws_one_with_equal_chance() -> None:
    mixing = Mixing(mixup=5.0, cutmix=5.0)
    blended = [
        bool(np.ptp(mixing(BLACK_WHITE, EMPTY_FULL, seed=seed)[0][0]) == 0) for seed in SEEDS
    ]
    assert 35 < sum(blended) < 65


def test_the_result_depends_on_the_seed() -> None:
    mixing = Mixing(mixup=1.0, cutmix=1.0)
    first, again = (mixing(BLACK_WHITE, EMPTY_FULL, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({mixing(BLACK_WHITE, EMPTY_FULL, seed=seed)[0].tobytes() for seed in SEEDS}) > 50


def test_types_and_ranges_do_not_change() -> None:
    mixing, generator = Mixing(mixup=1.0, cutmix=1.0), np.random.default_rng(0)
    stacks, fractions = (
        generator.random((3, SIDE, SIDE, channels), np.float32) for channels in (5, 2)
    )
    for seed in SEEDS:
        for mixed in mixing(stacks, fractions, seed=seed):
            assert mixed.dtype == np.float32
            assert mixed.min() >= 0
            assert mixed.max() <= 1


def test_mixing_is_off_by_default() -> None:
    assert not augmentation().mixing
    assert augmentation(mixup=0.2, level="soft").mixing == Mixing(mixup=0.1, cutmix=0.0)
    assert augmentation(cutmix=0.2, level="hard").mixing == Mixing(mixup=0.0, cutmix=0.4)
