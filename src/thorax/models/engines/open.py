"""Engines for exported graphs."""

from thorax.models.engines import Device, Engine, EngineName, Precision


def open_engine(
    graph: bytes, name: EngineName, *, device: Device = "auto", precision: Precision = "auto"
) -> Engine:
    """Make an engine for an ONNX graph.

    Args:
        graph: From windowed stacks ``(N, H, W, 2k+1)`` to probabilities ``(N, H, W, R)``.
        name: ``openvino`` or ``onnxruntime``.
        device: What it runs on; ``auto`` is the CPU, which the small canvas keeps fast.
        precision: ``auto`` lets the engine use bfloat16 where the hardware is made for it.

    Raises:
        InputError: The graph cannot be run, or there is no such device.
    """
    if name == "openvino":
        from thorax.models.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(graph, device=device, precision=precision)
    from thorax.models.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, device=device)
