"""ONNX Runtime engine: any CPU, and NVIDIA GPUs if its GPU package is installed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.models.engines import Device
from thorax.models.engines.stacks import in_batches

BATCH = 4
"""Stacks per step."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class OnnxRuntimeEngine:
    """Runs an ONNX graph in ONNX Runtime, in float32.

    Args:
        graph: See `thorax.models.engines.open.open_engine`.
        device: ``gpu`` is an NVIDIA GPU.

    Raises:
        InputError: The graph cannot be run, or the device does not exist.
    """

    def __init__(self, graph: bytes, *, device: Device) -> None:
        import onnxruntime

        provider = _PROVIDERS["cpu" if device == "auto" else device]
        if provider not in onnxruntime.get_available_providers():
            raise InputError(
                "ONNX Runtime has no GPU here; install onnxruntime-gpu instead of onnxruntime, or "
                "omit --device"
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(graph, settings, providers=[provider])
        except Exception as error:  # its exceptions have no common class of their own
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"ONNX Runtime cannot run this model: {reason}") from None
        stacks = self._session.get_inputs()[0]
        self._name, self._context = stacks.name, (stacks.shape[3] - 1) // 2

    def probabilities(
        self, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
    ) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""
        span = range(start, stop, BATCH)
        return in_batches(self._run, planes, span, window=window, context=self._context)

    def _run(self, stacks: NDArray[np.float32]) -> Any:
        return self._session.run(None, {self._name: stacks})[0]
