"""Save a trained Keras network with its spec, and load it without running code from the file."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import whole_file, write_text
from thorax.models.backend import import_keras, worth_compiling
from thorax.models.spec import SPEC, ModelSpec, cannot_load, spec_json

MODEL = "model.keras"

MAX_WEIGHT_BYTES = 2**31
"""Limit for the weights of a network."""

MAX_CONFIG_NUMBER = 4096
"""Limit for numbers in the configuration of a network, such as sides and channels; not seeds."""

_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"

_MAX_CONFIG_BYTES = 2**24

_LAYERS = frozenset(
    [
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Conv2DTranspose",
        "DepthwiseConv2D",
        "Dropout",
        "GlobalAveragePooling2D",
        "GroupNormalization",
        "InputLayer",
        "LayerNormalization",
        "LeakyReLU",
        "MaxPooling2D",
        "Multiply",
        "PReLU",
        "ReLU",
        "Reshape",
        "SeparableConv2D",
        "SpatialDropout2D",
        "Subtract",
        "UpSampling2D",
        "ZeroPadding2D",
    ]
)

_MODULES = frozenset(("keras", "keras.initializers", "keras.regularizers", "keras.constraints"))

_MODELS = frozenset(("Functional", "Sequential"))


def save_trained(folder: Path, network: Any, spec: ModelSpec) -> None:
    """Write ``model.keras`` and ``spec.json``; equal networks give equal bytes.

    Keras notes the time of writing in two places of the archive, so it is written again.

    Args:
        folder: Created if it does not exist.
        network: A `keras.Model` from windowed stacks to logits.
        spec: The spec of this network.
    """
    with TemporaryDirectory() as scratch, whole_file(folder / MODEL) as temporary:
        dated = Path(scratch) / MODEL
        network.save(dated)
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(temporary, "w") as new:
            for name in sorted(old.namelist()):
                content = old.read(name)
                if name == _METADATA:
                    content = json.dumps(json.loads(content) | {"date_saved": ""}).encode()
                new.writestr(zipfile.ZipInfo(name), content)
    write_text(folder / SPEC, spec_json(spec))


def load_network(path: Path) -> Any:
    """Load a `.keras` file in safe mode, for prediction only.

    The archive is checked before Keras reads it: it must consist of built-in layers as used in
    such networks, and store all of its weights itself.

    Raises:
        InputError: The file is missing or damaged, contains code, or exceeds the limits above.
    """
    import_keras()
    import keras

    if not zipfile.is_zipfile(path):
        raise cannot_load(path, "it is missing or truncated; copy it again or repeat the training")
    try:
        _check_archive(path)
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # Keras and h5py raise many types of errors for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise cannot_load(path, reason) from error
    network.jit_compile = worth_compiling()
    return network


def _check_archive(path: Path) -> None:
    """Raise `InputError` unless the archive holds only built-in layers and its own weights."""
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sizes[_CONFIG] > _MAX_CONFIG_BYTES or sizes[_WEIGHTS] > MAX_WEIGHT_BYTES:
            raise cannot_load(
                path,
                f"{_CONFIG} must have at most {_MAX_CONFIG_BYTES >> 20} MiB and {_WEIGHTS} at "
                f"most {MAX_WEIGHT_BYTES >> 20} MiB",
            )
        with archive.open(_CONFIG) as stream:
            config = json.load(stream)
        for value in _walk(config):
            _check_config_value(value, path)
        _check_weights(io.BytesIO(archive.read(_WEIGHTS)), path)


def _walk(config: Any) -> Iterator[Any]:
    """Yield all mappings and numbers in JSON, except seeds, which may be any number."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(inner for key, inner in value.items() if key != "seed")
            yield value
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, int | float):
            yield value


def _check_config_value(value: Any, path: Path) -> None:
    if not isinstance(value, dict):
        if not abs(value) <= MAX_CONFIG_NUMBER:
            raise cannot_load(
                path,
                f"numbers in its configuration must be at most {MAX_CONFIG_NUMBER}, got {value:g}",
            )
        return
    kind, module = value.get("class_name"), value.get("module")
    if kind is not None and not _is_built_in(str(kind), str(module or "")):
        raise cannot_load(
            path,
            "it must consist of built-in Keras layers, got "
            f"{str(module or '')[:60]}.{str(kind)[:40]}",
        )


def _is_built_in(kind: str, module: str) -> bool:
    if module == "keras.layers":
        return kind in _LAYERS
    if module.startswith(("keras.src.models.", "keras.models")):
        return kind in _MODELS
    return module in _MODULES or module.startswith("keras.src.ops.") or kind == "__keras_tensor__"


def _check_weights(content: io.BytesIO, path: Path) -> None:
    """Raise `InputError` unless the file itself stores all weights in their declared sizes."""
    import h5py

    total, visited = 0, set()
    with h5py.File(content, "r") as weights:
        pending = [weights]
        while pending:
            group = pending.pop()
            # A group may contain its own parent.
            if (address := h5py.h5o.get_info(group.id).addr) in visited:
                continue
            visited.add(address)
            for name in group:
                item = _stored_item(group, name, path)
                if isinstance(item, h5py.Group):
                    pending.append(item)
                    continue
                total += item.nbytes
                if total > content.getbuffer().nbytes:
                    raise cannot_load(path, "its weights are smaller than declared")


def _stored_item(group: Any, name: str, path: Path) -> Any:
    """Return a group or dataset; raise `InputError` if it refers to another place or file."""
    import h5py

    if isinstance(group.get(name, getlink=True), h5py.HardLink):
        item = group[name]
        if isinstance(item, h5py.Group) or not (item.external or item.is_virtual):
            return item
    raise cannot_load(path, "it must store all of its weights itself")
