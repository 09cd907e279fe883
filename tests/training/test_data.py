"""Batches: every stack once per epoch, in an order that depends on seed and epoch."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.common.params import AugmentationParams
from thorax.imaging.intensity import Window
from thorax.training.augmentation import Augmentation
from thorax.training.data import StackDataset, epoch_batches, numpy_batches
from thorax.training.stacks import INTERLEAVED_CASES

from ..learning import NO_AUGMENTATION, augmentation, save_record, stack_dataset

SIDE = 4

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only tf.data has static shapes"
)

Batches = list[tuple[np.ndarray, np.ndarray]]


def save_cases(folder: Path, *depths: int) -> list[Path]:
    """Write one case per depth; all pixels of slice ``k`` of case ``c`` are ``100·c + k`` HU."""
    paths = []
    for case, depth in enumerate(depths):
        values = 100 * case + np.arange(depth)
        planes = np.broadcast_to(values[:, None, None], (depth, SIDE, SIDE))
        # Two regions: the number of the case and that of the slice.
        fractions = np.empty((depth, SIDE, SIDE, 2))
        fractions[..., 0], fractions[..., 1] = case, planes % 100
        paths.append(save_record(folder / f"case-{case}.tfrecord", planes, fractions))
    return paths


@pytest.fixture
def dataset(tmp_path: Path) -> StackDataset:
    """Return three cases of 8 slices each, with one neighbouring slice on each side."""
    paths = save_cases(tmp_path, 8, 8, 8)
    return stack_dataset(paths, 24, canvas=SIDE, regions=2, context=1)


def run(dataset: StackDataset, *, batch: int = 4, seed: int = 0, epoch: int = 0) -> Batches:
    return as_arrays(epoch_batches(dataset, batch=batch, seed=seed, epoch=epoch))


def as_arrays(batches: Iterable[Any]) -> Batches:
    """Convert batches of the Keras backend to NumPy arrays, also the targets of each level."""
    return [keras.tree.map_structure(np.asarray, batch) for batch in batches]


def values(batches: Batches) -> list[int]:
    """Return the HU of the centre slices, in order."""
    centre = batches[0][0].shape[-1] // 2
    return [int(hu) for stacks, _ in batches for hu in np.rint(1000 * stacks[:, 0, 0, centre])]


def test_an_epoch_has_every_slice_once(dataset: StackDataset) -> None:
    for epoch in range(2):
        assert sorted(values(run(dataset, epoch=epoch))) == [
            *range(8),
            *range(100, 108),
            *range(200, 208),
        ]


def test_a_stack_is_a_slice_and_its_neighbours_with_repeated_end_slices(tmp_path: Path) -> None:
    dataset = stack_dataset(save_cases(tmp_path, 1, 5), [1, 5], canvas=SIDE, regions=2, context=2)
    stacks = np.concatenate([stacks for stacks, _ in run(dataset, batch=2)])
    values_of_stacks = np.rint(1000 * stacks[:, 1, 2]).astype(int).tolist()
    assert sorted(values_of_stacks, key=lambda stack: stack[2]) == [
        [0, 0, 0, 0, 0],
        [100, 100, 100, 101, 102],
        [100, 100, 101, 102, 103],
        [100, 101, 102, 103, 104],
        [101, 102, 103, 104, 104],
        [102, 103, 104, 104, 104],
    ]


def test_fractions_are_those_of_the_centre_slice(dataset: StackDataset) -> None:
    for stacks, fractions in run(dataset):
        hu = np.rint(1000 * stacks[..., 1])
        np.testing.assert_array_equal(np.rint(255 * fractions[..., 0]), hu // 100)
        np.testing.assert_array_equal(np.rint(255 * fractions[..., 1]), hu % 100)


def test_pixels_keep_their_positions_and_are_windowed(tmp_path: Path) -> None:
    planes = [[[-2000, -1000, -650], [-300, 50, 400], [3000, 0, 0]]]
    fractions = [[[[0], [51], [102]], [[153], [204], [255]], [[1], [0], [0]]]]
    path = save_record(tmp_path / "case.tfrecord", planes, fractions)
    dataset = stack_dataset([path], 1, canvas=3, window=Window(-1000, 400))
    ((stacks, shares),) = run(dataset, batch=1)
    assert stacks.dtype == shares.dtype == np.float32
    assert stacks[0, ..., 0] == pytest.approx(
        np.array([[0, 0, 0.25], [0.5, 0.75, 1], [1, 5 / 7, 5 / 7]])
    )
    assert shares[0, ..., 0] == pytest.approx(
        np.array([[0, 0.2, 0.4], [0.6, 0.8, 1], [1 / 255, 0, 0]])
    )


# Order


@pytest.mark.parametrize(
    ("seed", "epoch", "same"),
    [
        pytest.param(3, 2, True, id="the same"),
        pytest.param(3, 1, False, id="another epoch"),
        pytest.param(4, 2, False, id="another seed"),
        pytest.param(2, 3, False, id="seed and epoch are not just added"),
    ],
)
def test_the_order_depends_on_seed_and_epoch(
    dataset: StackDataset, seed: int, epoch: int, same: bool
) -> None:
    first, second = run(dataset, seed=3, epoch=2), run(dataset, seed=seed, epoch=epoch)
    assert (values(first) == values(second)) is same


def test_the_same_epoch_has_the_same_pixels_with_augmentation_too(tmp_path: Path) -> None:
    """On canvases that are large enough for many threads at a time."""
    planes = np.random.default_rng(0).integers(0, 1000, (24, 64, 64))
    path = save_record(tmp_path / "case.tfrecord", planes, np.zeros((24, 64, 64, 1)))
    changes = augmentation(rotate_degrees=10.0, contrast=0.2, noise=0.1)
    dataset = stack_dataset([path], 24, canvas=64, augmentation=changes)
    first, *others = (run(dataset) for _ in range(3))
    for other in others:
        for (stacks, _), (expected, _) in zip(other, first, strict=True):
            np.testing.assert_array_equal(stacks, expected)


def test_a_batch_has_several_cases_and_no_run_of_slices(dataset: StackDataset) -> None:
    batches = run(dataset, batch=8)
    for stacks, _ in batches:
        cases = np.rint(1000 * stacks[:, 0, 0, 1]) // 100
        assert len(set(cases.tolist())) >= 2
    steps = np.diff(values(batches))
    assert (np.abs(steps) == 1).sum() < 8


def test_an_epoch_has_more_cases_than_are_open_at_a_time(tmp_path: Path) -> None:
    depths = [1, 2] * (INTERLEAVED_CASES // 2 + 2)
    dataset = stack_dataset(save_cases(tmp_path, *depths), depths, canvas=SIDE, regions=2)
    # 100·20 HU is beyond the window; the number of the case is in the first region, too.
    pairs = sorted(
        (int(case), int(plane))
        for _, fractions in run(dataset, batch=3)
        for case, plane in np.rint(255 * fractions[:, 0, 0])
    )
    assert pairs == [(case, plane) for case, depth in enumerate(depths) for plane in range(depth)]


# Batches


def test_stacks_that_do_not_fill_a_batch_are_dropped_and_others_in_the_next_epoch(
    tmp_path: Path,
) -> None:
    dataset = stack_dataset(save_cases(tmp_path, 7), 7, canvas=SIDE, regions=2)
    epochs = [run(dataset, batch=3, epoch=epoch) for epoch in range(4)]
    dropped = set()
    for batches in epochs:
        assert [len(stacks) for stacks, _ in batches] == [3, 3]
        shown = set(values(batches))
        assert len(shown) == 6
        dropped |= set(range(7)) - shown
    assert len(dropped) > 1


@needs_tensorflow
def test_number_and_shape_of_the_batches_are_static(dataset: StackDataset) -> None:
    batches = epoch_batches(dataset, batch=5, seed=0, epoch=0)
    assert len(batches) == 4
    stacks, fractions = batches.element_spec
    assert stacks.shape.as_list() == [5, SIDE, SIDE, 3]
    assert fractions.shape.as_list() == [5, SIDE, SIDE, 2]


def test_records_with_fewer_slices_than_in_the_index_are_refused(tmp_path: Path) -> None:
    dataset = stack_dataset(save_cases(tmp_path, 3), 4, canvas=SIDE, regions=2)
    with pytest.raises(InputError, match=r"case-0\.tfrecord must have 4 slices .* but has 3; make"):
        list(numpy_batches(dataset, batch=1, seed=0, epoch=0))


# Sampling


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        pytest.param(0.25, [2, 1, 5], id="a quarter of each case, and one of 2 slices"),
        pytest.param(0.01, [1, 1, 1], id="at least one slice per case"),
        pytest.param(1.0, [8, 2, 20], id="all"),
    ],
)
def test_a_fraction_samples_that_share_of_each_case(
    tmp_path: Path, fraction: float, counts: list[int]
) -> None:
    paths = save_cases(tmp_path, 8, 2, 20)
    dataset = stack_dataset(paths, [8, 2, 20], canvas=SIDE, regions=2, fraction=fraction)
    assert dataset.stacks == sum(counts)
    shown = values(run(dataset, batch=1))
    assert len(set(shown)) == len(shown)
    assert [sum(hu // 100 == case for hu in shown) for case in range(3)] == counts


def test_a_fraction_samples_other_slices_each_epoch(tmp_path: Path) -> None:
    dataset = stack_dataset(save_cases(tmp_path, 20), 20, canvas=SIDE, regions=2, fraction=0.2)
    epochs = [values(run(dataset, epoch=epoch)) for epoch in range(5)]
    assert all(len(set(epoch)) == 4 for epoch in epochs)
    assert len({hu for epoch in epochs for hu in epoch}) > 10


@pytest.fixture
def save_rare(tmp_path: Path) -> Any:
    """Return a function that writes cases of 20 slices, the first of which have a rare region."""

    def save(*rare_counts: int) -> list[Path]:
        paths = []
        for case, count in enumerate(rare_counts):
            values = 100 * case + np.arange(20)
            planes = np.broadcast_to(values[:, None, None], (20, SIDE, SIDE))
            fractions = np.zeros((20, SIDE, SIDE, 2))
            fractions[..., 0] = 255
            # A 255th of one pixel.
            fractions[:count, 1, 2, 1] = 1
            paths.append(save_record(tmp_path / f"rare-{case}.tfrecord", planes, fractions))
        return paths

    return save


def test_a_share_of_the_stacks_has_the_rare_region(save_rare: Any) -> None:
    """Half of 20: each of 5 slices twice; of 15 others, 10 once."""
    dataset = stack_dataset(
        save_rare(5), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    others = set()
    for epoch in range(8):
        shown = values(run(dataset, epoch=epoch))
        assert sorted(hu for hu in shown if hu < 5) == sorted([*range(5), *range(5)])
        assert len({hu for hu in shown if hu >= 5}) == 10
        others |= {hu for hu in shown if hu >= 5}
    assert others == set(range(5, 20))


@pytest.mark.parametrize(
    ("share", "available", "rare"),
    [
        pytest.param(0.0, 5, 5, id="no oversampling"),
        pytest.param(0.2, 10, 4, id="fewer than without it"),
        pytest.param(0.01, 5, 1, id="at least one"),
        pytest.param(0.99, 5, 20, id="nearly all"),
        pytest.param(0.5, 0, 0, id="none in the case"),
        pytest.param(0.5, 20, 20, id="in all slices"),
        pytest.param(0.3, 19, 6, id="the others are repeated, too"),
    ],
)
def test_number_of_stacks_with_the_rare_region(
    save_rare: Any, share: float, available: int, rare: int
) -> None:
    dataset = stack_dataset(
        save_rare(available), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=share
    )
    shown = values(run(dataset))
    assert len(shown) == 20
    assert sum(hu < available for hu in shown) == rare


def test_repetitions_are_even(save_rare: Any) -> None:
    dataset = stack_dataset(
        save_rare(3), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    shown = values(run(dataset))
    assert sorted(shown.count(hu) for hu in range(3)) == [3, 3, 4]


def test_the_share_applies_to_each_case_and_with_fractions_too(save_rare: Any) -> None:
    dataset = stack_dataset(
        save_rare(2, 0, 20),
        [20] * 3,
        canvas=SIDE,
        regions=2,
        rare_region=1,
        rare_region_share=0.5,
        fraction=0.4,
    )
    assert dataset.stacks_per_case == [8, 8, 8]
    shown = values(run(dataset))
    assert sum(hu < 2 for hu in shown) == 4
    assert [sum(hu // 100 == case for hu in shown) for case in range(3)] == [8, 8, 8]


def test_rare_and_other_stacks_are_shuffled(save_rare: Any) -> None:
    dataset = stack_dataset(
        save_rare(10), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    kinds = np.array([hu < 10 for hu in values(run(dataset))])
    assert (kinds[1:] != kinds[:-1]).sum() > 4


def test_a_share_needs_a_region(save_rare: Any) -> None:
    with pytest.raises(
        ValueError, match=r"`rare_region` must be a channel if .*, got None and 0\.5"
    ):
        stack_dataset(save_rare(5), 20, canvas=SIDE, regions=2, rare_region_share=0.5)


def test_each_path_needs_a_number_of_slices(save_rare: Any) -> None:
    with pytest.raises(ValueError, match=r"one number per path, got 1 for 2 paths"):
        stack_dataset(save_rare(1, 1), [20], canvas=SIDE, regions=2)


# Thick slices


@pytest.fixture
def ramp(tmp_path: Path) -> Any:
    """Return a function for the stacks of 20 equal cases whose slice ``k`` has ``6·k`` HU.

    The fraction of slice ``k`` is ``6·k`` 255ths.
    """
    planes = np.broadcast_to(6 * np.arange(12)[:, None, None], (12, SIDE, SIDE))
    path = save_record(tmp_path / "ramp.tfrecord", planes, planes[..., None])

    def epoch(chance: float, *, context: int = 1) -> list[tuple[tuple[int, ...], int]]:
        changes = augmentation(thick_slices=chance)
        dataset = stack_dataset(
            [path] * 20, 240, canvas=SIDE, context=context, augmentation=changes
        )
        ((stacks, fractions),) = run(dataset, batch=240)
        planes = np.rint(1000 * stacks[:, 1, 2]).astype(int).tolist()
        truth = np.rint(255 * fractions[:, 1, 2, 0]).astype(int).tolist()
        return [(tuple(stack), fraction) for stack, fraction in zip(planes, truth, strict=True)]

    return epoch


THIN = {2: (6, 12, 18), 5: (24, 30, 36), 9: (48, 54, 60)}
# Slices 0,1 | 2,3 | 4,5 around slice 2; around 9 the highest slab is 11,11.
TWICE = {2: (3, 15, 27), 5: (21, 33, 45), 9: (45, 57, 66)}
# Slices 1,2,3 | 4,5,6 | 7,8,9 around slice 5; around 2 the lowest slab is 0,0,0 and around 9 the
# highest 11,11,11: end slices are repeated.
THRICE = {2: (0, 12, 30), 5: (12, 30, 48), 9: (36, 54, 66)}


def test_thick_slices_are_means_of_two_or_three_slices_and_of_their_fractions(ramp: Any) -> None:
    pairs = ramp(0.999)
    assert all(fraction == stack[1] for stack, fraction in pairs)
    stacks = {stack for stack, _ in pairs}
    assert {*TWICE.values(), *THRICE.values()} <= stacks
    assert not stacks & {*THIN.values()}


def test_thick_slices_have_a_probability_and_both_thicknesses(ramp: Any) -> None:
    stacks = [stack for stack, _ in ramp(0.4)]
    thin, twice, thrice = (
        sum(stacks.count(stack) for stack in kind.values()) for kind in (THIN, TWICE, THRICE)
    )
    assert thin + twice + thrice == 60
    assert 25 < thin < 47
    assert min(twice, thrice) > 4


def test_without_thick_slices_all_are_thin(ramp: Any) -> None:
    stacks = [stack for stack, _ in ramp(0.0)]
    assert [stacks.count(thin) for thin in THIN.values()] == [20] * 3


def test_thick_slices_without_context_are_reproducible(ramp: Any) -> None:
    pairs = ramp(0.5, context=0)
    assert ramp(0.5, context=0) == pairs
    assert {hu for (hu,), _ in pairs} > {6 * plane for plane in range(12)}


# Mixing and coarser targets


def mixed(dataset: StackDataset, **changes: float) -> StackDataset:
    return replace(dataset, augmentation=augmentation(**changes))


def test_mixup_blends_the_stacks_of_a_batch_and_their_fractions(dataset: StackDataset) -> None:
    plain = run(dataset, batch=2)
    for (stacks, fractions), (before, shares) in zip(
        run(mixed(dataset, mixup=1.0), batch=2), plain, strict=True
    ):
        weight = (stacks[0] - before[1]).sum() / (before[0] - before[1]).sum()
        assert 0 <= weight <= 1
        assert stacks[0] == pytest.approx(weight * before[0] + (1 - weight) * before[1], abs=1e-5)
        assert fractions[0] == pytest.approx(
            weight * shares[0] + (1 - weight) * shares[1], abs=1e-5
        )
        assert stacks.sum() == pytest.approx(before.sum(), rel=1e-4)


def test_cutmix_exchanges_boxes_of_stacks(dataset: StackDataset) -> None:
    plain = run(dataset, batch=2)
    cut = 0
    for (stacks, fractions), (before, shares) in zip(
        run(mixed(dataset, cutmix=1.0), batch=2), plain, strict=True
    ):
        kept = (stacks == before).all(axis=(0, 3))
        for part, old in ((stacks, before), (fractions, shares)):
            np.testing.assert_array_equal(part[:, kept], old[:, kept])
            np.testing.assert_array_equal(part[:, ~kept], old[::-1][:, ~kept])
        cut += not kept.all()
    assert cut > len(plain) / 2


def test_mixing_differs_between_batches_and_epochs_and_is_reproducible(
    dataset: StackDataset,
) -> None:
    changed = mixed(dataset, mixup=1.0, cutmix=1.0)
    first, again, other = (run(changed, epoch=epoch) for epoch in (0, 0, 1))
    for (stacks, _), (expected, _) in zip(again, first, strict=True):
        np.testing.assert_array_equal(stacks, expected)
    assert len({stacks.tobytes() for stacks, _ in first + other}) == 12


def test_a_batch_of_one_cannot_be_mixed(dataset: StackDataset) -> None:
    with pytest.raises(
        InputError, match=r"`train\.batch` must be at least 2 for mixup and CutMix, got 1; "
    ):
        run(mixed(dataset, mixup=0.2), batch=1)


def test_coarser_targets_are_the_means_of_squares(tmp_path: Path) -> None:
    fractions = np.arange(16).reshape(1, 4, 4, 1) * 10
    path = save_record(tmp_path / "case.tfrecord", np.zeros((1, 4, 4)), fractions)
    dataset = stack_dataset([path], 1, canvas=4)
    batches = epoch_batches(dataset, batch=1, seed=0, epoch=0, levels=2)
    ((stacks, (whole, half, quarter)),) = as_arrays(batches)
    assert stacks.shape == (1, 4, 4, 1)
    np.testing.assert_allclose(255 * whole, fractions, rtol=1e-5)
    # 0, 10, 40, 50 → 25 and so on.
    assert 255 * half[0, ..., 0] == pytest.approx(np.array([[25, 45], [105, 125]]))
    assert 255 * quarter[0, ..., 0] == pytest.approx(75)


def test_coarser_targets_are_those_of_mixed_stacks(dataset: StackDataset) -> None:
    batches = epoch_batches(mixed(dataset, cutmix=1.0), batch=4, seed=0, epoch=0, levels=1)
    for _, (whole, half) in as_arrays(batches):
        assert (whole.shape, half.shape) == ((4, 4, 4, 2), (4, 2, 2, 2))
        np.testing.assert_allclose(
            whole.reshape(4, 2, 2, 2, 2, 2).mean(axis=(2, 4)), half, atol=1e-6
        )


# Augmentation


class Recorder(Augmentation):
    """Records the seeds and inverts slices and fractions."""

    def __init__(self) -> None:
        super().__init__(AugmentationParams(**NO_AUGMENTATION))
        self.seeds: list[int] = []

    def __call__(self, stack: Any, fractions: Any, *, seed: int) -> Any:
        self.seeds.append(seed)
        assert stack.max() <= 1
        assert fractions.max() <= 1
        return 1 - stack, 1 - fractions


@pytest.fixture
def recorder(dataset: StackDataset) -> Any:
    """Return a function that runs an epoch and returns its batches and sorted seeds."""

    def record(seed: int, epoch: int) -> tuple[Batches, list[int]]:
        augmentation = Recorder()
        recorded = replace(dataset, augmentation=augmentation)
        return run(recorded, seed=seed, epoch=epoch), sorted(augmentation.seeds)

    return record


def test_custom_transforms_are_checked_before_the_first_batch(
    dataset: StackDataset, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(A.to_dict(A.CenterCrop(2, 2, p=0.5))), encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.json must keep stacks of shape \(4, 4, 3\)"):
        replace(dataset, augmentation=augmentation(custom=str(path)))


def test_batches_have_the_augmented_stacks(recorder: Any) -> None:
    batches, _ = recorder(0, 0)
    centres = np.concatenate([stacks[:, 0, 0, 1] for stacks, _ in batches])
    assert sorted(np.rint(1000 * (1 - centres)).astype(int)) == [
        *range(8),
        *range(100, 108),
        *range(200, 208),
    ]
    assert all(fractions.min() > 0.9 for _, fractions in batches)


def test_each_stack_of_each_epoch_has_its_own_seed(recorder: Any) -> None:
    first, again, next_epoch, other_seed = (
        recorder(*drawn)[1] for drawn in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert len({*first, *next_epoch, *other_seed}) == 3 * 24
