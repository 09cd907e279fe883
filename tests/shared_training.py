"""Train on one device and on two, and print the results as a line of JSON; see `test_devices`."""

import json
from typing import Any

import keras
import numpy as np

from thorax.training.devices import _share, choose_devices
from thorax.training.optimizer import make_optimizer, unwrap_loss_scaling

from .settings import train_params


def two_devices() -> list[Any]:
    """Return two devices, each a half of the CPU."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices("cpu")
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    return [device.name for device in tf.config.list_logical_devices("CPU")]


class Spy(keras.layers.Layer):
    """Records the number of devices that share a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: set[int] = set()

    def call(self, batch: Any) -> Any:
        if keras.backend.backend() == "jax":
            import jax

            jax.debug.inspect_array_sharding(
                batch,
                callback=lambda sharding: self.parts.add(sharding.num_devices // _copies(sharding)),
            )
        else:
            import tensorflow as tf

            replica = tf.distribute.get_replica_context()
            self.parts.add(replica.num_replicas_in_sync if replica else 1)
        return batch


def _copies(sharding: Any) -> int:
    """Return the number of devices that hold the same rows."""
    rows = sharding.devices_indices_map((8, 3)).values()
    return sharding.num_devices // len(set(map(str, rows)))


def train(devices: list[Any]) -> dict[str, Any]:
    """Fit a line through points on a line; most gradients are long enough to be clipped."""
    points = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    values = points @ np.float32([[1.0], [2.0], [-1.0]])
    params = train_params(
        learning_rate=0.1,
        schedule="constant",
        warm_up=0.0,
        weight_decay=0.01,
        ema_momentum=0.9,
        clip_norm=1.0,
    )
    strategy, spy = _share([devices], "auto", batch=8), Spy()
    with strategy.scope():
        keras.utils.set_random_seed(0)
        stack = keras.Input((3,))
        network = keras.Model(stack, keras.layers.Dense(1, name="logits")(spy(stack)))
        optimizer = make_optimizer(params, network.trainable_variables, steps=100)
        network.compile(optimizer, "mse", auto_scale_loss=False)
    spy.parts.clear()
    with strategy.scope():
        history = network.fit(points, values, batch_size=8, epochs=5, shuffle=False, verbose=0)
    return {
        "devices": strategy.devices,
        "parts": max(spy.parts),
        "weights": [float(weight) for array in network.get_weights() for weight in array.ravel()],
        "losses": history.history["loss"],
        "norms": float(keras.ops.convert_to_numpy(unwrap_loss_scaling(optimizer).norms)),
    }


if __name__ == "__main__":
    pair = two_devices()
    results = {
        "one": train(pair[:1]),
        "two": train(pair),
        "auto": choose_devices("auto", batch=8).devices,
    }
    print(json.dumps(results))  # noqa: T201
