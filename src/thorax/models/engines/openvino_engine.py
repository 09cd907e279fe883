"""OpenVINO engine: the fastest one on CPUs."""

import sys
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.imaging.intensity import Window
from thorax.models.engines import Device, Precision
from thorax.models.engines.stacks import in_batches

BATCH = 4
"""Stacks per step: on two cores 1 to 8 are equally fast, and 16 need twice the memory."""


def _import_without_telemetry() -> Any:
    """Import OpenVINO without the package through which it reports each import to Intel."""
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    import openvino

    return openvino


class OpenVinoEngine:
    """Runs an ONNX graph in OpenVINO.

    Args:
        graph: See `thorax.models.engines.open.open_engine`.
        device: ``gpu`` is an Intel GPU.
        precision: ``float32`` forbids bfloat16.

    Raises:
        InputError: The graph cannot be run, or the device does not exist.
    """

    def __init__(self, graph: bytes, *, device: Device, precision: Precision) -> None:
        openvino = _import_without_telemetry()
        target = "GPU" if device == "gpu" else "CPU"
        core = openvino.Core()
        if target not in {name.partition(".")[0] for name in core.available_devices}:
            raise InputError(
                f"OpenVINO has no {target} here, only {listed(core.available_devices)}; omit "
                "--device or choose another --engine"
            )
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        if precision == "float32":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            model = core.read_model(graph)
            # The batch size stays dynamic: a short last batch needs no padding.
            self._compiled = core.compile_model(model, target, settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"OpenVINO cannot run this model: {reason}") from None
        shape = model.input(0).partial_shape
        self._context = (shape[3].get_length() - 1) // 2
        self._request = self._compiled.create_infer_request()

    def probabilities(
        self, planes: NDArray[np.int16], start: int, stop: int, *, window: Window
    ) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""
        span = range(start, stop, BATCH)
        return in_batches(self._run, planes, span, window=window, context=self._context)

    def _run(self, stacks: NDArray[np.float32]) -> NDArray[np.float32]:
        outputs: Any = self._request.infer([stacks], share_inputs=True)
        return np.array(outputs[0])
