"""OpenVINO engine: the fastest one on CPUs."""

import sys
from threading import Lock
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.machine import cores
from thorax.common.text import listed
from thorax.imaging.intensity import Window
from thorax.models.engines import Device, Precision
from thorax.models.engines.planes_graph import from_planes, planes_around

BATCH = 4
"""Stacks per step: 2 to 8 are equally fast, and more need more memory."""

MOST_STREAMS = 8
"""Largest number of batches at a time; each needs memory for its own intermediate maps."""


def _import_without_telemetry() -> Any:
    """Import OpenVINO without the package through which it reports each import to Intel."""
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    import openvino

    return openvino


class OpenVinoEngine:
    """Runs an ONNX graph in OpenVINO.

    Each core computes a batch of its own: on two cores this is a quarter faster than both on the
    same batch, and the result does not depend on the number of cores. Scans of several threads are
    computed one after another.

    Args:
        graph: See `thorax.models.engines.open.open_engine`.
        window: HU window of the network.
        device: ``gpu`` is an Intel GPU.
        precision: ``float32`` forbids bfloat16.

    Raises:
        InputError: The graph cannot be run, or the device does not exist.
    """

    def __init__(
        self, graph: bytes, *, window: Window, device: Device, precision: Precision
    ) -> None:
        openvino = _import_without_telemetry()
        target = "GPU" if device == "gpu" else "CPU"
        core = openvino.Core()
        if target not in {name.partition(".")[0] for name in core.available_devices}:
            raise InputError(
                f"OpenVINO has no {target} here, only {listed(core.available_devices)}; omit "
                "--device or choose another --engine"
            )
        streams = min(cores(), MOST_STREAMS)
        settings: dict[str, Any] = {"NUM_STREAMS": str(streams)}
        if target == "CPU":
            settings["INFERENCE_NUM_THREADS"] = cores()
        if precision == "float32":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            extended, self._context = from_planes(graph, window, batch=BATCH)
            compiled = core.compile_model(core.read_model(extended), target, settings)
        # It raises errors of C++ and of protobuf, which have no common class.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"OpenVINO cannot run this model: {reason}") from None
        self._shape = tuple(compiled.output(0).shape)
        self._queue = openvino.AsyncInferQueue(compiled, streams)
        # The queue has one callback, and waits for all of its requests.
        self._one_scan = Lock()

    def probabilities(self, planes: NDArray[np.int16]) -> NDArray[np.float32]:
        """See `thorax.models.engines.Engine`."""
        result = np.empty((len(planes), *self._shape[1:]), dtype=np.float32)

        def store(request: Any, start: int) -> None:
            part = result[start : start + BATCH]
            part[:] = request.get_output_tensor(0).data[: len(part)]

        with self._one_scan:
            self._queue.set_callback(store)
            for start in range(0, len(planes), BATCH):
                batch = planes_around(planes, start, batch=BATCH, context=self._context)
                self._queue.start_async([batch], userdata=start)
            self._queue.wait_all()
        return result
