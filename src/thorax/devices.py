"""Several GPUs on one machine, each with its share of every batch."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import keras

from thorax.errors import InputError


def share_batches(asked: int | Literal["auto"]) -> AbstractContextManager[Any]:
    """A context in which a network that is built is trained on as many GPUs as asked for.

    On TensorFlow it is a `MirroredStrategy`; on JAX a data-parallel `keras.distribution`. With one
    device, or none but the CPU, it is nothing.

    Args:
        asked: How many GPUs; ``auto``: all that there are.

    Raises:
        InputError: There are fewer GPUs than asked for.
    """
    return _share(_gpus(), asked)


def _share(devices: list[Any], asked: int | Literal["auto"]) -> AbstractContextManager[Any]:
    if asked != "auto" and asked > max(1, len(devices)):
        raise InputError(
            f"`train.devices: {asked}` asks for more GPUs than the {len(devices)} here"
        )
    used = devices if asked == "auto" else devices[:asked]
    if len(used) < 2:
        return nullcontext()
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=used, auto_shard_dataset=False)
        return parallel.scope()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(used).scope()


def _gpus() -> list[Any]:
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices("gpu")
    import tensorflow as tf

    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
