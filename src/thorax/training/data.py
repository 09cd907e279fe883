"""Batches of slice stacks from record files, for each backend of Keras."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.machine import cores
from thorax.common.parallel import ordered, prefetch
from thorax.imaging.intensity import Window
from thorax.imaging.placement import FULL_COVERAGE
from thorax.preprocessing.records import CaseRecord
from thorax.training.augmentation import Augmentation
from thorax.training.device_input import (
    MOST_THICK,
    BatchMaker,
    DeviceRecords,
    Planes,
    as_planes,
    compiled_batch_maker,
    copy_to_device,
    standard_normal,
)
from thorax.training.record_memory import RecordMemory
from thorax.training.stacks import Sampling, Stack, StackChoice, epoch_stacks, make_stack

READ_AHEAD = 2
"""Batches that are prepared while the network computes."""

Floats = NDArray[np.float32]

Targets = Floats | tuple[Floats, ...]

Item = TypeVar("Item")

Batch = tuple[Floats, Targets]
"""Windowed stacks ``(B, H, W, 2k+1)`` and area fractions ``(B, H, W, R)``, at each level."""


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
        memory_bytes: Largest memory of the records that are kept for the next epochs.

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
    memory_bytes: int = field(default=0, kw_only=True)

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

    @cached_property
    def records(self) -> RecordMemory:
        """Records of the cases, by number."""
        return RecordMemory(self.paths, self.stacks_per_case, limit_bytes=self.memory_bytes)

    @cached_property
    def device_records(self) -> DeviceRecords | None:
        """All records on the device; None if they do not fit."""
        bytes_per_plane = self.canvas**2 * (2 + self.regions)
        return copy_to_device(self.records, self.planes, bytes_per_plane=bytes_per_plane)

    @property
    def stacks_per_case(self) -> list[int]:
        """Number of stacks of each case in an epoch."""
        return [max(1, round(self.fraction * planes)) for planes in self.planes]

    @property
    def stacks(self) -> int:
        """Number of stacks in an epoch."""
        return sum(self.stacks_per_case)

    def make_stack(self, record: CaseRecord, choice: StackChoice) -> Stack:
        """Return a stack of a record."""
        return make_stack(record, choice, context=self.context)

    @property
    def sampling(self) -> Sampling:
        """Rules by which the slices of a case become stacks."""
        return Sampling(
            context=self.context,
            rare_region=self.rare_region,
            rare_region_share=self.rare_region_share,
            thick_slices=self.augmentation.thick_slices,
        )


def epoch_batches(
    dataset: StackDataset, *, batch: int, seed: int, epoch: int, levels: int = 0
) -> Any:
    """Return the batches of an epoch as the backend of Keras reads them.

    They are those of `numpy_batches`, for all backends; with ``augmentation.device: gpu`` those of
    `device_batches`.

    Args:
        dataset: Source of the stacks.
        batch: Stacks per batch.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        levels: Number of additional coarser targets, for deep supervision.

    Returns:
        A `tf.data.Dataset` with TensorFlow, otherwise an iterator that prepares batches in advance.

    Raises:
        InputError: Stacks are to be mixed, but a batch has only one.
    """
    _check_mixing(dataset, batch)
    if dataset.augmentation.on_device:
        given = device_batches(dataset, batch=batch, seed=seed, epoch=epoch, levels=levels)
        return prefetch(given, ahead=lambda _: READ_AHEAD)

    def batches() -> Iterator[Batch]:
        return numpy_batches(dataset, batch=batch, seed=seed, epoch=epoch, levels=levels)

    if keras.backend.backend() != "tensorflow":
        return prefetch(batches(), ahead=lambda _: READ_AHEAD)
    return _as_tensorflow_dataset(batches, dataset, batch=batch, levels=levels)


def numpy_batches(
    dataset: StackDataset, *, batch: int, seed: int, epoch: int, levels: int = 0
) -> Iterator[Batch]:
    """Yield the batches of an epoch, in an order drawn from ``seed`` and ``epoch``.

    Epochs do not depend on each other, so a resumed training gets the same batches as one that was
    not interrupted. Stacks that do not fill the last batch are dropped; each epoch drops other
    ones.

    Args:
        dataset: Source of the stacks.
        batch: Stacks per batch.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        levels: Number of additional coarser targets.

    Yields:
        Windowed stacks ``(B, H, W, 2k+1)`` and area fractions ``(B, H, W, R)``, both float32 in
        0..1. With ``levels`` the fractions are a tuple: full resolution, then means over 2×2
        pixels, 4×4 and so on.

    Raises:
        InputError: A record cannot be read, or stacks are to be mixed, but a batch has only one.
    """
    _check_mixing(dataset, batch)
    generator = np.random.default_rng((seed, epoch))
    first_stack, first_batch = (int(number) for number in generator.integers(2**31, size=2))
    drawn = epoch_stacks(
        dataset.records, dataset.stacks_per_case, dataset.sampling, generator, dataset.make_stack
    )
    finished = ordered(
        lambda numbered: _finish(dataset, first_stack + numbered[0], numbered[1]),
        enumerate(drawn),
        threads=cores(),
    )
    for number in range(dataset.stacks // batch):
        pairs = [next(finished) for _ in range(batch)]
        stacks, fractions = (np.stack(part) for part in zip(*pairs, strict=True))
        if dataset.augmentation.mixing:
            stacks, fractions = dataset.augmentation.mixing(
                stacks, fractions, seed=first_batch + number
            )
        yield stacks, coarser(fractions, levels) if levels else fractions


def device_batches(
    dataset: StackDataset, *, batch: int, seed: int, epoch: int, levels: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of an epoch, windowed and augmented on the device.

    Order and slices are those of `numpy_batches`. The augmentation has the same distributions, but
    other draws.

    Args:
        dataset: Source of the stacks.
        batch: Stacks per batch.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        levels: Number of additional coarser targets.

    Yields:
        As `numpy_batches`, on the device.

    Raises:
        InputError: A record cannot be read.
    """
    generator = np.random.default_rng((seed, epoch))
    first = generator.integers(2**31, size=2).tolist()
    selections = _selections(dataset, generator, batch=batch)
    make = compiled_batch_maker(BatchMaker(dataset.window, dataset.context, levels))
    shape = (batch, dataset.canvas, dataset.canvas, 2 * dataset.context + 1)
    for number, selected in enumerate(selections):
        drawn = np.random.default_rng((*first, number))
        draws = dataset.augmentation.draw_batch(drawn, batch=batch, channels=shape[-1])
        noise_seed = int(drawn.integers(2**31))
        noise = standard_normal(shape, seed=noise_seed) if "noise" in draws else None
        yield make(selected, draws, noise)


def _selections(
    dataset: StackDataset, generator: np.random.Generator, *, batch: int
) -> Iterator[Planes]:
    """Yield the slices of each batch: their indices on the device, or the slices themselves."""
    records = dataset.device_records
    source = dataset.records, dataset.stacks_per_case, dataset.sampling, generator
    if records is None:
        stacks = epoch_stacks(*source, dataset.make_stack)
        yield from map(as_planes, _batched(stacks, batch))
        return
    thick = MOST_THICK if dataset.augmentation.thick_slices else 1
    for choices in _batched(epoch_stacks(*source, lambda _, choice: choice), batch):
        yield records.select(choices, context=dataset.context, thick=thick)


def _batched(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while len(group := list(islice(items, size))) == size:
        yield group


def coarser(fractions: Floats, levels: int) -> tuple[Floats, ...]:
    """Return the fractions and their means over 2×2 pixels, 4×4 and so on.

    Args:
        fractions: Shape ``(B, H, W, R)``.
        levels: Number of coarser ones.

    Example:
        >>> [part.ravel().tolist() for part in coarser(np.arange(4.0).reshape(1, 2, 2, 1), 1)]
        [[0.0, 1.0, 2.0, 3.0], [1.5]]
    """
    pooled = [fractions]
    for _ in range(levels):
        stacks, height, width, regions = pooled[-1].shape
        squares = pooled[-1][:, : height // 2 * 2, : width // 2 * 2].reshape(
            stacks, height // 2, 2, width // 2, 2, regions
        )
        pooled.append(squares.mean(axis=(2, 4)))
    return tuple(pooled)


def _check_mixing(dataset: StackDataset, batch: int) -> None:
    if dataset.augmentation.mixing and batch < 2:
        raise InputError(
            f"`train.batch` must be at least 2 for mixup and CutMix, got {batch}; set "
            "`augmentation.mixup` and `augmentation.cutmix` to 0"
        )


def _finish(dataset: StackDataset, seed: int, stack: Stack) -> tuple[Floats, Floats]:
    """Window and augment one stack."""
    shares = stack.fractions.astype(np.float32) / np.float32(FULL_COVERAGE)
    return dataset.augmentation(dataset.window.apply(stack.planes), shares, seed=seed)


def _as_tensorflow_dataset(
    batches: Callable[[], Iterator[Batch]], dataset: StackDataset, *, batch: int, levels: int
) -> Any:
    import tensorflow as tf

    side = dataset.canvas
    targets = tuple(
        tf.TensorSpec((batch, side >> level, side >> level, dataset.regions), tf.float32)
        for level in range(levels + 1)
    )
    stacks = tf.TensorSpec((batch, side, side, 2 * dataset.context + 1), tf.float32)
    counted = tf.data.experimental.assert_cardinality(dataset.stacks // batch)
    return (
        tf.data.Dataset.from_generator(
            batches, output_signature=(stacks, targets if levels else targets[0])
        )
        .apply(counted)
        .prefetch(READ_AHEAD)
    )
