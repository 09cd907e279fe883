"""Keras: what a network is trained with, on whatever backend Keras has."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.backend import import_keras, worth_compiling
from thorax.errors import InputError
from thorax.inference import probabilities
from thorax.intensity import Window


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
        """See `thorax.engines.Engine`."""
        return probabilities(self._network, planes, start, stop, window=window)

    def keras_bytes(self) -> bytes:
        """The network as the bytes of a `.keras` file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self._network.save(path)
            return path.read_bytes()


def load_network(path: Path) -> Any:
    """Load a `.keras` file in safe mode, for prediction only.

    Raises:
        InputError: The file is missing, damaged, or holds code.
    """
    import_keras()
    import keras

    if not zipfile.is_zipfile(path):
        raise InputError(f"model {path} cannot be loaded: it is missing or cut short")
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # over a damaged file, Keras and h5py raise whatever comes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"model {path} cannot be loaded: {reason}") from error
    network.jit_compile = worth_compiling()
    return network
