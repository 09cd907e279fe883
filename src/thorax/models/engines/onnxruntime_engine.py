"""ONNX Runtime engine: any CPU, and NVIDIA GPUs if its GPU package is installed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.machine import cores
from thorax.imaging.intensity import Window
from thorax.models.engines import Device
from thorax.models.engines.planes_graph import PLANES, from_planes, planes_around

BATCH = {"cpu": 4, "gpu": 16}
"""Stacks per step."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class OnnxRuntimeEngine:
    """Runs an ONNX graph in ONNX Runtime, in float32.

    Each core computes a batch of its own; on a GPU, two threads prepare and fetch batches while
    another one is computed.

    Args:
        graph: See `thorax.models.engines.open.open_engine`.
        window: HU window of the network.
        device: ``gpu`` is an NVIDIA GPU.

    Raises:
        InputError: The graph cannot be run, or the device does not exist.
    """

    def __init__(self, graph: bytes, *, window: Window, device: Device) -> None:
        import onnxruntime

        target = "gpu" if device == "gpu" else "cpu"
        provider = _PROVIDERS[target]
        if provider not in onnxruntime.get_available_providers():
            raise InputError(
                "ONNX Runtime has no GPU here; install onnxruntime-gpu instead of onnxruntime, or "
                "omit --device"
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = 1
        self._batch, self._threads = BATCH[target], cores() if target == "cpu" else 2
        try:
            extended, self._context = from_planes(graph, window, batch=self._batch)
            self._session = onnxruntime.InferenceSession(extended, settings, providers=[provider])
        except Exception as error:  # its exceptions have no common class of their own
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"ONNX Runtime cannot run this model: {reason}") from None

    def probabilities(self, planes: NDArray[np.int16]) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""

        def run(start: int) -> Any:
            batch = planes_around(planes, start, batch=self._batch, context=self._context)
            return self._session.run(None, {PLANES: batch})[0][: len(planes) - start]

        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(run, range(0, len(planes), self._batch))))
