"""Data-parallel training on several devices, which are GPUs as a rule."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from thorax.common.errors import InputError
from thorax.common.machine import free_memory_bytes
from thorax.training.hosts import process_count, process_rank

Scope = Callable[[], AbstractContextManager[Any]]
"""Opens a new context with each call."""


@dataclass(frozen=True)
class DeviceStrategy:
    """Devices that share each batch.

    Args:
        devices: Number of devices of all processes.
        scope: Context in which the network is built and fitted: a `MirroredStrategy` for
            TensorFlow, a data-parallel `keras.distribution` for JAX, empty for one device.
        processes: Number of processes, each with as many devices.
        rank: Number of this process, from 0.
    """

    devices: int = 1
    scope: Scope = nullcontext
    processes: int = 1
    rank: int = 0

    def local_part(self, batches: Iterable[Any]) -> Iterable[Any]:
        """Return the part of each batch that this process computes; one process: all of it.

        Args:
            batches: Tuples, also nested, of arrays of shape ``(B, …)``; the same in all processes.
        """
        if self.processes == 1:
            return batches
        return (keras.tree.map_structure(self._rows, batch) for batch in batches)

    def _rows(self, array: Any) -> Any:
        part = len(array) // self.processes
        return np.asarray(array)[self.rank * part : (self.rank + 1) * part]


SINGLE_DEVICE = DeviceStrategy()
"""One GPU or the CPU."""


def choose_devices(
    requested: int | Literal["auto"], *, batch: int, single_only: Sequence[str] = ()
) -> DeviceStrategy:
    """Choose the devices that share each batch.

    These are GPUs. JAX can also simulate several devices on a CPU, for a trial without GPUs.

    Args:
        requested: Number of devices of each process; ``auto``: the most that divide the batch
            evenly.
        batch: Stacks per step.
        single_only: Settings in use that TensorFlow only supports on one device; with them
            ``auto`` is one GPU.

    Raises:
        InputError: There are fewer devices than requested, they do not divide the batch evenly, or
            a setting needs a single device.
    """
    if single_only and keras.backend.backend() == "tensorflow":
        if requested != "auto" and requested > 1:
            raise InputError(
                f"`train.devices` must be 1 with {single_only[0]} under TensorFlow, got {requested}"
            )
        return SINGLE_DEVICE
    return _share(_devices(), requested, batch=batch)


def free_device_bytes() -> int:
    """Return the free memory of the first device under JAX, in bytes.

    Other backends, and CPUs, have no such value; for them it is the free memory of the machine.
    """
    if keras.backend.backend() == "jax":
        import jax

        statistics = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" in statistics:
            return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
    return free_memory_bytes()


def _share(
    devices: Sequence[Sequence[str]], requested: int | Literal["auto"], *, batch: int
) -> DeviceStrategy:
    """Share batches among the devices of each process."""
    processes = len(devices)
    count = _count(min(map(len, devices)), requested, batch, processes=processes)
    used = [device for own in devices for device in own[:count]]
    if len(used) < 2:
        return SINGLE_DEVICE
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
        return DeviceStrategy(len(used), parallel.scope, processes, process_rank())
    import tensorflow as tf

    return DeviceStrategy(len(used), tf.distribute.MirroredStrategy(used).scope)


def _count(
    available: int, requested: int | Literal["auto"], batch: int, *, processes: int = 1
) -> int:
    """Return the number of devices of each process."""
    if batch % processes:
        raise InputError(
            f"`train.batch` must be a multiple of the {processes} processes that share each batch, "
            f"got {batch}"
        )
    part = batch // processes
    if requested == "auto":
        return max(count for count in range(1, max(1, available) + 1) if part % count == 0)
    if requested > max(1, available):
        raise InputError(
            f"`train.devices` must be at most the number of devices, {max(1, available)}, got "
            f"{requested}; set it to auto"
        )
    if part % requested:
        raise InputError(
            f"`train.devices` must divide the {_share_of_batch(batch, processes)}, got "
            f"{requested}; set it to auto or `train.batch` to a multiple of {requested * processes}"
        )
    return requested


def _share_of_batch(batch: int, processes: int) -> str:
    if processes == 1:
        return f"batch of {batch} stacks"
    return f"{batch // processes} stacks of each process"


def _devices() -> list[list[str]]:
    """Return the names of the devices of each process; none if TensorFlow has no GPU."""
    if keras.backend.backend() == "jax":
        import jax

        devices = jax.devices()
        return [
            [f"{device.platform}:{device.id}" for device in devices if device.process_index == rank]
            for rank in range(process_count())
        ]
    import tensorflow as tf

    return [[gpu.name for gpu in tf.config.list_logical_devices("GPU")]]
