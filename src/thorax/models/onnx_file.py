"""Model file: an ONNX graph with the model spec in its metadata.

A model file may come from anywhere, so it is checked before an engine reads it. It must store all
of its weights itself and use only operators that compute arrays from arrays: no loops, no branches,
no access to files. The sizes of their results follow from the graph and are limited.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.models.spec import ModelSpec, cannot_load, parse_spec, spec_json

KEY = "thorax"
"""Metadata key of the spec."""

DIGEST = "thorax_sha256"
"""Metadata key of the SHA-256 of graph and spec; missing in files of older versions."""

MAX_FILE_BYTES = 2**31 - 1
"""Limit of the ONNX format."""

MAX_VALUES = 2**31
"""Limit for the values that all operators compute for one stack; the default network: 2**24."""

OPERATORS = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "ConvTranspose",
        "Div",
        "Dropout",
        "Exp",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "Identity",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "PRelu",
        "Reciprocal",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Softplus",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    ]
)
"""Permitted operators: those of the exported networks, and similar ones."""


def write_model(path: Path, graph: bytes, spec: ModelSpec) -> None:
    """Write a graph and its spec atomically; equal models give equal bytes.

    Args:
        path: Ends in ``.onnx``.
        graph: From `thorax.models.keras_graph.to_graph`.
        spec: The spec of this graph.

    Raises:
        InputError: The name does not end in ``.onnx``, or the folder cannot be written.
    """
    import onnx

    if path.suffix != ".onnx":
        raise InputError(f"a model file must end in .onnx, got {path}")
    model = onnx.ModelProto.FromString(graph)
    del model.metadata_props[:]
    model.metadata_props.add(key=DIGEST, value=_digest(model.graph, spec_json(spec)))
    model.metadata_props.add(key=KEY, value=spec_json(spec))
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def read_model(path: Path) -> tuple[ModelSpec, bytes]:
    """Read a model file: its spec, and the whole file as bytes.

    Raises:
        InputError: The file is missing or damaged, is not a thorax model, has a newer format
            version, refers to other files, or exceeds the permitted operators and sizes.
    """
    content = _content(path)
    model = _parsed(content, path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in metadata:
        raise InputError(f"{path} is an ONNX file without a thorax spec; export it again")
    _check_contained(model, path)
    spec = parse_spec(metadata[KEY], source=path)
    _check_shapes(model.graph, spec, path)
    if metadata.get(DIGEST) not in (None, _digest(model.graph, metadata[KEY])):
        raise cannot_load(path, "it is damaged; copy or export it again")
    _check_sizes(model, path)
    return spec, content


def _digest(graph: Any, spec: str) -> str:
    """Return the SHA-256 of graph and spec; it reveals changed weights, which still load."""
    content = hashlib.sha256(graph.SerializeToString(deterministic=True))
    content.update(spec.encode())
    return content.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise cannot_load(path, "it must be smaller than 2 GiB")
        return path.read_bytes()
    except OSError:
        raise InputError(
            f"there is no model {path}; train one with `dvc repro`, or name one with --model"
        ) from None


def _parsed(content: bytes, path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError:
        model = None
    if model is None or not model.graph.node:
        raise cannot_load(path, "it is damaged or not an ONNX file; copy or export it again")
    return model


def _check_contained(model: Any, path: Path) -> None:
    """Raise `InputError` for external data, other operators and incomplete weights."""
    graph = model.graph
    domains = {node.domain for node in graph.node} - {"", "ai.onnx"}
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    nested = any(item.HasField("g") or item.graphs or item.sparse_tensors for item in attributes)
    sparse = graph.sparse_initializer or any(item.HasField("sparse_tensor") for item in attributes)
    tensors = [*graph.initializer, *_constants(attributes)]
    external = [tensor.name for tensor in tensors if tensor.data_location or tensor.external_data]
    if external or domains or model.functions or model.training_info or nested or sparse:
        raise cannot_load(
            path, "it must store all of its weights itself and use standard ONNX operators only"
        )
    unknown = sorted({node.op_type for node in graph.node} - OPERATORS)
    if unknown:
        raise cannot_load(path, f"operator {unknown[0][:40]!r} is not permitted; export it again")
    if not all(map(_is_complete, tensors)):
        raise cannot_load(path, "its weights are smaller than declared")


def _constants(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _is_complete(tensor: Any) -> bool:
    """Return True if a tensor stores as many values as its shape declares."""
    from onnx import helper

    if any(side < 0 for side in tensor.dims):
        return False
    count = math.prod(tensor.dims)
    try:
        width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        return False
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) == count * width
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return max(len(field) for field in (*fields, tensor.uint64_data)) == count


def _check_sizes(model: Any, path: Path) -> None:
    """Limit the sizes of all results for one stack; ONNX infers them without running the graph."""
    import onnx

    single = onnx.ModelProto.FromString(model.SerializeToString())
    for end in (*single.graph.input, *single.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True)
        sizes = [_size(value) for value in inferred.graph.value_info]
    # It raises errors of C++ and of protobuf, which have no common class.
    except Exception:
        sizes = [math.nan]
    if not sum(sizes) <= MAX_VALUES:
        raise cannot_load(
            path,
            "its operators must fit together and compute at most "
            f"{MAX_VALUES:,} values for a stack; export it again",
        )


def _size(value: Any) -> float:
    """Return the number of values of a result; NaN if unknown."""
    shape = value.type.tensor_type.shape
    if not value.type.tensor_type.HasField("shape"):
        return math.nan
    if not all(side.HasField("dim_value") and side.dim_value >= 0 for side in shape.dim):
        return math.nan
    return math.prod(side.dim_value for side in shape.dim)


def _check_shapes(graph: Any, spec: ModelSpec, path: Path) -> None:
    """Raise `InputError` unless the spec and the graph have the same input and output shapes."""
    square = [spec.canvas, spec.canvas]
    ends = (
        (graph.input, [*square, 2 * spec.context + 1]),
        (graph.output, [*square, len(spec.regions)]),
    )
    for values, expected in ends:
        dims = [value.type.tensor_type.shape.dim for value in values]
        if any(dim and dim[0].HasField("dim_value") for dim in dims):
            raise cannot_load(path, "it must accept any batch size; export it again")
        sides = [[side.dim_value for side in dim[1:]] for dim in dims]
        if sides != [expected]:
            raise cannot_load(
                path,
                f"its spec has maps of {expected}, but its graph has "
                f"{sides[0] if sides else 'none'}",
            )
