"""OpenVINO: the fastest on CPUs."""

import sys
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.imaging.intensity import Window
from thorax.models.engines import Device, Precision
from thorax.models.engines.stacks import in_batches

BATCH = 4
"""Stacks a step: on two cores 1 to 8 are equally fast, and 16 take twice the memory."""


def _import_in_silence() -> Any:
    """OpenVINO reports each import to Intel through another package; without that, it is mute."""
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    import openvino

    return openvino


class OpenVinoEngine:
    """Runs an ONNX graph in OpenVINO.

    Args:
        graph: See `thorax.models.engines.open.open_engine`.
        device: ``gpu`` is one of Intel's.
        precision: ``float32`` forbids bfloat16.

    Raises:
        InputError: The graph cannot be run, or there is no such device.
    """

    def __init__(self, graph: bytes, *, device: Device, precision: Precision) -> None:
        openvino = _import_in_silence()
        target = "GPU" if device == "gpu" else "CPU"
        core = openvino.Core()
        if target not in {name.partition(".")[0] for name in core.available_devices}:
            raise InputError(
                f"OpenVINO finds no {target} here, only {', '.join(core.available_devices)}; "
                "leave out --device, or choose another --engine"
            )
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        if precision == "float32":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            model = core.read_model(graph)
            # Whatever the batch: a last one that is short is not filled up.
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
        found: Any = self._request.infer([stacks], share_inputs=True)
        return np.array(found[0])
