"""Batches of stacks from record files, with tf.data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thorax.augmentation import Augmentation
from thorax.canvases import FULL
from thorax.intensity import Window

AT_ONCE = 16
"""Cases open at a time: their planes come in turns, so that a batch shows many patients."""
SHUFFLED = 256
"""Stacks in the shuffle buffer, on top of the shuffling of cases and of planes in a case."""


@dataclass(frozen=True)
class StackSource:
    """Where stacks come from and what they look like.

    Args:
        paths: One record file a case.
        stacks: How many stacks they hold together: one a plane.
        canvas: Pixels a side.
        regions: Number of regions.
        context: Neighbouring planes on each side.
        window: What the network sees of the HU.
        augmentation: Applied to each stack.
    """

    paths: Sequence[Path]
    stacks: int
    canvas: int
    regions: int
    context: int
    window: Window
    augmentation: Augmentation


def epoch_batches(source: StackSource, *, batch: int, seed: int, epoch: int) -> Any:
    """All stacks once, in an order drawn from ``seed`` and ``epoch``.

    TensorFlow stirs its global seed in where one is set, as `training.make_repeatable` does.
    Nothing is carried over from epoch to epoch, so that a training which was stopped goes on with
    the very batches that it would have seen. Stacks that do not fill a last batch are left out;
    other ones the next time.

    Returns:
        A `tf.data.Dataset` of windowed stacks ``(B, H, W, 2k+1)`` and fractions ``(B, H, W, R)``,
        both float32 in 0..1.
    """
    draw = np.random.default_rng((seed, epoch))
    names = [str(path) for path in draw.permutation([str(path) for path in source.paths])]
    case_seeds = draw.integers(2**31, size=(len(names), 2))
    shuffle_seed, change_seed = (int(number) for number in draw.integers(2**31, size=2))
    return (
        tf.data.Dataset.from_tensor_slices((names, case_seeds))
        .interleave(
            lambda name, case_seed: _case_stacks(source, name, case_seed),
            cycle_length=min(AT_ONCE, len(names)),
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .shuffle(SHUFFLED, seed=shuffle_seed)
        .enumerate(start=change_seed)
        .map(lambda number, pair: _finish(source, number, pair), tf.data.AUTOTUNE)
        .batch(batch, drop_remainder=True)
        .apply(tf.data.experimental.assert_cardinality(source.stacks // batch))
        .prefetch(2)
    )


def _case_stacks(source: StackSource, name: Any, seed: Any) -> Any:
    """The stacks of one case, shuffled, still in whole HU and 8-bit fractions."""
    side, regions = source.canvas, source.regions
    every = tf.data.TFRecordDataset(name).batch(2**20)
    examples = tf.io.parse_example(
        every.get_single_element(),
        {key: tf.io.FixedLenFeature((), tf.string) for key in ("planes", "fractions")},
    )
    planes = tf.reshape(tf.io.decode_raw(examples["planes"], tf.int16), (-1, side, side))
    fractions = tf.reshape(
        tf.io.decode_raw(examples["fractions"], tf.uint8), (-1, side, side, regions)
    )
    depth = tf.shape(planes, tf.int64)[0]
    around = tf.range(-source.context, source.context + 1, dtype=tf.int64)

    def stack(middle: Any) -> Any:
        planes_around = tf.gather(planes, tf.clip_by_value(middle + around, 0, depth - 1))
        return tf.transpose(planes_around, (1, 2, 0)), fractions[middle]

    middles = tf.random.experimental.stateless_shuffle(tf.range(depth), seed=seed)
    return tf.data.Dataset.from_tensor_slices(middles).map(stack)


def _finish(source: StackSource, number: Any, pair: Any) -> Any:
    """Window and change one stack."""
    side, channels = source.canvas, 2 * source.context + 1

    def finish(
        seed: NDArray[np.int64], stack: NDArray[np.int16], fractions: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shares = fractions.astype(np.float32) / np.float32(FULL)
        return source.augmentation(source.window.apply(stack), shares, seed=int(seed))

    stack, shares = tf.numpy_function(finish, (number, *pair), (tf.float32, tf.float32))
    return (
        tf.ensure_shape(stack, (side, side, channels)),
        tf.ensure_shape(shares, (side, side, source.regions)),
    )
