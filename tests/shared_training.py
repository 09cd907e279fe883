"""A training on one device and on two: see `test_devices`. Prints both as a line of JSON."""

import json
from typing import Any

import keras
import numpy as np

from thorax.training.devices import _share
from thorax.training.optimizer import make_optimizer, unwrap_loss_scaling

from .settings import train_params


def devices() -> list[Any]:
    """Return two devices, each a half of the CPU."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices("cpu")
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    return [device.name for device in tf.config.list_logical_devices("CPU")]


class Spy(keras.layers.Layer):
    """Notes on how many devices a batch lies."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: set[int] = set()

    def call(self, batch: Any) -> Any:
        if keras.backend.backend() == "jax":
            import jax

            jax.debug.inspect_array_sharding(
                batch, callback=lambda found: self.parts.add(found.num_devices // _copies(found))
            )
        else:
            import tensorflow as tf

            replica = tf.distribute.get_replica_context()
            self.parts.add(replica.num_replicas_in_sync if replica else 1)
        return batch


def _copies(sharding: Any) -> int:
    """Return how many devices hold the very same rows."""
    rows = sharding.devices_indices_map((8, 3)).values()
    return sharding.num_devices // len(set(map(str, rows)))


def train(used: list[Any]) -> dict[str, Any]:
    """Fit a line through points that lie on one; most gradients are long enough to be clipped."""
    points = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    values = points @ np.float32([[1.0], [2.0], [-1.0]])
    params = train_params(
        learning_rate=0.1, schedule="constant", warm_up=0.0, weight_decay=0.01, ema_momentum=0.9,
        clip_norm=1.0,
    )  # fmt: skip
    sharing, spy = _share(used, "auto", batch=8), Spy()
    with sharing.scope():
        keras.utils.set_random_seed(0)
        stack = keras.Input((3,))
        network = keras.Model(stack, keras.layers.Dense(1, name="logits")(spy(stack)))
        optimizer = make_optimizer(params, network.trainable_variables, steps=100)
        network.compile(optimizer, "mse", auto_scale_loss=False)
    spy.parts.clear()
    with sharing.scope():
        history = network.fit(points, values, batch_size=8, epochs=10, shuffle=False, verbose=0)
    return {
        "devices": sharing.devices,
        "parts": max(spy.parts),
        "weights": [float(one) for array in network.get_weights() for one in array.ravel()],
        "losses": history.history["loss"],
        "norms": float(keras.ops.convert_to_numpy(unwrap_loss_scaling(optimizer).norms)),
    }


if __name__ == "__main__":
    both = devices()
    print(json.dumps([train(both[:1]), train(both)]))  # noqa: T201
