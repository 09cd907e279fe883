"""Data-parallel training on several GPUs of one machine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import keras

from thorax.common.errors import InputError

Scope = Callable[[], AbstractContextManager[Any]]
"""Opens a new context with each call."""


@dataclass(frozen=True)
class DeviceStrategy:
    """Devices that share each batch.

    Args:
        devices: Number of devices.
        scope: Context in which the network is built and fitted: a `MirroredStrategy` for
            TensorFlow, a data-parallel `keras.distribution` for JAX, empty for one device.
    """

    devices: int = 1
    scope: Scope = nullcontext


SINGLE_DEVICE = DeviceStrategy()
"""One GPU or the CPU."""


def choose_devices(
    requested: int | Literal["auto"], *, batch: int, single_only: Sequence[str] = ()
) -> DeviceStrategy:
    """Choose the GPUs that share each batch.

    Args:
        requested: Number of GPUs; ``auto``: the most that divide the batch evenly.
        batch: Stacks per step.
        single_only: Settings in use that TensorFlow only supports on one device; with them
            ``auto`` is one GPU.

    Raises:
        InputError: There are fewer GPUs than requested, they do not divide the batch evenly, or a
            setting needs a single device.
    """
    if single_only and keras.backend.backend() == "tensorflow":
        if requested != "auto" and requested > 1:
            raise InputError(
                f"`train.devices` must be 1 with {single_only[0]} under TensorFlow, got {requested}"
            )
        return SINGLE_DEVICE
    return _share(_gpus(), requested, batch=batch)


def _share(devices: list[Any], requested: int | Literal["auto"], *, batch: int) -> DeviceStrategy:
    used = devices[: _count(len(devices), requested, batch)]
    if len(used) < 2:
        return SINGLE_DEVICE
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
        return DeviceStrategy(len(used), parallel.scope)
    import tensorflow as tf

    return DeviceStrategy(len(used), tf.distribute.MirroredStrategy(used).scope)


def _count(available: int, requested: int | Literal["auto"], batch: int) -> int:
    if requested == "auto":
        return max(count for count in range(1, max(1, available) + 1) if batch % count == 0)
    if requested > max(1, available):
        raise InputError(
            f"`train.devices` must be at most the number of GPUs, {available}, got {requested}; "
            "set it to auto"
        )
    if batch % requested:
        raise InputError(
            f"`train.devices` must divide the batch of {batch} stacks, got {requested}; set it to "
            f"auto or `train.batch` to a multiple of {requested}"
        )
    return requested


def _gpus() -> list[Any]:
    if keras.backend.backend() == "jax":
        import jax

        try:
            # Keras queries JAX this way, which raises if JAX only supports the CPU.
            jax.devices("gpu")
        except RuntimeError:
            return []
        return keras.distribution.list_devices("gpu")
    import tensorflow as tf

    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
