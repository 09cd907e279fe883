"""Keras engine: runs the trained network itself, on any Keras backend."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window
from thorax.models.engines.stacks import stacks


class KerasEngine:
    """Runs a Keras network.

    Args:
        network: A `keras.Model` from windowed stacks to logits.
        window: HU window of the network.
    """

    def __init__(self, network: Any, window: Window) -> None:
        self._network, self._window = network, window

    def probabilities(self, planes: NDArray[np.int16]) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""
        return probabilities(self._network, planes, 0, len(planes), window=self._window)


BATCH = 16
"""Stacks per step. Shorter batches are padded, because the network is compiled for one shape."""


def probabilities(
    network: Any, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
) -> NDArray[np.float32]:
    """Run a network on the planes ``start..stop-1`` of a scan.

    Args:
        network: A `keras.Model` from windowed stacks to logits.
        planes: All slices of a scan on the canvas, HU, shape ``(N, H, W)``.
        start: First slice.
        stop: One past the last slice.
        window: HU window of the network.

    Returns:
        Shape ``(stop - start, H, W, R)``.
    """
    context = (network.input_shape[-1] - 1) // 2
    parts = [
        _batch(network, window.apply(stacks(planes, low, min(low + BATCH, stop), context=context)))
        for low in range(start, stop, BATCH)
    ]
    return np.concatenate(parts)


def _batch(network: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.special import expit

    missing = BATCH - len(batch)
    padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else batch
    logits = np.asarray(network.predict_on_batch(padded))[: len(batch)]
    return expit(logits)
