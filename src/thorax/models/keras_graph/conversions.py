"""Conversion of each Keras layer and operation to ONNX nodes."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.models.keras_graph.graph import Graph, Value

_AXES = (0, 2, 3, 1)
"""Axis in the graph for each axis in Keras."""

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid"}


def cannot_export(rule: str, value: object, name: str) -> InputError:
    """Return the error for a part of a network that has no conversion."""
    return InputError(
        f"to export a network, {rule}, got {value} in {name!r}; change the network, or predict "
        "with the folder of the trained model"
    )


class Operation:
    """A Keras layer or operation, read only.

    Args:
        operation: The layer or operation.
    """

    def __init__(self, operation: Any) -> None:
        self._operation, self._config = operation, operation.get_config()

    def __getitem__(self, option: str) -> Any:
        """Return an option of the configuration."""
        return self._config[option]

    def require(self, option: str, *permitted: Any) -> None:
        """Raise `InputError` unless an option has one of these values."""
        if self[option] not in permitted:
            kind, values = type(self._operation).__name__, " or ".join(map(repr, permitted))
            rule = f"`{option}` of {kind} must be {values}"
            raise cannot_export(rule, repr(self[option]), self["name"])

    def weight(self, name: str) -> NDArray[np.float32]:
        """Return a weight of a layer."""
        from keras import ops

        return ops.convert_to_numpy(getattr(self._operation, name))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the output."""
        return self._operation.output.shape[1:]


def convert(graph: Graph, operation: Any, values: Sequence[Value]) -> Value:
    """Add the nodes of a Keras operation to a graph and return the name of its result.

    Raises:
        InputError: The operation or one of its options cannot be converted.
    """
    kind = type(operation).__name__
    if kind not in _CONVERSIONS:
        rule = f"its operations must be {listed([*_CONVERSIONS][:-1])} or {[*_CONVERSIONS][-1]}"
        raise cannot_export(rule, kind, operation.name)
    return _CONVERSIONS[kind](graph, Operation(operation), *values)


def _activated(graph: Graph, operation: Operation, maps: Value) -> Value:
    operation.require("activation", "linear", *_ACTIVATIONS)
    name = operation["activation"]
    return maps if name == "linear" else graph.add(_ACTIVATIONS[name], maps)


def _convolution(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("data_format", "channels_last")
    convolved = graph.add(
        "Conv",
        *(maps, *_kernel_and_bias(layer)),
        auto_pad=_auto_pad(layer),
        strides=layer["strides"],
        dilations=layer["dilation_rate"],
        group=layer["groups"],
    )
    return _activated(graph, layer, convolved)


def _transposed_convolution(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("data_format", "channels_last")
    layer.require("padding", "valid")
    layer.require("output_padding", None)
    layer.require("kernel_size", layer["strides"])
    convolved = graph.add(
        "ConvTranspose",
        *(maps, *_kernel_and_bias(layer)),
        strides=layer["strides"],
    )
    return _activated(graph, layer, convolved)


def _kernel_and_bias(layer: Operation) -> list[NDArray[np.float32]]:
    """Return the weights of a convolution, with the channels of a kernel first."""
    kernel = layer.weight("kernel").transpose(3, 2, 0, 1)
    return [kernel, layer.weight("bias")] if layer["use_bias"] else [kernel]


def _auto_pad(layer: Operation) -> str:
    """Return the padding, which in Keras is larger below and on the right if it is odd."""
    return {"same": "SAME_UPPER", "valid": "VALID"}[layer["padding"]]


def _maximum(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("data_format", "channels_last")
    return graph.add(
        "MaxPool",
        maps,
        auto_pad=_auto_pad(layer),
        kernel_shape=layer["pool_size"],
        strides=layer["strides"],
    )


def _padding(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("data_format", "channels_last")
    (top, bottom), (left, right) = layer["padding"]
    return graph.add("Pad", maps, np.array([0, 0, top, left, 0, 0, bottom, right]))


def _upsampling(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("data_format", "channels_last")
    layer.require("interpolation", "bilinear")
    scales = np.array([1, 1, *layer["size"]], np.float32)
    return graph.add("Resize", maps, "", scales, mode="linear")


def _batch_normalisation(graph: Graph, layer: Operation, maps: Value) -> Value:
    layer.require("axis", -1, 3)
    statistics = (layer.weight("moving_mean"), layer.weight("moving_variance"))
    weights = (*_scale_and_offset(layer), *statistics)
    return graph.add("BatchNormalization", maps, *weights, epsilon=layer["epsilon"])


def _group_normalisation(graph: Graph, layer: Operation, maps: Value) -> Value:
    """Normalise each group of channels; only values per channel change their shape.

    OpenVINO copies maps to change their shape, which takes longer than normalising them.
    """
    layer.require("axis", -1, 3)
    channels = layer.shape[-1]
    groups = channels if layer["groups"] == -1 else layer["groups"]
    scale, offset = (weight[:, None, None] for weight in _scale_and_offset(layer))
    centred = graph.add("Sub", maps, _group_mean(graph, maps, groups, channels))
    variance = _group_mean(graph, graph.add("Mul", centred, centred), groups, channels)
    deviation = graph.add(
        "Sqrt", graph.add("Add", variance, np.array([layer["epsilon"]], np.float32))
    )
    factor = graph.add("Div", scale, deviation)
    return graph.add("Add", graph.add("Mul", centred, factor), offset)


def _group_mean(graph: Graph, maps: Value, groups: int, channels: int) -> Value:
    """Return the mean of its group for each channel, `(N, C, 1, 1)`."""
    means = graph.add("ReduceMean", maps, axes=[2, 3], keepdims=1)
    if groups == channels:
        return means
    by_group = graph.add("Reshape", means, np.array([0, groups, -1]))
    mean = graph.add("ReduceMean", by_group, axes=[2], keepdims=1)
    repeated = graph.add("Mul", mean, np.ones((groups, channels // groups), np.float32))
    return graph.add("Reshape", repeated, np.array([0, channels, 1, 1]))


def _scale_and_offset(layer: Operation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    channels = layer.shape[-1]
    return (
        layer.weight("gamma") if layer["scale"] else np.ones(channels, np.float32),
        layer.weight("beta") if layer["center"] else np.zeros(channels, np.float32),
    )


def _mean(graph: Graph, operation: Operation, maps: Value) -> Value:
    operation.require("keepdims", True)
    axes = sorted(_AXES[axis] for axis in operation["axis"])
    return graph.add("ReduceMean", maps, axes=axes, keepdims=1)


def _concatenation(graph: Graph, layer: Operation, *maps: Value) -> Value:
    return graph.add("Concat", *maps, axis=_AXES[layer["axis"]])


def _sum(graph: Graph, _: Operation, *maps: Value) -> Value:
    return reduce(lambda left, right: graph.add("Add", left, right), maps)


def _product(graph: Graph, _: Operation, *maps: Value) -> Value:
    return reduce(lambda left, right: graph.add("Mul", left, right), maps)


def _square(graph: Graph, _: Operation, maps: Value) -> Value:
    return graph.add("Mul", maps, maps)


def _inverse_root(graph: Graph, _: Operation, maps: Value) -> Value:
    return graph.add("Reciprocal", graph.add("Sqrt", maps))


def _same(_: Graph, __: Operation, maps: Value) -> Value:
    """Return maps unchanged: dropout is for training, and the graph computes in float32."""
    return maps


_CONVERSIONS: Mapping[str, Callable[..., Value]] = {
    "Activation": _activated,
    "Add": _sum,
    "BatchNormalization": _batch_normalisation,
    "Cast": _same,
    "Concatenate": _concatenation,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Dropout": _same,
    "GroupNormalization": _group_normalisation,
    "MaxPooling2D": _maximum,
    "Mean": _mean,
    "Multiply": _product,
    "Rsqrt": _inverse_root,
    "SpatialDropout2D": _same,
    "Square": _square,
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _padding,
}
