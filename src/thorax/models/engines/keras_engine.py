"""Keras: what a network is trained with, on whatever backend Keras has."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window
from thorax.models.engines.stacks import in_batches


class KerasEngine:
    """Runs a Keras network on whatever backend Keras has.

    Args:
        network: From windowed stacks to logits.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    def probabilities(
        self, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
    ) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""
        return probabilities(self._network, planes, start, stop, window=window)

    def keras_bytes(self) -> bytes:
        """The network as the bytes of a `.keras` file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self._network.save(path)
            return path.read_bytes()


BATCH = 16
"""Stacks a step of Keras; short batches are filled up: the network is compiled for one shape."""


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
    span = range(start, stop, BATCH)
    return in_batches(partial(_batch, network), planes, span, window=window, context=context)


def _batch(network: Any, seen: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.special import expit

    short = BATCH - len(seen)
    filled = np.pad(seen, ((0, short), (0, 0), (0, 0), (0, 0))) if short else seen
    logits = np.asarray(network.predict_on_batch(filled))[: len(seen)]
    return expit(logits)
