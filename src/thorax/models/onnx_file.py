"""A model as one file: an ONNX graph whose metadata hold the spec.

Nothing in it is run as code and nothing is fetched: a file that keeps its weights elsewhere, or
asks for other operators than `thorax.models.export` writes, is refused. These work out arrays from
arrays: there are no loops and branches among them, none reads a file, and how large their results
are follows from the graph, which is looked at before an engine sees it.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import whole_file
from thorax.models.spec import ModelSpec, parse_spec, spec_json

KEY = "thorax"
"""Name of the spec among the metadata."""

DIGEST = "thorax_sha256"
"""Name of the digest of graph and spec; files of older versions have none."""

LARGEST_BYTES = 2**31 - 1
"""What an ONNX file can hold."""

MOST_VALUES = 2**31
"""Numbers that the operators give for one stack, all together; the default network: 2**24."""

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
"""Of which a network can be made: what our own are made of, and their like."""


def write_model(path: Path, graph: bytes, spec: ModelSpec) -> None:
    """Write a graph and its spec, whole or not at all; equal models give equal bytes.

    Args:
        path: Ends in ``.onnx``.
        graph: As `thorax.models.export.to_graph` gives it.
        spec: What the graph was trained for.

    Raises:
        InputError: The name ends otherwise, or the folder cannot be written.
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
    """Read a model file: its spec, and the graph as bytes.

    Raises:
        InputError: There is no such file, it is damaged, no model of thorax, of a newer form, or
            asks for more than its own weights and the operators of a network, or for more memory
            than any network needs.
    """
    content = _content(path)
    model = _parsed(content, path)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in notes:
        raise InputError(f"{path} is an ONNX file, but holds no spec of thorax; export it again")
    _check_contained(model, path)
    spec = parse_spec(notes[KEY], source=path)
    _check_shapes(model.graph, spec, path)
    if notes.get(DIGEST) not in (None, _digest(model.graph, notes[KEY])):
        raise InputError(f"model {path} cannot be loaded: it is damaged; copy or export it again")
    _check_sizes(model, path)
    return spec, content


def _digest(graph: Any, spec: str) -> str:
    """Tells a changed bit, which most often only changes a weight."""
    content = hashlib.sha256(graph.SerializeToString(deterministic=True))
    content.update(spec.encode())
    return content.hexdigest()


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"model {path} cannot be loaded: it is larger than 2 GiB")
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
        raise InputError(f"model {path} cannot be loaded: it is damaged, or no ONNX file")
    return model


def _first(end: Any) -> Any:
    return end.type.tensor_type.shape.dim[0]


def _check_contained(model: Any, path: Path) -> None:
    """Refuse what would reach beyond the file, or holds less than it says."""
    graph = model.graph
    domains = {node.domain for node in graph.node} - {"", "ai.onnx"}
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    nested = any(one.HasField("g") or one.graphs or one.sparse_tensors for one in attributes)
    sparse = graph.sparse_initializer or any(one.HasField("sparse_tensor") for one in attributes)
    tensors = [*graph.initializer, *_constants(attributes)]
    outside = [tensor.name for tensor in tensors if tensor.data_location or tensor.external_data]
    if outside or domains or model.functions or model.training_info or nested or sparse:
        raise InputError(
            f"model {path} cannot be loaded: it asks for more than its own weights and the "
            "operators of ONNX"
        )
    unknown = sorted({node.op_type for node in graph.node} - OPERATORS)
    if unknown:
        raise InputError(
            f"model {path} cannot be loaded: a network needs no operator {unknown[0][:40]!r}; "
            "export it again"
        )
    if not all(map(_is_whole, tensors)):
        raise InputError(f"model {path} cannot be loaded: weights are not as many as it says")


def _constants(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _is_whole(tensor: Any) -> bool:
    """Whether a tensor holds as many numbers as its shape tells of."""
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
    """Work out how large all results are for one stack; ONNX does so without running anything."""
    import onnx

    single = onnx.ModelProto.FromString(model.SerializeToString())
    for end in (*single.graph.input, *single.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    try:
        found = onnx.shape_inference.infer_shapes(single, strict_mode=True, data_prop=True)
        sizes = [_size(value) for value in found.graph.value_info]
    # Its errors are those of C++ and of protobuf, which have no common class.
    except Exception:
        sizes = [math.nan]
    if not sum(sizes) <= MOST_VALUES:
        raise InputError(
            f"model {path} cannot be loaded: its operators must give {MOST_VALUES:,} numbers at "
            "most for a stack, and do not, or do not fit together"
        )


def _size(value: Any) -> float:
    """How many numbers a result has; NaN where that is not known."""
    shape = value.type.tensor_type.shape
    if not value.type.tensor_type.HasField("shape"):
        return math.nan
    if not all(side.HasField("dim_value") and side.dim_value >= 0 for side in shape.dim):
        return math.nan
    return math.prod(side.dim_value for side in shape.dim)


def _check_shapes(graph: Any, spec: ModelSpec, path: Path) -> None:
    """See whether the spec is that of this graph."""
    square = [spec.canvas, spec.canvas]
    ends = (
        (graph.input, [*square, 2 * spec.context + 1]),
        (graph.output, [*square, len(spec.regions)]),
    )
    for found, expected in ends:
        if any(
            one.type.tensor_type.shape.dim[:1] and _first(one).HasField("dim_value")
            for one in found
        ):
            raise InputError(f"model {path} cannot be loaded: it takes no stacks one by one")
        sides = [[side.dim_value for side in one.type.tensor_type.shape.dim[1:]] for one in found]
        if sides != [expected]:
            raise InputError(
                f"model {path} cannot be loaded: its spec tells of maps of {expected}, but its "
                f"graph has {sides[0] if sides else 'none'}"
            )
