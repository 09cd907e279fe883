"""A model as one file: an ONNX graph whose metadata hold the spec.

Nothing in it is run as code and nothing is fetched: a file that keeps its weights elsewhere, or
asks for operators beyond ONNX's own, is refused.
"""

import hashlib
from pathlib import Path
from typing import Any

from thorax.errors import InputError
from thorax.specs import SegmenterSpec, parse_spec, spec_json
from thorax.writing import whole_file

KEY = "thorax"
"""Name of the spec among the metadata."""
DIGEST = "thorax_sha256"
"""Name of the digest of graph and spec; files of older versions have none."""
LARGEST_BYTES = 2**31 - 1
"""What an ONNX file can hold."""


def write_model(path: Path, graph: bytes, spec: SegmenterSpec) -> None:
    """Write a graph and its spec, whole or not at all; equal models give equal bytes.

    Args:
        path: Ends in ``.onnx``.
        graph: As `thorax.exporting.to_graph` gives it.
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


def read_model(path: Path) -> tuple[SegmenterSpec, bytes]:
    """Read a model file: its spec, and the graph as bytes.

    Raises:
        InputError: There is no such file, it is damaged, no model of thorax, of a newer form, or
            asks for more than its own weights and ONNX's own operators.
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


def _check_contained(model: Any, path: Path) -> None:
    """Refuse what would reach beyond the file."""
    outside = [weight.name for weight in model.graph.initializer if weight.data_location]
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if outside or domains or model.functions:
        raise InputError(
            f"model {path} cannot be loaded: it asks for more than its own weights and the "
            "operators of ONNX"
        )


def _check_shapes(graph: Any, spec: SegmenterSpec, path: Path) -> None:
    """See whether the spec is that of this graph."""
    square = [spec.canvas, spec.canvas]
    ends = (
        (graph.input, [*square, 2 * spec.context + 1]),
        (graph.output, [*square, len(spec.regions)]),
    )
    for found, expected in ends:
        sides = [[side.dim_value for side in one.type.tensor_type.shape.dim[1:]] for one in found]
        if sides != [expected]:
            raise InputError(
                f"model {path} cannot be loaded: its spec tells of maps of {expected}, but its "
                f"graph has {sides[0] if sides else 'none'}"
            )
