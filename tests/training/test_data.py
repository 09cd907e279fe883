"""Batches: every stack once an epoch, in an order that seed and epoch decide."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
import pytest
import tensorflow as tf

from thorax.common.errors import InputError
from thorax.common.params import AugmentationParams
from thorax.imaging.intensity import Window
from thorax.training.augmentation import Augmentation
from thorax.training.data import AT_ONCE, StackDataset, epoch_batches

from ..learning import STILL, augmentation, save_record, stack_source

SIDE = 4
Batches = list[tuple[np.ndarray, np.ndarray]]


def save_cases(folder: Path, *depths: int) -> list[Path]:
    """Write one case a depth; all pixels of plane ``k`` of case ``c`` are ``100·c + k`` HU."""
    paths = []
    for case, depth in enumerate(depths):
        values = 100 * case + np.arange(depth)
        planes = np.broadcast_to(values[:, None, None], (depth, SIDE, SIDE))
        # Two regions: the case in the first, the plane in the second.
        fractions = np.empty((depth, SIDE, SIDE, 2))
        fractions[..., 0], fractions[..., 1] = case, planes % 100
        paths.append(save_record(folder / f"case-{case}.tfrecord", planes, fractions))
    return paths


@pytest.fixture
def source(tmp_path: Path) -> StackDataset:
    """Return three cases of 8, 8 and 8 planes, seen with one neighbour on each side."""
    paths = save_cases(tmp_path, 8, 8, 8)
    return stack_source(paths, 24, canvas=SIDE, regions=2, context=1)


def run(source: StackDataset, *, batch: int = 4, seed: int = 0, epoch: int = 0) -> Batches:
    batches = epoch_batches(source, batch=batch, seed=seed, epoch=epoch)
    return list(batches.as_numpy_iterator())


def values(batches: Batches) -> list[int]:
    """Return the HU of the middle planes, in their order."""
    middle = batches[0][0].shape[-1] // 2
    return [int(hu) for stacks, _ in batches for hu in np.rint(1000 * stacks[:, 0, 0, middle])]


def test_every_plane_comes_once_an_epoch(source: StackDataset) -> None:
    for epoch in range(2):
        seen = values(run(source, epoch=epoch))
        assert sorted(seen) == [*range(8), *range(100, 108), *range(200, 208)]


def test_a_stack_is_a_plane_and_its_neighbours_with_end_planes_repeated(tmp_path: Path) -> None:
    source = stack_source(save_cases(tmp_path, 1, 5), [1, 5], canvas=SIDE, regions=2, context=2)
    stacks = np.concatenate([stacks for stacks, _ in run(source, batch=2)])
    seen = np.rint(1000 * stacks[:, 1, 2]).astype(int).tolist()
    assert sorted(seen, key=lambda stack: stack[2]) == [
        [0, 0, 0, 0, 0],
        [100, 100, 100, 101, 102],
        [100, 100, 101, 102, 103],
        [100, 101, 102, 103, 104],
        [101, 102, 103, 104, 104],
        [102, 103, 104, 104, 104],
    ]


def test_fractions_are_those_of_the_plane_in_the_middle(source: StackDataset) -> None:
    for stacks, fractions in run(source):
        hu = np.rint(1000 * stacks[..., 1])
        np.testing.assert_array_equal(np.rint(255 * fractions[..., 0]), hu // 100)
        np.testing.assert_array_equal(np.rint(255 * fractions[..., 1]), hu % 100)


def test_pixels_stay_where_they_are_and_lie_in_the_window(tmp_path: Path) -> None:
    planes = [[[-2000, -1000, -650], [-300, 50, 400], [3000, 0, 0]]]
    fractions = [[[[0], [51], [102]], [[153], [204], [255]], [[1], [0], [0]]]]
    path = save_record(tmp_path / "case.tfrecord", planes, fractions)
    source = stack_source([path], 1, canvas=3, window=Window(-1000, 400))
    ((stacks, shares),) = run(source, batch=1)
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
        pytest.param(3, 2, True, id="the same again"),
        pytest.param(3, 1, False, id="another epoch"),
        pytest.param(4, 2, False, id="another seed"),
        pytest.param(2, 3, False, id="seed and epoch are not merely added"),
    ],
)
def test_seed_and_epoch_decide_the_order(
    source: StackDataset, seed: int, epoch: int, same: bool
) -> None:
    first, second = run(source, seed=3, epoch=2), run(source, seed=seed, epoch=epoch)
    assert (values(first) == values(second)) is same


def test_the_same_epoch_gives_the_same_pixels_with_augmentation_too(tmp_path: Path) -> None:
    """On canvases so large that many threads work at a time."""
    planes = np.random.default_rng(0).integers(0, 1000, (24, 64, 64))
    path = save_record(tmp_path / "case.tfrecord", planes, np.zeros((24, 64, 64, 1)))
    changes = augmentation(rotate_degrees=10.0, contrast=0.2, noise=0.1)
    source = stack_source([path], 24, canvas=64, augmentation=changes)
    first, *others = (run(source) for _ in range(3))
    for other in others:
        for one, again in zip(first, other, strict=True):
            np.testing.assert_array_equal(one[0], again[0])


def test_a_batch_shows_several_cases_and_no_run_of_planes(source: StackDataset) -> None:
    batches = run(source, batch=8)
    for stacks, _ in batches:
        cases = np.rint(1000 * stacks[:, 0, 0, 1]) // 100
        assert len(set(cases.tolist())) >= 2
    steps = np.diff(values(batches))
    assert (np.abs(steps) == 1).sum() < 8


def test_more_cases_than_are_open_at_a_time_are_all_seen(tmp_path: Path) -> None:
    depths = [1, 2] * (AT_ONCE // 2 + 2)
    source = stack_source(save_cases(tmp_path, *depths), depths, canvas=SIDE, regions=2)
    # 100·20 HU would be beyond 1000; the case is in the first region too.
    seen = sorted(
        (int(case), int(plane))
        for _, fractions in run(source, batch=3)
        for case, plane in np.rint(255 * fractions[:, 0, 0])
    )
    assert seen == [(case, plane) for case, depth in enumerate(depths) for plane in range(depth)]


# Batches


def test_stacks_that_do_not_fill_a_batch_are_left_out_and_others_the_next_time(
    tmp_path: Path,
) -> None:
    source = stack_source(save_cases(tmp_path, 7), 7, canvas=SIDE, regions=2)
    epochs = [run(source, batch=3, epoch=epoch) for epoch in range(4)]
    left_out = set()
    for batches in epochs:
        assert [len(stacks) for stacks, _ in batches] == [3, 3]
        seen = values(batches)
        assert len(set(seen)) == 6
        left_out |= set(range(7)) - set(seen)
    assert len(left_out) > 1


def test_the_number_and_the_shape_of_batches_are_known_beforehand(source: StackDataset) -> None:
    batches = epoch_batches(source, batch=5, seed=0, epoch=0)
    assert len(batches) == 4
    stacks, fractions = batches.element_spec
    assert stacks.shape.as_list() == [5, SIDE, SIDE, 3]
    assert fractions.shape.as_list() == [5, SIDE, SIDE, 2]


def test_records_with_fewer_planes_than_the_index_says_are_noticed(tmp_path: Path) -> None:
    source = stack_source(save_cases(tmp_path, 3), 4, canvas=SIDE, regions=2)
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 4 elements"):
        run(source, batch=1)


# What an epoch shows


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        pytest.param(0.25, [2, 1, 5], id="a quarter of each case, and one of 2 planes"),
        pytest.param(0.01, [1, 1, 1], id="at least one plane a case"),
        pytest.param(1.0, [8, 2, 20], id="all"),
    ],
)
def test_a_fraction_shows_that_share_of_each_case(
    tmp_path: Path, fraction: float, shown: list[int]
) -> None:
    paths = save_cases(tmp_path, 8, 2, 20)
    source = stack_source(paths, [8, 2, 20], canvas=SIDE, regions=2, fraction=fraction)
    assert source.stacks == sum(shown)
    seen = values(run(source, batch=1))
    assert len(set(seen)) == len(seen)
    assert [sum(hu // 100 == case for hu in seen) for case in range(3)] == shown


def test_a_fraction_shows_other_planes_each_epoch(tmp_path: Path) -> None:
    source = stack_source(save_cases(tmp_path, 20), 20, canvas=SIDE, regions=2, fraction=0.2)
    seen = [values(run(source, epoch=epoch)) for epoch in range(5)]
    assert all(len(set(epoch)) == 4 for epoch in seen)
    assert len({hu for epoch in seen for hu in epoch}) > 10


@pytest.fixture
def save_rare(tmp_path: Path) -> Any:
    """Return a function that writes cases of 20 planes, the first of which show a rare region."""

    def save(*holding: int) -> list[Path]:
        paths = []
        for case, count in enumerate(holding):
            values = 100 * case + np.arange(20)
            planes = np.broadcast_to(values[:, None, None], (20, SIDE, SIDE))
            fractions = np.zeros((20, SIDE, SIDE, 2))
            fractions[..., 0] = 255
            # One pixel, a 255th of it.
            fractions[:count, 1, 2, 1] = 1
            paths.append(save_record(tmp_path / f"rare-{case}.tfrecord", planes, fractions))
        return paths

    return save


def test_a_share_of_the_stacks_shows_the_rare_region(save_rare: Any) -> None:
    """Half of 20: each of 5 planes twice; of 15 others, 10 once."""
    source = stack_source(
        save_rare(5), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    others = set()
    for epoch in range(4):
        seen = values(run(source, epoch=epoch))
        assert sorted(hu for hu in seen if hu < 5) == sorted([*range(5), *range(5)])
        assert len({hu for hu in seen if hu >= 5}) == 10
        others |= {hu for hu in seen if hu >= 5}
    assert others == set(range(5, 20))


@pytest.mark.parametrize(
    ("share", "holding", "rare"),
    [
        pytest.param(0.0, 5, 5, id="as they come"),
        pytest.param(0.2, 10, 4, id="fewer than come by themselves"),
        pytest.param(0.01, 5, 1, id="at least one"),
        pytest.param(0.99, 5, 20, id="nearly all"),
        pytest.param(0.5, 0, 0, id="none to show"),
        pytest.param(0.5, 20, 20, id="nothing else to show"),
        pytest.param(0.3, 19, 6, id="the others are repeated too"),
    ],
)
def test_how_many_show_the_rare_region(
    save_rare: Any, share: float, holding: int, rare: int
) -> None:
    source = stack_source(
        save_rare(holding), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=share
    )
    seen = values(run(source))
    assert len(seen) == 20
    assert sum(hu < holding for hu in seen) == rare


def test_repetitions_are_even(save_rare: Any) -> None:
    source = stack_source(
        save_rare(3), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    seen = values(run(source))
    assert sorted(seen.count(hu) for hu in range(3)) == [3, 3, 4]


def test_the_share_holds_in_each_case_and_for_fractions_too(save_rare: Any) -> None:
    source = stack_source(
        save_rare(2, 0, 20),
        [20] * 3,
        canvas=SIDE,
        regions=2,
        rare_region=1,
        rare_region_share=0.5,
        fraction=0.4,
    )
    assert source.shown == [8, 8, 8]
    seen = values(run(source))
    assert sum(hu < 2 for hu in seen) == 4
    assert [sum(hu // 100 == case for hu in seen) for case in range(3)] == [8, 8, 8]


def test_rare_and_other_stacks_come_in_turns(save_rare: Any) -> None:
    source = stack_source(
        save_rare(10), 20, canvas=SIDE, regions=2, rare_region=1, rare_region_share=0.5
    )
    kinds = np.array([hu < 10 for hu in values(run(source))])
    assert (kinds[1:] != kinds[:-1]).sum() > 4


def test_a_share_of_no_region_is_refused(save_rare: Any) -> None:
    with pytest.raises(
        ValueError, match=r"`rare_region` must be a channel where `rare_region_share` is 0\.5"
    ):
        stack_source(save_rare(5), 20, canvas=SIDE, regions=2, rare_region_share=0.5)


def test_each_path_has_its_number_of_planes(save_rare: Any) -> None:
    with pytest.raises(ValueError, match=r"one number a path, got 1 for 2 paths"):
        stack_source(save_rare(1, 1), [20], canvas=SIDE, regions=2)


# Thick slices


@pytest.fixture
def ramp(tmp_path: Path) -> Any:
    """Return a function that gives the stacks of 20 equal cases whose plane ``k`` has ``6·k`` HU.

    The fraction of plane ``k`` is ``6·k`` 255ths.
    """
    planes = np.broadcast_to(6 * np.arange(12)[:, None, None], (12, SIDE, SIDE))
    path = save_record(tmp_path / "ramp.tfrecord", planes, planes[..., None])

    def show(chance: float, *, context: int = 1) -> list[tuple[tuple[int, ...], int]]:
        changes = augmentation(thick_slices=chance)
        source = stack_source([path] * 20, 240, canvas=SIDE, context=context, augmentation=changes)
        ((stacks, fractions),) = run(source, batch=240)
        seen = np.rint(1000 * stacks[:, 1, 2]).astype(int).tolist()
        learnt = np.rint(255 * fractions[:, 1, 2, 0]).astype(int).tolist()
        return [(tuple(stack), fraction) for stack, fraction in zip(seen, learnt, strict=True)]

    return show


THIN = {2: (6, 12, 18), 5: (24, 30, 36), 9: (48, 54, 60)}
# Planes 0,1 | 2,3 | 4,5 around plane 2; around 9 the highest slab is 11,11.
TWICE = {2: (3, 15, 27), 5: (21, 33, 45), 9: (45, 57, 66)}
# Planes 1,2,3 | 4,5,6 | 7,8,9 around plane 5; around 2 the lowest slab is 0,0,0 and around 9 the
# highest 11,11,11: the end plane is repeated.
THRICE = {2: (0, 12, 30), 5: (12, 30, 48), 9: (36, 54, 66)}


def test_thick_slices_are_means_of_two_or_three_planes_and_of_their_fractions(ramp: Any) -> None:
    seen = ramp(0.999)
    assert all(fraction == stack[1] for stack, fraction in seen)
    occurred = {stack for stack, _ in seen}
    assert {*TWICE.values(), *THRICE.values()} <= occurred
    assert not occurred & {*THIN.values()}


def test_thick_slices_come_by_chance_and_are_of_both_kinds(ramp: Any) -> None:
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


def test_thick_slices_of_one_plane_are_possible_and_the_same_again(ramp: Any) -> None:
    assert ramp(0.5, context=0) == ramp(0.5, context=0)
    assert {hu for (hu,), _ in ramp(0.5, context=0)} > {6 * plane for plane in range(12)}


# Mixing and coarser targets


def mixed(source: StackDataset, **changes: float) -> StackDataset:
    return replace(source, augmentation=augmentation(**changes))


def test_mixup_blends_the_stacks_of_a_batch_and_their_fractions(source: StackDataset) -> None:
    plain = run(source, batch=2)
    for (stacks, fractions), (before, shares) in zip(
        run(mixed(source, mixup=1.0), batch=2), plain, strict=True
    ):
        own = (stacks[0] - before[1]).sum() / (before[0] - before[1]).sum()
        assert 0 <= own <= 1
        assert stacks[0] == pytest.approx(own * before[0] + (1 - own) * before[1], abs=1e-5)
        assert fractions[0] == pytest.approx(own * shares[0] + (1 - own) * shares[1], abs=1e-5)
        assert stacks.sum() == pytest.approx(before.sum(), rel=1e-4)


def test_cutmix_puts_stacks_of_a_batch_into_each_other(source: StackDataset) -> None:
    plain = run(source, batch=2)
    cut = 0
    for (stacks, fractions), (before, shares) in zip(
        run(mixed(source, cutmix=1.0), batch=2), plain, strict=True
    ):
        kept = (stacks == before).all(axis=(0, 3))
        for part, old in ((stacks, before), (fractions, shares)):
            np.testing.assert_array_equal(part[:, kept], old[:, kept])
            np.testing.assert_array_equal(part[:, ~kept], old[::-1][:, ~kept])
        cut += not kept.all()
    assert cut > len(plain) / 2


def test_each_batch_of_each_epoch_is_mixed_in_its_own_way_and_the_same_again(
    source: StackDataset,
) -> None:
    changed = mixed(source, mixup=1.0, cutmix=1.0)
    first, again, other = (run(changed, epoch=epoch) for epoch in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
    assert len({stacks.tobytes() for stacks, _ in first + other}) == 12


def test_a_batch_of_one_cannot_be_mixed(source: StackDataset) -> None:
    with pytest.raises(InputError, match=r"`train\.batch` must be at least 2 .* got 1"):
        run(mixed(source, mixup=0.2), batch=1)


def test_coarser_targets_are_the_means_of_squares(tmp_path: Path) -> None:
    fractions = np.arange(16).reshape(1, 4, 4, 1) * 10
    path = save_record(tmp_path / "case.tfrecord", np.zeros((1, 4, 4)), fractions)
    source = stack_source([path], 1, canvas=4)
    batches = epoch_batches(source, batch=1, seed=0, epoch=0, levels=2)
    ((stacks, (whole, half, quarter)),) = batches.as_numpy_iterator()
    assert stacks.shape == (1, 4, 4, 1)
    np.testing.assert_allclose(255 * whole, fractions, rtol=1e-5)
    # 0, 10, 40, 50 → 25 and so on.
    assert 255 * half[0, ..., 0] == pytest.approx(np.array([[25, 45], [105, 125]]))
    assert 255 * quarter[0, ..., 0] == pytest.approx(75)


def test_coarser_targets_are_those_of_mixed_stacks(source: StackDataset) -> None:
    batches = epoch_batches(mixed(source, cutmix=1.0), batch=4, seed=0, epoch=0, levels=1)
    assert [part.shape.as_list() for part in batches.element_spec[1]] == [
        [4, 4, 4, 2],
        [4, 2, 2, 2],
    ]
    for _, (whole, half) in batches.as_numpy_iterator():
        np.testing.assert_allclose(
            whole.reshape(4, 2, 2, 2, 2, 2).mean(axis=(2, 4)), half, atol=1e-6
        )


# Augmentation


class Recorder(Augmentation):
    """Notes the seeds, and turns planes and fractions upside down."""

    def __init__(self) -> None:
        super().__init__(AugmentationParams(**STILL))
        self.seeds: list[int] = []

    def __call__(self, stack: Any, fractions: Any, *, seed: int) -> Any:
        self.seeds.append(seed)
        assert stack.max() <= 1
        assert fractions.max() <= 1
        return 1 - stack, 1 - fractions


@pytest.fixture
def recorder(source: StackDataset) -> Any:
    """Return a function that runs an epoch and returns its batches and sorted seeds."""

    def record(seed: int, epoch: int) -> tuple[Batches, list[int]]:
        noted = Recorder()
        changed = replace(source, augmentation=noted)
        return run(changed, seed=seed, epoch=epoch), sorted(noted.seeds)

    return record


def test_changes_that_do_not_fit_are_noticed_before_any_batch(
    source: StackDataset, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(A.to_dict(A.CenterCrop(2, 2, p=0.5))), encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.json must keep stacks of shape \(4, 4, 3\)"):
        replace(source, augmentation=augmentation(custom=str(path)))


def test_what_the_augmentation_gives_is_what_comes(recorder: Any) -> None:
    batches, _ = recorder(0, 0)
    whole = np.concatenate([stacks[:, 0, 0, 1] for stacks, _ in batches])
    assert sorted(np.rint(1000 * (1 - whole)).astype(int)) == [
        *range(8),
        *range(100, 108),
        *range(200, 208),
    ]
    assert all(fractions.min() > 0.9 for _, fractions in batches)


def test_each_stack_of_each_epoch_is_changed_in_its_own_way(recorder: Any) -> None:
    first, again, next_epoch, other_seed = (
        recorder(*drawn)[1] for drawn in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert len({*first, *next_epoch, *other_seed}) == 3 * 24
