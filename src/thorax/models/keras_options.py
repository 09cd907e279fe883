"""Device and precision of Keras networks, which the machine and the network decide."""

from typing import Any

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.models.engines import Device, Precision


def check_keras_options(network: Any, *, device: Device, precision: Precision) -> None:
    """Check that a Keras network runs on a device and in a precision.

    It runs on a GPU if there is one, and in its own precision, which is float32 after a training.

    Args:
        network: A loaded `keras.Model`.
        device: Requested device.
        precision: Requested precision.

    Raises:
        InputError: It runs on another device or in half precision.
    """
    if device == "gpu" and not has_gpu():
        raise InputError("Keras has no GPU here; omit --device")
    if device == "cpu" and has_gpu():
        raise InputError(
            "--device cpu needs an exported model if there is a GPU, because Keras uses the GPU; "
            "run `thorax export` and name its file, or omit --device"
        )
    half = {layer.compute_dtype for layer in network.layers} & {"float16", "bfloat16"}
    if precision == "float32" and half:
        raise InputError(
            f"--precision float32 needs a network in float32, but {network.name} computes in "
            f"{listed(sorted(half))}; omit --precision"
        )


def has_gpu() -> bool:
    """Return True if the Keras backend has a GPU."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
