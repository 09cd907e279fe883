"""Batches of slice stacks from record files, with tf.data."""

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

INTERLEAVED_CASES = 16
"""Cases that are open at a time; their slices alternate, so that a batch has many patients."""

SHUFFLE_BUFFER = 256
"""Stacks in the shuffle buffer; cases and the slices of a case are shuffled before."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class StackDataset:
    """Source of training stacks, and their sampling.

    Args:
        paths: One record file per case.
        planes: Number of slices of each case.
        canvas: Side of the canvas, in pixels.
        regions: Number of regions.
        context: Neighbouring slices on each side.
        window: HU window of the network.
        augmentation: Augmentation of each stack, and mixing of each batch.
        fraction: Share of the slices of each case in an epoch, at least one slice; each epoch
            draws other slices.
        rare_region_share: Share of the stacks of each case that contain the rare region. If there
            are too few of these or of the others, they are repeated evenly. 0: no oversampling. A
            case in which no or all slices contain the region is sampled as it is.
        rare_region: Channel of the rare region.

    Raises:
        InputError: The custom augmentation does not work on such stacks.
        ValueError: There is a ``rare_region_share`` but no ``rare_region``, or the number of
            ``planes`` is not that of ``paths``.
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
                f"`planes` must have one number per path, got {len(self.planes)} for "
                f"{len(self.paths)} paths"
            )
        if self.rare_region_share and self.rare_region is None:
            raise ValueError(
                "`rare_region` must be a channel if there is a `rare_region_share`, got None and "
                f"{self.rare_region_share}"
            )
        self.augmentation.check(
            canvas=self.canvas, channels=2 * self.context + 1, regions=self.regions
        )

    @property
    def stacks_per_case(self) -> list[int]:
        """Number of stacks of each case in an epoch."""
        return [max(1, round(self.fraction * planes)) for planes in self.planes]

    @property
    def stacks(self) -> int:
        """Number of stacks in an epoch."""
        return sum(self.stacks_per_case)


def epoch_batches(
    dataset: StackDataset, *, batch: int, seed: int, epoch: int, levels: int = 0
) -> Any:
    """Return the batches of an epoch, in an order drawn from ``seed`` and ``epoch``.

    TensorFlow combines these with its global seed if one is set, as
    `thorax.training.trainer.set_determinism` does. Epochs do not depend on each other, so a resumed
    training gets the same batches as one that was not interrupted. Stacks that do not fill the
    last batch are dropped; each epoch drops other ones.

    Args:
        dataset: Source of the stacks.
        batch: Stacks per batch.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        levels: Number of additional coarser targets, for deep supervision.

    Returns:
        A `tf.data.Dataset` of windowed stacks ``(B, H, W, 2k+1)`` and area fractions
        ``(B, H, W, R)``, both float32 in 0..1. With ``levels`` the fractions are a tuple: full
        resolution, then means over 2×2 pixels, 4×4 and so on.

    Raises:
        InputError: Stacks are to be mixed, but a batch has only one.
    """
    mixing = dataset.augmentation.mixing
    if mixing and batch < 2:
        raise InputError(
            f"`train.batch` must be at least 2 for mixup and CutMix, got {batch}; set "
            "`augmentation.mixup` and `augmentation.cutmix` to 0"
        )
    generator = np.random.default_rng((seed, epoch))
    stacks = _epoch_stacks(dataset, generator)
    mix_seed = int(generator.integers(2**31))
    batches = stacks.batch(batch, drop_remainder=True)
    if mixing:
        batches = batches.enumerate(start=mix_seed).map(
            lambda number, pair: _mix(mixing, number, pair), tf.data.AUTOTUNE
        )
    if levels:
        batches = batches.map(
            lambda stacks, fractions: (stacks, _coarser(fractions, levels)), tf.data.AUTOTUNE
        )
    counted = tf.data.experimental.assert_cardinality(dataset.stacks // batch)
    return batches.apply(counted).prefetch(2)


def _epoch_stacks(dataset: StackDataset, generator: np.random.Generator) -> Any:
    order = generator.permutation(len(dataset.paths))
    names = [str(dataset.paths[case]) for case in order]
    counts = [dataset.stacks_per_case[case] for case in order]
    case_seeds = generator.integers(2**31, size=(len(names), 2))
    shuffle_seed, augmentation_seed = (int(number) for number in generator.integers(2**31, size=2))
    return (
        tf.data.Dataset.from_tensor_slices((names, np.array(counts), case_seeds))
        .interleave(
            lambda name, count, case_seed: _case_stacks(dataset, name, count, seed=case_seed),
            cycle_length=min(INTERLEAVED_CASES, len(names)),
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .shuffle(SHUFFLE_BUFFER, seed=shuffle_seed)
        .enumerate(start=augmentation_seed)
        .map(lambda number, pair: _finish(dataset, number, pair), tf.data.AUTOTUNE)
    )


def _case_stacks(dataset: StackDataset, name: Any, count: Any, *, seed: Any) -> Any:
    """Return ``count`` shuffled stacks of one case, in int16 HU and 8-bit fractions."""
    planes, fractions = _read_case(dataset, name)
    centres = _centre_planes(dataset, fractions, count, seed=seed)
    if not dataset.augmentation.thick_slices:
        return tf.data.Dataset.from_tensor_slices(centres).map(
            lambda centre: _stack(planes, fractions, centre, context=dataset.context)
        )
    thicknesses = _thicknesses(dataset, tf.shape(centres), seed=seed)
    return tf.data.Dataset.from_tensor_slices((centres, thicknesses)).map(
        lambda centre, thickness: _thick_slice_stack(
            planes, fractions, centre, thickness=thickness, context=dataset.context
        )
    )


def _read_case(dataset: StackDataset, name: Any) -> tuple[Any, Any]:
    side = dataset.canvas
    records = tf.data.TFRecordDataset(name).batch(2**20)
    examples = tf.io.parse_example(
        records.get_single_element(),
        {key: tf.io.FixedLenFeature((), tf.string) for key in ("planes", "fractions")},
    )
    planes = tf.io.decode_raw(examples["planes"], tf.int16)
    fractions = tf.io.decode_raw(examples["fractions"], tf.uint8)
    return (
        tf.reshape(planes, (-1, side, side)),
        tf.reshape(fractions, (-1, side, side, dataset.regions)),
    )


def _centre_planes(dataset: StackDataset, fractions: Any, count: Any, *, seed: Any) -> Any:
    """Draw the centre slices of an epoch, in order."""
    depth = tf.shape(fractions, tf.int64)[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(depth), seed=seed)
    if not dataset.rare_region_share:
        return order[:count]
    has_region = tf.reduce_any(fractions[..., dataset.rare_region] > 0, axis=(1, 2))
    has_region = tf.gather(has_region, order)
    rare, others = order[has_region], order[~has_region]
    target = tf.cast(tf.round(dataset.rare_region_share * tf.cast(count, tf.float64)), tf.int64)
    target = tf.where(tf.size(others) == 0, count, tf.maximum(target, 1))
    target = tf.where(tf.size(rare) == 0, tf.zeros_like(count), target)
    chosen = tf.concat([_repeated(rare, target), _repeated(others, count - target)], axis=0)
    shuffle_seed = tf.random.experimental.stateless_fold_in(seed, 1)
    return tf.random.experimental.stateless_shuffle(chosen, seed=shuffle_seed)


def _repeated(indices: Any, count: Any) -> Any:
    """Return the first ``count`` indices, starting over at the end."""
    return tf.gather(indices, tf.range(count) % tf.maximum(tf.size(indices, tf.int64), 1))


def _stack(planes: Any, fractions: Any, centre: Any, *, context: int) -> tuple[Any, Any]:
    around = centre + tf.range(-context, context + 1, dtype=tf.int64)
    inside = tf.clip_by_value(around, 0, tf.shape(planes, tf.int64)[0] - 1)
    return tf.transpose(tf.gather(planes, inside), (1, 2, 0)), fractions[centre]


def _thicknesses(dataset: StackDataset, shape: Any, *, seed: Any) -> Any:
    """Draw the slice thickness of each stack, in slices: 1, or 2 and 3 with equal chance."""
    chance = dataset.augmentation.thick_slices
    drawn = tf.random.stateless_uniform(shape, tf.random.experimental.stateless_fold_in(seed, 2))
    return tf.where(drawn < chance / 2, 2, tf.where(drawn < chance, 3, 1))


def _thick_slice_stack(
    planes: Any, fractions: Any, centre: Any, *, thickness: Any, context: int
) -> tuple[Any, Any]:
    """Return a stack of means over adjacent slices; of two, the second is above the centre.

    The first and the last slice are repeated beyond the ends of the scan.
    """
    thickness = tf.cast(thickness, tf.int64)
    within = tf.range(thickness) - (thickness - 1) // 2
    around = tf.range(-context, context + 1, dtype=tf.int64) * thickness
    slabs = centre + around[:, None] + within
    inside = tf.clip_by_value(slabs, 0, tf.shape(planes, tf.int64)[0] - 1)
    means = _mean(tf.gather(planes, inside), axis=1)
    return tf.transpose(means, (1, 2, 0)), _mean(tf.gather(fractions, inside[context]), axis=0)


def _mean(integers: Any, *, axis: int) -> Any:
    """Return the mean, rounded, in the type of the integers."""
    mean = tf.reduce_mean(tf.cast(integers, tf.float32), axis=axis)
    return tf.cast(tf.round(mean), integers.dtype)


def _finish(dataset: StackDataset, number: Any, pair: Any) -> Any:
    """Window and augment one stack."""

    def finish(
        seed: NDArray[np.int64], stack: NDArray[np.int16], fractions: NDArray[np.uint8]
    ) -> tuple[Floats, Floats]:
        shares = fractions.astype(np.float32) / np.float32(FULL_COVERAGE)
        return dataset.augmentation(dataset.window.apply(stack), shares, seed=int(seed))

    side = dataset.canvas
    stack, shares = tf.numpy_function(finish, (number, *pair), (tf.float32, tf.float32))
    return (
        tf.ensure_shape(stack, (side, side, 2 * dataset.context + 1)),
        tf.ensure_shape(shares, (side, side, dataset.regions)),
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
    """Return the fractions and their means over 2×2 pixels, 4×4 and so on."""
    pooled = [fractions]
    for _ in range(levels):
        pooled.append(tf.nn.avg_pool2d(pooled[-1], 2, 2, "VALID"))
    return tuple(pooled)
