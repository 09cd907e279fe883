"""The model as one file: read whole, and refused where it is not what it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from thorax.common.errors import InputError
from thorax.inference.segmenter import load
from thorax.models.export import to_graph
from thorax.models.onnx_file import read_model, write_model
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SPEC = ModelSpec(2, "none", 1, (0, 1000), {"body": (1,), "bone": (2,)}, threshold=0.4)
Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_graph(pointwise([[0, 0], [8, -8], [0, 0]], [-4, 4], canvas=2))


@pytest.fixture
def path(graph: bytes, tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx", graph, SPEC)
    return tmp_path / "model.onnx"


def test_a_model_comes_back(path: Path) -> None:
    spec, _ = read_model(path)
    assert spec == SPEC
    assert load(path).spec == SPEC


def test_a_model_can_be_written_again(path: Path, tmp_path: Path) -> None:
    spec, content = read_model(path)
    write_model(tmp_path / "again.onnx", content, spec)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_name_must_say_what_it_is(graph: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a model file must end in \.onnx, got .*model\.bin"):
        write_model(tmp_path / "model.bin", graph, SPEC)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no model .*a\.onnx; train one with `dvc repro`"
    ):
        read_model(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"<html>404: not found</html>", b"\x00" * 100, b"\x80\x04\x95pickle"]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model .* cannot be loaded: it is damaged, or no ONNX"):
        read_model(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(path: Path, kept: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError):
        load(path)


def test_a_flipped_bit_in_a_weight_is_noticed(path: Path) -> None:
    weight = onnx.ModelProto.FromString(path.read_bytes()).graph.initializer[0].raw_data
    content = path.read_bytes()
    assert content.count(weight) == 1
    flipped = bytes([weight[0] ^ 1]) + weight[1:]
    path.write_bytes(content.replace(weight, flipped))
    with pytest.raises(InputError, match=r"model .* cannot be loaded: it is damaged; copy or exp"):
        load(path)


def test_a_model_without_a_digest_is_of_an_older_version(path: Path) -> None:
    def forget(model: Any) -> None:
        del model.metadata_props[0]

    change(path, forget)
    assert load(path).spec == SPEC


def change(path: Path, how: Change) -> None:
    """Change a model file as anyone could."""
    model = onnx.ModelProto.FromString(path.read_bytes())
    how(model)
    path.write_bytes(model.SerializeToString())


def outside(model: Any) -> None:
    """Keep the weights in a file that is none of the model's business."""
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(outside, "asks for more than its own weights", id="weights elsewhere"),
        pytest.param(
            lambda model: setattr(model.graph.node[0], "domain", "com.someone"),
            "asks for more than its own weights and the operators of ONNX",
            id="operators of others",
        ),
        pytest.param(
            lambda model: model.metadata_props.pop(), "holds no spec of thorax", id="no spec"
        ),
        pytest.param(
            lambda model: setattr(model.metadata_props[1], "value", "{}"),
            "is damaged: key `format` is missing",
            id="an empty spec",
        ),
        pytest.param(
            lambda model: (
                model.graph.input[0].type.tensor_type.shape.dim[3].__setattr__("dim_value", 7)
            ),
            r"its spec tells of maps of \[2, 2, 3\], but its graph has \[2, 2, 7\]",
            id="a spec of another network",
        ),
    ],
)
def test_what_is_not_as_it_says_is_refused(path: Path, how: Change, said: str) -> None:
    change(path, how)
    with pytest.raises(InputError, match=said):
        read_model(path)


def test_keras_is_not_needed_and_does_not_run_files(path: Path) -> None:
    with pytest.raises(InputError, match="--engine keras needs the folder that training leaves"):
        load(path, engine="keras")
