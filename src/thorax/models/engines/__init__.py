"""Inference engines, one per module, so that only the chosen one is imported."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window

EngineName = Literal["openvino", "onnxruntime", "keras"]

Device = Literal["auto", "cpu", "gpu"]

Precision = Literal["auto", "float32"]


class Engine(Protocol):
    """Computes probabilities from slices."""

    def probabilities(
        self, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
    ) -> NDArray[np.float32]:
        """Return the probabilities of the planes ``start..stop-1``.

        Args:
            planes: All slices of a scan on the canvas, HU, shape ``(N, H, W)``.
            start: First slice.
            stop: One past the last slice.
            window: HU window of the network.

        Returns:
            Shape ``(stop - start, H, W, R)``.
        """
