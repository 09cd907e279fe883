"""Choose the engine for an exported graph."""

from thorax.models.engines import Device, Engine, EngineName, Precision


def open_engine(
    graph: bytes, name: EngineName, *, device: Device = "auto", precision: Precision = "auto"
) -> Engine:
    """Create an engine for an ONNX graph.

    Args:
        graph: From windowed stacks ``(N, H, W, 2k+1)`` to probabilities ``(N, H, W, R)``.
        name: ``openvino`` or ``onnxruntime``.
        device: ``auto`` is the CPU, which is fast enough for the small canvas.
        precision: ``auto`` permits bfloat16 on hardware with bfloat16 instructions.

    Raises:
        InputError: The graph cannot be run, or the device does not exist.
    """
    if name == "openvino":
        from thorax.models.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(graph, device=device, precision=precision)
    from thorax.models.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, device=device)
