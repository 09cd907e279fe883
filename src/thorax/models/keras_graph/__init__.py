"""Convert a Keras network to an ONNX graph, on any Keras backend.

Only configuration and weights of the network are read; nothing is computed. Maps are
``(N, C, H, W)`` inside the graph, as ONNX requires, and ``(N, H, W, C)`` at its ends, as in Keras.
"""

from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.models.keras_graph.conversions import cannot_export, convert
from thorax.models.keras_graph.graph import INPUT, OUTPUT, Graph, Value

_Call = tuple[str, int]
"""Name of an operation and number of the call; an operation may be called several times."""


def to_graph(network: Any) -> bytes:
    """Convert a network to an ONNX graph from windowed stacks to probabilities, in float32.

    Equal networks give equal bytes: names are numbers, and the order follows from the network.

    Args:
        network: A functional or sequential `keras.Model` from windowed stacks to logits.

    Returns:
        An ONNX model, without metadata.

    Raises:
        InputError: An operation or one of its options cannot be converted.
    """
    import keras

    # Sequential networks have another configuration than functional ones.
    functional = keras.Model(network.inputs[0], network.outputs[0])
    config = functional.get_config()
    operations = {operation.name: operation for operation in functional.operations}
    arguments = {
        (layer["name"], number): list(_arguments(layer["name"], [node["args"], node["kwargs"]]))
        for layer in config["layers"]
        for number, node in enumerate(layer["inbound_nodes"])
    }
    graph = Graph()
    maps: dict[_Call, Value] = {
        _call(config["input_layers"]): graph.add("Transpose", INPUT, perm=[0, 3, 1, 2])
    }
    calls = {
        call: [a for a in needed if isinstance(a, tuple)] for call, needed in arguments.items()
    }
    for call in TopologicalSorter(calls).static_order():
        if call not in maps:
            values = [maps[a] if isinstance(a, tuple) else a for a in arguments[call]]
            maps[call] = convert(graph, operations[call[0]], values)
    logits = graph.add("Transpose", maps[_call(config["output_layers"])], perm=[0, 2, 3, 1])
    graph.add("Sigmoid", logits, output=OUTPUT)
    return graph.serialized(functional.input_shape[1:], functional.output_shape[1:])


def _call(history: Sequence[Any]) -> _Call:
    """Return the call that made a tensor; all operations here make one each."""
    name, number, _ = history
    return name, number


def _arguments(name: str, value: Any) -> Iterator[_Call | NDArray[np.float32]]:
    """Yield the tensors and numbers in the arguments of a call, from Keras' JSON."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield _call(value["config"]["keras_history"])
    elif isinstance(value, dict) and "class_name" in value:
        raise cannot_export("arguments must be tensors and numbers", value["class_name"], name)
    elif isinstance(value, dict):
        yield from _arguments(name, list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _arguments(name, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield np.asarray(value, np.float32)
