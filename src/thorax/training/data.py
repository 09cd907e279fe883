"""Batches of stacks from record files, with tf.data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.imaging.placement import FULL_COVERAGE
from thorax.training.augmentation import Augmentation
from thorax.training.augmentation.mixing import Mixing

AT_ONCE = 16
"""Cases open at a time: their planes come in turns, so that a batch shows many patients."""

SHUFFLED = 256
"""Stacks in the shuffle buffer, on top of the shuffling of cases and of planes in a case."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class StackDataset:
    """Where stacks come from and what they look like.

    Args:
        paths: One record file a case.
        planes: How many planes each case has.
        canvas: Pixels a side.
        regions: Number of regions.
        context: Neighbouring planes on each side.
        window: What the network sees of the HU.
        augmentation: Applied to each stack, and to each batch where it mixes.
        fraction: Share of each case's planes that an epoch shows, other ones each time; at least
            one.
        rare_region_share: Share of the stacks of each case that show the rare region, repeated evenly
            where there are too few; so are the others. 0: as they come. A case that has none of
            the region, or nothing else, shows what it has.
        rare_region: Channel of the rare region.

    Raises:
        InputError: The user's own augmentation does not work on such stacks.
        ValueError: ``rare_region_share`` is asked for, but not of which region; or the planes are not
            those of the paths.
    """

    paths: Sequence[Path]
    planes: Sequence[int]
    canvas: int
    regions: int
    context: int
    window: Window
    augmentation: Augmentation
    fraction: float = field(default=1.0, kw_only=True)
    rare_region_share: float = field(default=0.0, kw_only=True)
    rare_region: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if len(self.planes) != len(self.paths):
            raise ValueError(
                f"`planes` must hold one number a path, got {len(self.planes)} for "
                f"{len(self.paths)} paths"
            )
        if self.rare_region_share and self.rare_region is None:
            raise ValueError(
                f"`rare_region` must be a channel where `rare_region_share` is {self.rare_region_share}"
            )
        self.augmentation.check(
            canvas=self.canvas, channels=2 * self.context + 1, regions=self.regions
        )

    @property
    def shown(self) -> list[int]:
        """How many stacks an epoch shows of each case."""
        return [max(1, round(self.fraction * planes)) for planes in self.planes]

    @property
    def stacks(self) -> int:
        """How many stacks an epoch shows."""
        return sum(self.shown)


def epoch_batches(
    source: StackDataset, *, batch: int, seed: int, epoch: int, levels: int = 0
) -> Any:
    """The stacks of an epoch, in an order drawn from ``seed`` and ``epoch``.

    TensorFlow stirs its global seed in where one is set, as `training.make_repeatable` does.
    Nothing is carried over from epoch to epoch, so that a training which was stopped goes on with
    the very batches that it would have seen. Stacks that do not fill a last batch are left out;
    other ones the next time.

    Args:
        source: Where the stacks come from.
        batch: Stacks a batch.
        seed: Of the training.
        epoch: From 0.
        levels: How many coarser targets a batch holds, for deep supervision.

    Returns:
        A `tf.data.Dataset` of windowed stacks ``(B, H, W, 2k+1)`` and fractions ``(B, H, W, R)``,
        both float32 in 0..1. With ``levels``, a tuple stands for the fractions: these themselves,
        then their means over 2×2 pixels, 4×4 and so on, which are area fractions again.

    Raises:
        InputError: Stacks are to be mixed, but a batch holds only one.
    """
    mixing = source.augmentation.mixing
    if mixing and batch < 2:
        raise InputError(
            "`train.batch` must be at least 2 where stacks are mixed with each other, got "
            f"{batch}; set `augmentation.mixup` and `augmentation.cutmix` to 0"
        )
    draw = np.random.default_rng((seed, epoch))
    stacks = _epoch_stacks(source, draw)
    mix_seed = int(draw.integers(2**31))
    batches = stacks.batch(batch, drop_remainder=True)
    if mixing:
        batches = batches.enumerate(start=mix_seed).map(
            lambda number, pair: _mix(mixing, number, pair), tf.data.AUTOTUNE
        )
    if levels:
        batches = batches.map(
            lambda seen, fractions: (seen, _coarser(fractions, levels)), tf.data.AUTOTUNE
        )
    whole = tf.data.experimental.assert_cardinality(source.stacks // batch)
    return batches.apply(whole).prefetch(2)


def _epoch_stacks(source: StackDataset, draw: np.random.Generator) -> Any:
    order = draw.permutation(len(source.paths))
    names = [str(source.paths[case]) for case in order]
    shown = [source.shown[case] for case in order]
    case_seeds = draw.integers(2**31, size=(len(names), 2))
    shuffle_seed, change_seed = (int(number) for number in draw.integers(2**31, size=2))
    return (
        tf.data.Dataset.from_tensor_slices((names, np.array(shown), case_seeds))
        .interleave(
            lambda name, count, case_seed: _case_stacks(source, name, count, seed=case_seed),
            cycle_length=min(AT_ONCE, len(names)),
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .shuffle(SHUFFLED, seed=shuffle_seed)
        .enumerate(start=change_seed)
        .map(lambda number, pair: _finish(source, number, pair), tf.data.AUTOTUNE)
    )


def _case_stacks(source: StackDataset, name: Any, count: Any, *, seed: Any) -> Any:
    """So many stacks of one case, shuffled, still in whole HU and 8-bit fractions."""
    planes, fractions = _read_case(source, name)
    middles = _centre_planes(source, fractions, count, seed=seed)
    if not source.augmentation.thick_slices:
        return tf.data.Dataset.from_tensor_slices(middles).map(
            lambda middle: _stack(planes, fractions, middle, context=source.context)
        )
    thicknesses = _thicknesses(source, tf.shape(middles), seed=seed)
    return tf.data.Dataset.from_tensor_slices((middles, thicknesses)).map(
        lambda middle, thickness: _thick_slice_stack(
            planes, fractions, middle, thickness=thickness, context=source.context
        )
    )


def _read_case(source: StackDataset, name: Any) -> tuple[Any, Any]:
    side = source.canvas
    every = tf.data.TFRecordDataset(name).batch(2**20)
    examples = tf.io.parse_example(
        every.get_single_element(),
        {key: tf.io.FixedLenFeature((), tf.string) for key in ("planes", "fractions")},
    )
    planes = tf.io.decode_raw(examples["planes"], tf.int16)
    fractions = tf.io.decode_raw(examples["fractions"], tf.uint8)
    return (
        tf.reshape(planes, (-1, side, side)),
        tf.reshape(fractions, (-1, side, side, source.regions)),
    )


def _centre_planes(source: StackDataset, fractions: Any, count: Any, *, seed: Any) -> Any:
    """Which planes an epoch shows, in their order."""
    depth = tf.shape(fractions, tf.int64)[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(depth), seed=seed)
    if not source.rare_region_share:
        return order[:count]
    holds = tf.reduce_any(fractions[..., source.rare_region] > 0, axis=(1, 2))
    holds = tf.gather(holds, order)
    holding, others = order[holds], order[~holds]
    wanted = tf.cast(tf.round(source.rare_region_share * tf.cast(count, tf.float64)), tf.int64)
    wanted = tf.where(tf.size(others) == 0, count, tf.maximum(wanted, 1))
    wanted = tf.where(tf.size(holding) == 0, tf.zeros_like(count), wanted)
    chosen = tf.concat([_repeated(holding, wanted), _repeated(others, count - wanted)], axis=0)
    again = tf.random.experimental.stateless_fold_in(seed, 1)
    return tf.random.experimental.stateless_shuffle(chosen, seed=again)


def _repeated(indices: Any, count: Any) -> Any:
    """So many of them, over and over from the first."""
    return tf.gather(indices, tf.range(count) % tf.maximum(tf.size(indices, tf.int64), 1))


def _stack(planes: Any, fractions: Any, middle: Any, *, context: int) -> tuple[Any, Any]:
    around = middle + tf.range(-context, context + 1, dtype=tf.int64)
    inside = tf.clip_by_value(around, 0, tf.shape(planes, tf.int64)[0] - 1)
    return tf.transpose(tf.gather(planes, inside), (1, 2, 0)), fractions[middle]


def _thicknesses(source: StackDataset, shape: Any, *, seed: Any) -> Any:
    """In how many planes each plane of each stack is: 1, or by chance 2 or 3, evenly."""
    chance = source.augmentation.thick_slices
    drawn = tf.random.stateless_uniform(shape, tf.random.experimental.stateless_fold_in(seed, 2))
    return tf.where(drawn < chance / 2, 2, tf.where(drawn < chance, 3, 1))


def _thick_slice_stack(
    planes: Any, fractions: Any, middle: Any, *, thickness: Any, context: int
) -> tuple[Any, Any]:
    """A stack of means over adjacent planes; of two, the other is the one above the middle.

    Beyond the ends of the scan the end plane is repeated.
    """
    thickness = tf.cast(thickness, tf.int64)
    within = tf.range(thickness) - (thickness - 1) // 2
    around = tf.range(-context, context + 1, dtype=tf.int64) * thickness
    slabs = middle + around[:, None] + within
    inside = tf.clip_by_value(slabs, 0, tf.shape(planes, tf.int64)[0] - 1)
    seen = _mean(tf.gather(planes, inside), axis=1)
    return tf.transpose(seen, (1, 2, 0)), _mean(tf.gather(fractions, inside[context]), axis=0)


def _mean(integers: Any, *, axis: int) -> Any:
    """The mean, rounded to the type that it came in."""
    mean = tf.reduce_mean(tf.cast(integers, tf.float32), axis=axis)
    return tf.cast(tf.round(mean), integers.dtype)


def _finish(source: StackDataset, number: Any, pair: Any) -> Any:
    """Window and change one stack."""

    def finish(
        seed: NDArray[np.int64], stack: NDArray[np.int16], fractions: NDArray[np.uint8]
    ) -> tuple[Floats, Floats]:
        shares = fractions.astype(np.float32) / np.float32(FULL_COVERAGE)
        return source.augmentation(source.window.apply(stack), shares, seed=int(seed))

    side = source.canvas
    stack, shares = tf.numpy_function(finish, (number, *pair), (tf.float32, tf.float32))
    return (
        tf.ensure_shape(stack, (side, side, 2 * source.context + 1)),
        tf.ensure_shape(shares, (side, side, source.regions)),
    )


def _mix(mixing: Mixing, number: Any, pair: Any) -> Any:
    """Mix the stacks of one batch."""

    def mix(seed: NDArray[np.int64], stacks: Floats, fractions: Floats) -> tuple[Floats, Floats]:
        return mixing(stacks, fractions, seed=int(seed))

    mixed = tf.numpy_function(mix, (number, *pair), (tf.float32, tf.float32))
    return tuple(
        tf.ensure_shape(part, before.shape) for part, before in zip(mixed, pair, strict=True)
    )


def _coarser(fractions: Any, levels: int) -> tuple[Any, ...]:
    """Fractions, then their means over ever larger squares."""
    pooled = [fractions]
    for _ in range(levels):
        pooled.append(tf.nn.avg_pool2d(pooled[-1], 2, 2, "VALID"))
    return tuple(pooled)
