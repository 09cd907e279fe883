"""Export a trained network as an ONNX file and compare the file with the network."""

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
from thorax.models.engines.open import default_engine, open_engine
from thorax.models.keras_file import MODEL, load_network
from thorax.models.onnx_file import write_model
from thorax.models.spec import SUMMARY, ExpectedDiceModel, ModelSpec, check_side_labels, load_spec

INPUT, OUTPUT = "stacks", "probabilities"
"""Input ``(N, H, W, 2k+1)``, windowed, and output ``(N, H, W, R)`` of the graph."""

TOLERANCE = 1e-4
"""Largest difference of probabilities that another order of float32 sums explains."""

COMPARED_SLICES = 24
"""Slices of the synthetic scan for the comparison."""


@dataclass(frozen=True)
class ExportComparison:
    """Difference between an exported model and its network.

    Args:
        max_difference: Largest difference of two probabilities.
        differing_pixels: Pixels on different sides of the threshold.
        pixels: Pixels compared.
    """

    max_difference: float
    differing_pixels: int
    pixels: int

    def __str__(self) -> str:
        return (
            f"exported model against Keras model: {self.differing_pixels} of {self.pixels} pixels "
            f"differ, probabilities by at most {self.max_difference:.1e}"
        )


def export_model(
    folder: Path,
    path: Path,
    *,
    threshold: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    expected: Mapping[str, ExpectedDiceModel] | None = None,
    licence: str = "",
    summary: str = "",
    side_labels: tuple[int, int] | None = None,
) -> ExportComparison:
    """Export a trained network as one file and compare both on the same slices.

    Args:
        folder: As written by `thorax.models.keras_file.save_trained`.
        path: Ends in ``.onnx``.
        threshold: Lowest probability of a voxel inside a region; None: that of the trained model.
        metrics: Scores to store in the file.
        expected: Region name → expected Dice model.
        licence: Licence of the model.
        summary: Training data in one line.
        side_labels: Label values of the right and the left lung in masks; None: one label for both.

    Returns:
        The difference in float32.

    Raises:
        InputError: There is no trained network, the file cannot be written, or a side label is not
            a label of the region ``lung``.
        RuntimeError: Probabilities differ by more than the tolerance; no file is written.
    """
    spec = load_spec(folder)
    network = load_network(folder / MODEL)
    graph = to_graph(network)
    comparison = _compare(KerasEngine(network, spec.window), graph, spec)
    if comparison.max_difference > TOLERANCE:
        raise RuntimeError(f"the two models must agree within {TOLERANCE:g}; {comparison}")
    sides = dict(zip(("right", "left"), side_labels or (), strict=False))
    check_side_labels(sides, spec.regions)
    exported_spec = replace(
        spec,
        threshold=threshold or spec.threshold,
        metrics=dict(metrics or {}),
        expected_dice=dict(expected or {}),
        licence=licence,
        side_labels=sides,
        provenance=spec.provenance | ({SUMMARY: summary} if summary else {}),
    )
    write_model(path, graph, exported_spec)
    return comparison


def _compare(engine: KerasEngine, graph: bytes, spec: ModelSpec) -> ExportComparison:
    """Compare network and graph on smooth noise that fills the window."""
    noise = np.random.default_rng(0).standard_normal((COMPARED_SLICES, spec.canvas, spec.canvas))
    smooth = gaussian_filter(noise, (1, 3, 3))
    low_hu, high_hu = spec.window_hu
    spread = smooth / smooth.std() * (high_hu - low_hu) / 4
    planes = ((low_hu + high_hu) / 2 + spread).astype(np.int16)
    exported_engine = open_engine(graph, default_engine(), window=spec.window, precision="float32")
    expected, exported = (runner.probabilities(planes) for runner in (engine, exported_engine))
    differing = (expected >= spec.threshold) != (exported >= spec.threshold)
    return ExportComparison(
        max_difference=float(np.abs(expected - exported).max()),
        differing_pixels=int(np.count_nonzero(differing)),
        pixels=differing.size,
    )


def to_graph(network: Any) -> bytes:
    """Convert a network to an ONNX graph from windowed stacks to probabilities.

    Equal networks give equal bytes: the converter's names and node order, which differ between
    runs, are replaced.

    Args:
        network: A Keras network from windowed stacks to logits, in float32.

    Returns:
        An ONNX model, without metadata.
    """
    # Keras only exports networks that were run before.
    network.predict_on_batch(np.zeros((1, *network.input_shape[1:]), np.float32))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # tf2onnx uses names that NumPy 2 removed.
        warnings.simplefilter("ignore", FutureWarning)
        path = Path(folder) / "model.onnx"
        network.export(path, format="onnx", verbose=False)
        graph = onnx.load(path)
    return canonicalise(_with_sigmoid(graph)).SerializeToString(deterministic=True)


def canonicalise(model: Any) -> Any:
    """Return the same graph with names and an order that depend on the graph alone.

    Args:
        model: An ONNX model with one input and one output.
    """
    graph = model.graph
    names = {graph.input[0].name: INPUT}
    nodes = list(_in_order(graph))
    weights = {weight.name: weight for weight in graph.initializer}
    used: list[Any] = []
    for node in nodes:
        for name in node.input:
            if name in weights and name not in names:
                names[name] = f"weight_{len(used)}"
                used.append(onnx.TensorProto.FromString(weights[name].SerializeToString()))
                used[-1].name = names[name]
        for name in node.output:
            names[name] = f"value_{len(names)}"
    names[graph.output[0].name] = OUTPUT
    renamed = [
        _renamed(node, names, f"{node.op_type}_{number}") for number, node in enumerate(nodes)
    ]
    stacks, probabilities = _any_batch(graph.input[0], INPUT), _any_batch(graph.output[0], OUTPUT)
    return helper.make_model(
        helper.make_graph(renamed, "thorax", [stacks], [probabilities], used),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name="thorax",
    )


def _with_sigmoid(model: Any) -> Any:
    logits = model.graph.output[0]
    model.graph.node.append(helper.make_node("Sigmoid", [logits.name], [OUTPUT]))
    logits.name = OUTPUT
    return model


def _in_order(graph: Any) -> Iterator[Any]:
    """Yield the nodes that the output depends on, each after its own inputs."""
    makers = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    pending = [graph.output[0].name]
    while pending:
        node = makers.get(pending[-1])
        if node is None or node.output[0] in done:
            pending.pop()
            continue
        missing = [
            name for name in node.input if name in makers and makers[name].output[0] not in done
        ]
        if missing:
            pending.extend(reversed(missing))
            continue
        pending.pop()
        done.add(node.output[0])
        yield node


def _renamed(node: Any, names: dict[str, str], name: str) -> Any:
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    copy.name, copy.doc_string = name, ""
    copy.input[:] = [names.get(value, value) for value in node.input]
    copy.output[:] = [names[value] for value in node.output]
    copy.attribute.sort(key=lambda attribute: attribute.name)
    return copy


def _any_batch(value: Any, name: str) -> Any:
    """Return the description of an input or output for any number of stacks."""
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim[1:]]
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *sides])
