"""Choose the engine for an exported graph."""

from importlib.util import find_spec

from thorax.common.errors import require_packages
from thorax.imaging.intensity import Window
from thorax.models.engines import Device, Engine, EngineName, Precision


def default_engine() -> EngineName:
    """Return the engine for files: OpenVINO if it is installed, otherwise ONNX Runtime."""
    return "openvino" if find_spec("openvino") else "onnxruntime"


def open_engine(
    graph: bytes,
    name: EngineName,
    *,
    window: Window,
    device: Device = "auto",
    precision: Precision = "auto",
) -> Engine:
    """Create an engine for an ONNX graph.

    Args:
        graph: From windowed stacks ``(N, H, W, 2k+1)`` to probabilities ``(N, H, W, R)``.
        name: ``openvino`` or ``onnxruntime``.
        window: HU window of the network.
        device: ``auto`` is the CPU, which is fast enough for the small canvas.
        precision: ``auto`` permits bfloat16 on hardware with bfloat16 instructions.

    Raises:
        InputError: The engine is not installed, the graph cannot be run, or the device does not
            exist.
    """
    require_packages(f"--engine {name}", name, extra="openvino")
    if name == "openvino":
        from thorax.models.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(graph, window=window, device=device, precision=precision)
    from thorax.models.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, window=window, device=device)
