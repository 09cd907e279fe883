"""A graph from the slices of a scan, extended from a graph from windowed stacks.

Window and neighbours are then part of the network, so that the engine computes them in its own
threads and no stack is copied: each slice is passed once a batch instead of 2k+1 times.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import Window

PLANES = "planes"
"""Input of the extended graph: int16 HU, shape ``(batch + 2k, H, W)``."""


def from_planes(graph: bytes, window: Window, *, batch: int) -> tuple[bytes, int]:
    """Extend an ONNX graph so that its input are consecutive slices in HU.

    Args:
        graph: From windowed stacks ``(N, H, W, 2k+1)`` to probabilities ``(N, H, W, R)``.
        window: HU window of the network.
        batch: Number of stacks of the extended graph; engines are faster with a fixed one.

    Returns:
        The extended graph, from `PLANES` to probabilities ``(batch, H, W, R)``, and k.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not a graph.
        ValueError: The graph does not have one input of four dimensions.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.ModelProto.FromString(graph)
    inputs = model.graph.input
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ValueError("the graph must have one input of four dimensions")
    stacks = inputs[0].name
    _, height, width, channels = (side.dim_value for side in inputs[0].type.tensor_type.shape.dim)
    constants = {
        "low_hu": np.float32(window.low_hu),
        "per_hu": np.float32(1.0 / (window.high_hu - window.low_hu)),
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "neighbours": np.arange(batch)[:, None] + np.arange(channels)[None, :],
    }
    nodes = [
        helper.make_node("Cast", [PLANES], ["hu"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sub", ["hu", "low_hu"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "per_hu"], ["scaled"]),
        helper.make_node("Max", ["scaled", "zero"], ["raised"]),
        helper.make_node("Min", ["raised", "one"], ["windowed"]),
        # Shape (batch, 2k+1, H, W), then the channels last as in the graph.
        helper.make_node("Gather", ["windowed", "neighbours"], ["gathered"], axis=0),
        helper.make_node("Transpose", ["gathered"], [stacks], perm=[0, 2, 3, 1]),
    ]
    nodes += list(model.graph.node)
    shape = [batch + channels - 1, height, width]
    del model.graph.node[:], model.graph.input[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(helper.make_tensor_value_info(PLANES, onnx.TensorProto.INT16, shape))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = batch
    return model.SerializeToString(), (channels - 1) // 2


def planes_around(planes: NDArray[Any], start: int, *, batch: int, context: int) -> NDArray[Any]:
    """Return the input of one batch; the end slices are repeated beyond the ends of the scan.

    Args:
        planes: All slices of a scan, shape ``(N, H, W)``.
        start: Centre slice of the first stack.
        batch: Number of stacks.
        context: Neighbouring slices on each side.

    Returns:
        Shape ``(batch + 2·context, H, W)``.

    Example:
        >>> planes_around(np.arange(6).reshape(6, 1, 1), 4, batch=4, context=1).ravel().tolist()
        [3, 4, 5, 5, 5, 5]
    """
    around = np.arange(start - context, start + batch + context)
    return planes[np.clip(around, 0, len(planes) - 1)]
