"""From a trained network to one file that any ONNX runtime reads, and is seen to find the same."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper
from scipy.ndimage import gaussian_filter

from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.engines.open import open_engine
from thorax.models.keras_file import MODEL, load_network
from thorax.models.onnx_file import write_model
from thorax.models.spec import ExpectedDiceModel, ModelSpec, load_spec

SEEN, FOUND = "stacks", "probabilities"
"""What goes into the graph, ``(N, H, W, 2k+1)`` windowed, and what comes out, ``(N, H, W, R)``."""

TOLERANCE = 1e-4
"""Largest difference of probabilities that different orders of summing may make in float32."""

TRIED = 24
"""Planes of the scan that both are tried on."""


@dataclass(frozen=True)
class Exported:
    """How near an exported model comes to the network it was made from.

    Args:
        difference: Largest difference of two probabilities.
        differing: Pixels on different sides of the threshold.
        pixels: Pixels compared.
    """

    difference: float
    differing: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"the exported model finds the same: {self.differing} of {self.pixels} pixels differ, "
            f"probabilities by at most {self.difference:.1e}"
        )


def export(
    folder: Path,
    path: Path,
    *,
    threshold: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    expected: Mapping[str, ExpectedDiceModel] | None = None,
    licence: str = "",
) -> Exported:
    """Export what training left as one file, and try both on the same planes.

    Args:
        folder: As written by `thorax.models.keras_file.save_trained`.
        path: Ends in ``.onnx``.
        threshold: From which on a voxel belongs to a region; None: as the trained model has it.
        metrics: Scores to put in.
        expected: Region name → what Dice to expect of its masks.
        licence: Under which the model may be used.

    Returns:
        How near both come in float32.

    Raises:
        InputError: There is no trained network, or the file cannot be written.
        RuntimeError: They find different things; nothing is written.
    """
    spec = load_spec(folder)
    network = load_network(folder / MODEL)
    graph = to_graph(network)
    compared = _compare(KerasEngine(network), graph, spec)
    if compared.difference > TOLERANCE:
        raise RuntimeError(f"the exported model finds other things than the network: {compared}")
    told = replace(
        spec,
        threshold=threshold or spec.threshold,
        metrics=dict(metrics or {}),
        expected_dice=dict(expected or {}),
        licence=licence,
    )
    write_model(path, graph, told)
    return compared


def _compare(engine: KerasEngine, graph: bytes, spec: ModelSpec) -> Exported:
    """Try both on smooth noise that fills the window."""
    noise = np.random.default_rng(0).standard_normal((TRIED, spec.canvas, spec.canvas))
    smooth = gaussian_filter(noise, (1, 3, 3))
    low_hu, high_hu = spec.window_hu
    spread = smooth / smooth.std() * (high_hu - low_hu) / 4
    planes = ((low_hu + high_hu) / 2 + spread).astype(np.int16)
    exported = open_engine(graph, "openvino", precision="float32")
    one, two = (
        running.probabilities(planes, 0, TRIED, window=spec.window)
        for running in (engine, exported)
    )
    differing = (one >= spec.threshold) != (two >= spec.threshold)
    return Exported(
        float(np.abs(one - two).max()), int(np.count_nonzero(differing)), differing.size
    )


def to_graph(network: Any) -> bytes:
    """Turn a network into a graph from windowed stacks to probabilities.

    Equal networks give equal bytes: the converter's names and order, which it draws anew each
    time, are replaced.

    Args:
        network: A Keras network from windowed stacks to logits, in float32.

    Returns:
        An ONNX model, without metadata.
    """
    # Keras exports no network that was never run.
    network.predict_on_batch(np.zeros((1, *network.input_shape[1:]), np.float32))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # tf2onnx asks NumPy for names that NumPy 2 has no more.
        warnings.simplefilter("ignore", FutureWarning)
        path = Path(folder) / "model.onnx"
        network.export(path, format="onnx", verbose=False)
        graph = onnx.load(path)
    return canonicalise(_with_sigmoid(graph)).SerializeToString(deterministic=True)


def canonicalise(model: Any) -> Any:
    """The same graph with names and an order that follow from the graph alone.

    Args:
        model: An ONNX model with one input and one output.
    """
    graph = model.graph
    names = {graph.input[0].name: SEEN}
    nodes = list(_in_order(graph))
    weights = {weight.name: weight for weight in graph.initializer}
    kept: list[Any] = []
    for node in nodes:
        for name in node.input:
            if name in weights and name not in names:
                names[name] = f"weight_{len(kept)}"
                kept.append(onnx.TensorProto.FromString(weights[name].SerializeToString()))
                kept[-1].name = names[name]
        for name in node.output:
            names[name] = f"value_{len(names)}"
    names[graph.output[0].name] = FOUND
    settled_nodes = [
        _renamed(node, names, f"{node.op_type}_{number}") for number, node in enumerate(nodes)
    ]
    ends = _end(graph.input[0], SEEN), _end(graph.output[0], FOUND)
    whole = helper.make_graph(settled_nodes, "thorax", [ends[0]], [ends[1]], kept)
    return helper.make_model(
        whole,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name="thorax",
    )


def _with_sigmoid(model: Any) -> Any:
    end = model.graph.output[0]
    model.graph.node.append(helper.make_node("Sigmoid", [end.name], [FOUND]))
    end.name = FOUND
    return model


def _in_order(graph: Any) -> Iterator[Any]:
    """The nodes that the output needs, each after those that it needs itself."""
    makers = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    waiting = [graph.output[0].name]
    while waiting:
        node = makers.get(waiting[-1])
        if node is None or node.output[0] in done:
            waiting.pop()
            continue
        needed = [
            name for name in node.input if name in makers and makers[name].output[0] not in done
        ]
        if needed:
            waiting.extend(reversed(needed))
            continue
        waiting.pop()
        done.add(node.output[0])
        yield node


def _renamed(node: Any, names: dict[str, str], own: str) -> Any:
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    copy.name, copy.doc_string = own, ""
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names[name] for name in node.output]
    copy.attribute.sort(key=lambda attribute: attribute.name)
    return copy


def _end(described: Any, name: str) -> Any:
    """An input or output, for any number of stacks."""
    sides = [side.dim_value for side in described.type.tensor_type.shape.dim[1:]]
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *sides])
