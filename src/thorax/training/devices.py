"""Several GPUs on one machine, each with its share of every batch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import keras

from thorax.common.errors import InputError

Scope = Callable[[], AbstractContextManager[Any]]
"""Opens a context; again and again."""


@dataclass(frozen=True)
class DeviceStrategy:
    """Devices that a network is trained on together.

    Args:
        devices: How many.
        scope: The context in which the network is built and fitted: a `MirroredStrategy` on
            TensorFlow, a data-parallel `keras.distribution` on JAX, nothing for one device.
    """

    devices: int = 1
    scope: Scope = nullcontext


SINGLE_DEVICE = DeviceStrategy()
"""One GPU, or the CPU."""


def choose_devices(
    asked: int | Literal["auto"], *, batch: int, unshared: Sequence[str] = ()
) -> DeviceStrategy:
    """Share each batch among as many GPUs as asked for.

    Args:
        asked: How many GPUs; ``auto``: the most that a batch can be shared among evenly.
        batch: Stacks a step.
        unshared: Settings in use that TensorFlow cannot share; with them ``auto`` is one GPU.

    Raises:
        InputError: There are fewer GPUs than asked for, a batch has no equal shares for them, or
            something cannot be shared.
    """
    if unshared and keras.backend.backend() == "tensorflow":
        if asked != "auto" and asked > 1:
            raise InputError(
                f"`train.devices: {asked}` does not go with {unshared[0]} under TensorFlow; set "
                "`train.devices: 1`"
            )
        return SINGLE_DEVICE
    return _share(_gpus(), asked, batch=batch)


def _share(devices: list[Any], asked: int | Literal["auto"], *, batch: int) -> DeviceStrategy:
    used = devices[: _count(len(devices), asked, batch)]
    if len(used) < 2:
        return SINGLE_DEVICE
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
        return DeviceStrategy(len(used), parallel.scope)
    import tensorflow as tf

    return DeviceStrategy(len(used), tf.distribute.MirroredStrategy(used).scope)


def _count(there: int, asked: int | Literal["auto"], batch: int) -> int:
    if asked == "auto":
        return max(count for count in range(1, max(1, there) + 1) if batch % count == 0)
    if asked > max(1, there):
        raise InputError(f"`train.devices: {asked}` asks for more GPUs than the {there} here")
    if batch % asked:
        raise InputError(
            f"`train.devices: {asked}` cannot share steps of {batch} stacks evenly; set it to auto "
            f"or `train.batch` to a multiple of {asked}"
        )
    return asked


def _gpus() -> list[Any]:
    if keras.backend.backend() == "jax":
        import jax

        try:
            # Keras asks in this way, and JAX refuses where it was installed for the CPU alone.
            jax.devices("gpu")
        except RuntimeError:
            return []
        return keras.distribution.list_devices("gpu")
    import tensorflow as tf

    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
