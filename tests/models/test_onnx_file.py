"""The model file: written and read, and refused if it is damaged or inconsistent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from thorax.common.errors import InputError
from thorax.inference.segmenter import load
from thorax.models.keras_graph import to_graph
from thorax.models.onnx_file import read_model, write_model
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SPEC = ModelSpec(2, "none", 1, (0, 1000), {"body": (1,), "bone": (2,)}, threshold=0.4)
Edit = Callable[[Any], object]


@pytest.fixture(scope="module")
def graph() -> bytes:
    return to_graph(pointwise([[0, 0], [8, -8], [0, 0]], [-4, 4], canvas=2))


@pytest.fixture
def path(graph: bytes, tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx", graph, SPEC)
    return tmp_path / "model.onnx"


def test_a_written_model_is_read(path: Path) -> None:
    spec, _ = read_model(path)
    assert spec == SPEC
    assert load(path).spec == SPEC


def test_a_model_can_be_written_again(path: Path, tmp_path: Path) -> None:
    spec, content = read_model(path)
    write_model(tmp_path / "again.onnx", content, spec)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_the_name_must_end_in_onnx(graph: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a model file must end in \.onnx, got .*model\.bin"):
        write_model(tmp_path / "model.bin", graph, SPEC)
    assert not list(tmp_path.iterdir())


def test_the_error_for_a_missing_file_has_a_remedy(tmp_path: Path) -> None:
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
    with pytest.raises(
        InputError, match=r"model .* cannot be loaded: it is damaged or not an ONNX"
    ):
        read_model(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError):
        load(path)


def test_a_flipped_bit_in_a_weight_is_refused(path: Path) -> None:
    weight = onnx.ModelProto.FromString(path.read_bytes()).graph.initializer[0].raw_data
    content = path.read_bytes()
    assert content.count(weight) == 1
    flipped = bytes([weight[0] ^ 1]) + weight[1:]
    path.write_bytes(content.replace(weight, flipped))
    with pytest.raises(InputError, match=r"model .* cannot be loaded: it is damaged; copy or exp"):
        load(path)


def test_a_model_of_an_older_version_without_a_digest_is_read(path: Path) -> None:
    def remove_digest(model: Any) -> None:
        del model.metadata_props[0]

    change(path, remove_digest)
    assert load(path).spec == SPEC


def change(path: Path, edit: Edit) -> None:
    """Edit a model file without thorax."""
    model = onnx.ModelProto.FromString(path.read_bytes())
    edit(model)
    path.write_bytes(model.SerializeToString())


def store_externally(model: Any) -> None:
    """Refer to an external file for a weight."""
    weight = model.graph.initializer[0]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(store_externally, "must store all of its weights itself", id="external"),
        pytest.param(
            lambda model: setattr(model.graph.node[0], "domain", "com.someone"),
            "must store all of its weights itself and use standard ONNX operators only",
            id="other operators",
        ),
        pytest.param(
            lambda model: model.metadata_props.pop(),
            "is an ONNX file without a thorax spec",
            id="no spec",
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
            r"its spec has maps of \[2, 2, 3\], but its graph has \[2, 2, 7\]",
            id="a spec of another network",
        ),
    ],
)
def test_inconsistent_models_are_refused(path: Path, edit: Edit, message: str) -> None:
    change(path, edit)
    with pytest.raises(InputError, match=message):
        read_model(path)


def test_the_keras_engine_needs_a_folder(path: Path) -> None:
    with pytest.raises(InputError, match="--engine keras needs the folder of a trained model"):
        load(path, engine="keras")
