"""What runs the network of a segmenter: one module an engine, so that only one is imported."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window

EngineName = Literal["openvino", "onnxruntime", "keras"]

Device = Literal["auto", "cpu", "gpu"]

Precision = Literal["auto", "float32"]


class Engine(Protocol):
    """Turns planes into probabilities."""

    def probabilities(
        self, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
    ) -> NDArray[np.float32]:
        """Probabilities of the planes ``start..stop-1``, shape ``(stop - start, H, W, R)``."""
