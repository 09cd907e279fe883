"""Batches: every stack once an epoch, in an order that seed and epoch decide."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from thorax.batches import AT_ONCE, StackSource, epoch_batches
from thorax.intensity import Window

from .learning import augmentation, save_record, stack_source

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
def source(tmp_path: Path) -> StackSource:
    """Return three cases of 8, 8 and 8 planes, seen with one neighbour on each side."""
    paths = save_cases(tmp_path, 8, 8, 8)
    return stack_source(paths, 24, canvas=SIDE, regions=2, context=1)


def run(source: StackSource, *, batch: int = 4, seed: int = 0, epoch: int = 0) -> Batches:
    batches = epoch_batches(source, batch=batch, seed=seed, epoch=epoch)
    return list(batches.as_numpy_iterator())


def values(batches: Batches) -> list[int]:
    """Return the HU of the middle planes, in their order."""
    middle = batches[0][0].shape[-1] // 2
    return [int(hu) for stacks, _ in batches for hu in np.rint(1000 * stacks[:, 0, 0, middle])]


def test_every_plane_comes_once_an_epoch(source: StackSource) -> None:
    for epoch in range(2):
        seen = values(run(source, epoch=epoch))
        assert sorted(seen) == [*range(8), *range(100, 108), *range(200, 208)]


def test_a_stack_is_a_plane_and_its_neighbours_with_end_planes_repeated(tmp_path: Path) -> None:
    source = stack_source(save_cases(tmp_path, 1, 5), 6, canvas=SIDE, regions=2, context=2)
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


def test_fractions_are_those_of_the_plane_in_the_middle(source: StackSource) -> None:
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
    source: StackSource, seed: int, epoch: int, same: bool
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


def test_a_batch_shows_several_cases_and_no_run_of_planes(source: StackSource) -> None:
    batches = run(source, batch=8)
    for stacks, _ in batches:
        cases = np.rint(1000 * stacks[:, 0, 0, 1]) // 100
        assert len(set(cases.tolist())) >= 2
    steps = np.diff(values(batches))
    assert (np.abs(steps) == 1).sum() < 8


def test_more_cases_than_are_open_at_a_time_are_all_seen(tmp_path: Path) -> None:
    depths = [1, 2] * (AT_ONCE // 2 + 2)
    source = stack_source(save_cases(tmp_path, *depths), sum(depths), canvas=SIDE, regions=2)
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


def test_the_number_and_the_shape_of_batches_are_known_beforehand(source: StackSource) -> None:
    batches = epoch_batches(source, batch=5, seed=0, epoch=0)
    assert len(batches) == 4
    stacks, fractions = batches.element_spec
    assert stacks.shape.as_list() == [5, SIDE, SIDE, 3]
    assert fractions.shape.as_list() == [5, SIDE, SIDE, 2]


def test_records_with_fewer_planes_than_the_index_says_are_noticed(tmp_path: Path) -> None:
    source = stack_source(save_cases(tmp_path, 3), 4, canvas=SIDE, regions=2)
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 4 elements"):
        run(source, batch=1)


# Augmentation


class Recorder:
    """Stands for an augmentation: notes the seeds, and turns planes and fractions upside down."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, stack: Any, fractions: Any, *, seed: int) -> Any:
        self.seeds.append(seed)
        assert stack.max() <= 1
        assert fractions.max() <= 1
        return 1 - stack, 1 - fractions


@pytest.fixture
def recorder(source: StackSource) -> Any:
    """Return a function that runs an epoch and returns its batches and sorted seeds."""

    def record(seed: int, epoch: int) -> tuple[Batches, list[int]]:
        noted: Any = Recorder()
        changed = StackSource(
            source.paths, 24, SIDE, 2, context=1, window=source.window, augmentation=noted
        )
        return run(changed, seed=seed, epoch=epoch), sorted(noted.seeds)

    return record


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
