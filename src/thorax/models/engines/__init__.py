"""Inference engines, one per module, so that only the chosen one is imported."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

EngineName = Literal["openvino", "onnxruntime", "keras"]

Device = Literal["auto", "cpu", "gpu"]

Precision = Literal["auto", "float32"]


class Engine(Protocol):
    """Computes probabilities from slices."""

    def probabilities(self, planes: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return the probabilities of all slices of a scan.

        Args:
            planes: The slices on the canvas, HU, shape ``(N, H, W)``.

        Returns:
            Shape ``(N, H, W, R)``.
        """
