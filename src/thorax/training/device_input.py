"""Batches whose slices are windowed and augmented on the device of the backend, which is JAX.

Records that fit are copied to the device once; after that only indices and draws are sent with a
batch. Otherwise a batch of int16 slices is sent, which is half of its size in float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.params import AugmentationParams
from thorax.imaging.intensity import Window
from thorax.imaging.placement import FULL_COVERAGE
from thorax.preprocessing.records import CaseRecord
from thorax.training.augmentation.on_device import augment
from thorax.training.devices import free_device_bytes
from thorax.training.stacks import Stack, StackChoice

DEVICE_SHARE = 0.5
"""Share of the free memory of the device that records may take."""

MOST_THICK = 3
"""Slices per mean of the thickest slices."""

Tensor = Any

Planes = dict[str, Tensor]
"""``planes`` in HU and ``fractions`` 0..255: of a batch, or of all cases and the indices in them.
"""


def check_device_augmentation(params: AugmentationParams) -> None:
    """Check that the settings allow an augmentation on the device.

    Raises:
        InputError: The backend is not JAX, or there is a custom transform.
    """
    if params.device == "cpu":
        return
    backend = keras.backend.backend()
    if backend != "jax":
        raise InputError(
            f"`augmentation.device: gpu` needs the JAX backend, got {backend}; set "
            "KERAS_BACKEND=jax, or `augmentation.device: cpu`"
        )
    if params.custom and params.level != "none":
        raise InputError(
            "`augmentation.custom` needs `augmentation.device: cpu`, where albumentations runs, "
            "got gpu; change one of them"
        )


@dataclass(frozen=True, eq=False)
class DeviceRecords:
    """Slices of all cases on the device.

    Args:
        planes: HU, int16, shape ``(N, H, W)``.
        fractions: Area fractions, 0..255, shape ``(N, H, W, R)``.
        starts: Index of the first slice of each case.
        depths: Slices of each case.
    """

    planes: Tensor
    fractions: Tensor
    starts: NDArray[np.int64]
    depths: NDArray[np.int64]

    def select(self, choices: Sequence[StackChoice], *, context: int, thick: int) -> Planes:
        """Return the records and the indices of a batch.

        Args:
            choices: Slices of each stack.
            context: Neighbours on each side.
            thick: Largest thickness, in slices.
        """
        indices = np.zeros((len(choices), 2 * context + 1, thick), np.int32)
        for row, choice in zip(indices, choices, strict=True):
            inside = choice.plane_indices(int(self.depths[choice.case]), context=context)
            row[:, : choice.thickness] = inside + self.starts[choice.case]
        thicknesses = np.array([choice.thickness for choice in choices], np.float32)
        return {
            "planes": self.planes,
            "fractions": self.fractions,
            "indices": indices,
            "thicknesses": thicknesses,
        }


def copy_to_device(
    read: Callable[[int], CaseRecord], planes: Sequence[int], *, bytes_per_plane: int
) -> DeviceRecords | None:
    """Copy all records to the device; None if they take more than a share of its free memory.

    Args:
        read: Function from the number of a case to its record.
        planes: Slices of each case.
        bytes_per_plane: Of a slice with its fractions.

    Raises:
        InputError: A record cannot be read.
    """
    if sum(planes) * bytes_per_plane > DEVICE_SHARE * free_device_bytes():
        return None
    records = [read(case) for case in range(len(planes))]
    depths = np.array([len(record.planes) for record in records], np.int64)
    return DeviceRecords(
        ops.convert_to_tensor(np.concatenate([record.planes for record in records])),
        ops.convert_to_tensor(np.concatenate([record.fractions for record in records])),
        np.cumsum(depths) - depths,
        depths,
    )


def as_planes(stacks: Sequence[Stack]) -> Planes:
    """Return the slices of a batch, to be sent to the device."""
    return {
        "planes": np.stack([stack.planes for stack in stacks]),
        "fractions": np.stack([stack.fractions for stack in stacks]),
    }


@cache
def compiled_batch_maker(maker: "BatchMaker") -> Callable[..., tuple[Tensor, Tensor]]:
    """Compile a batch maker once for all epochs."""
    import jax

    compiled: Callable[..., tuple[Tensor, Tensor]] = jax.jit(maker)
    return compiled


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches on the device, as one function that can be compiled.

    Args:
        window: HU window of the network.
        context: Neighbours on each side.
        levels: Number of additional coarser targets.
    """

    window: Window
    context: int
    levels: int = 0

    def __call__(
        self, selected: Planes, draws: dict[str, Tensor], noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return windowed, augmented stacks and their targets, as `numpy_batches` yields them.

        Args:
            selected: The slices of the batch.
            draws: Of its augmentation.
            noise: Standard normal values of the shape of the stacks, if noise was drawn.
        """
        planes, fractions = self._gather(selected)
        low, high = self.window.low_hu, self.window.high_hu
        stacks = ops.clip((ops.cast(planes, "float32") - low) / (high - low), 0.0, 1.0)
        shares = ops.cast(fractions, "float32") / FULL_COVERAGE
        stacks, shares = augment(stacks, shares, draws, noise)
        return stacks, _coarser(shares, self.levels) if self.levels else shares

    def _gather(self, selected: Planes) -> tuple[Tensor, Tensor]:
        if "indices" not in selected:
            return selected["planes"], selected["fractions"]
        indices = selected["indices"]
        planes = ops.take(selected["planes"], indices, axis=0)
        fractions = ops.take(selected["fractions"], indices[:, self.context], axis=0)
        if indices.shape[-1] == 1:
            return ops.moveaxis(planes[:, :, 0], 1, -1), fractions[:, 0]
        thickness = selected["thicknesses"]
        planes = _rounded_mean(ops.moveaxis(planes, 1, -1), thickness)
        return planes, _rounded_mean(fractions, thickness)


def _rounded_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Return the rounded mean over the first entries of axis 1, one count per stack."""
    counts = ops.reshape(counts, (-1, 1, 1, 1, 1))
    positions = ops.reshape(ops.arange(values.shape[1], dtype="float32"), (1, -1, 1, 1, 1))
    used = ops.where(positions < counts, ops.cast(values, "float32"), 0.0)
    return ops.round(ops.sum(used, axis=1) / counts[:, 0])


def _coarser(shares: Tensor, levels: int) -> tuple[Tensor, ...]:
    """Return the fractions and their means over 2×2 pixels, 4×4 and so on."""
    pooled = [shares]
    for _ in range(levels):
        pooled.append(ops.average_pool(pooled[-1], 2, strides=2, data_format="channels_last"))
    return tuple(pooled)


def standard_normal(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Return standard normal values, drawn on the device."""
    return keras.random.normal(shape, seed=seed, dtype="float32")
