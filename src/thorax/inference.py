"""From the planes of a scan to probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from thorax.intensity import Window
from thorax.stacks import stacks

BATCH = 16
"""Stacks a step. Short batches are filled up, so that the network is compiled for one shape."""


def probabilities(
    network: Any, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
) -> NDArray[np.float32]:
    """Run the network on the planes ``start..stop-1`` of a scan.

    Args:
        network: A Keras model from windowed stacks to logits.
        planes: All planes on the canvas, HU, shape ``(N, H, W)``.
        start: First plane wanted.
        stop: One past the last.
        window: What the network sees of the HU.

    Returns:
        Shape ``(stop - start, H, W, R)``.
    """
    context = (network.input_shape[-1] - 1) // 2
    parts = [
        _batch(network, window.apply(stacks(planes, low, min(low + BATCH, stop), context=context)))
        for low in range(start, stop, BATCH)
    ]
    return np.concatenate(parts)


def _batch(network: Any, seen: NDArray[np.float32]) -> NDArray[np.float32]:
    short = BATCH - len(seen)
    filled = np.pad(seen, ((0, short), (0, 0), (0, 0), (0, 0))) if short else seen
    logits = np.asarray(network.predict_on_batch(filled))[: len(seen)]
    return expit(logits)
