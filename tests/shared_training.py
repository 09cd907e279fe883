"""A training on one device and on two: see `test_devices`. Prints both as a line of JSON."""

import json
from typing import Any

import keras
import numpy as np

from thorax.devices import _share
from thorax.optimizers import make_optimizer

from .settings import train_params


def devices() -> list[Any]:
    """Return two devices, each a half of the CPU."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices("cpu")
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    return [device.name for device in tf.config.list_logical_devices("CPU")]


def train(used: list[Any]) -> dict[str, Any]:
    """Fit a line through points that lie on one."""
    points = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    values = points @ np.float32([[1.0], [2.0], [-1.0]])
    params = train_params(
        learning_rate=0.1, schedule="constant", warm_up=0.0, weight_decay=0.01, average=0.9
    )
    with _share(used, "auto"):
        keras.utils.set_random_seed(0)
        stack = keras.Input((3,))
        network = keras.Model(stack, keras.layers.Dense(1, name="logits")(stack))
        optimizer = make_optimizer(params, network.trainable_variables, steps=100)
        network.compile(optimizer, "mse", auto_scale_loss=False)
    history = network.fit(points, values, batch_size=8, epochs=10, shuffle=False, verbose=0)
    weights = [float(one) for array in network.get_weights() for one in array.ravel()]
    return {"devices": len(used), "weights": weights, "losses": history.history["loss"]}


if __name__ == "__main__":
    both = devices()
    print(json.dumps([train(both[:1]), train(both)]))  # noqa: T201
