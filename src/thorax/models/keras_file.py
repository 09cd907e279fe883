"""Save the trained Keras network, and load it safely."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import whole_file, write_text
from thorax.models.backend import import_keras, worth_compiling
from thorax.models.engines.keras_engine import KerasEngine
from thorax.models.spec import SPEC, ModelSpec, spec_json

MODEL = "model.keras"


def save_trained(folder: Path, engine: KerasEngine, spec: ModelSpec) -> None:
    """Write ``model.keras`` and ``spec.json``; equal networks give equal bytes."""
    with whole_file(folder / MODEL) as temporary:
        temporary.write_bytes(_without_dates(engine.keras_bytes()))
    write_text(folder / SPEC, spec_json(spec))


def _without_dates(keras_file: bytes) -> bytes:
    """Rewrite a `.keras` archive without the time of writing, which Keras notes in two places."""
    rewritten = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(keras_file)) as old,
        zipfile.ZipFile(rewritten, "w") as new,
    ):
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                metadata = json.loads(content) | {"date_saved": ""}
                content = json.dumps(metadata).encode()
            new.writestr(zipfile.ZipInfo(name), content)
    return rewritten.getvalue()


LARGEST_BYTES = 2**31
"""Of the weights of a network."""

LARGEST_NUMBER = 4096
"""In the description of a network: sides, channels and the like; seeds aside."""

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"

_LARGEST_CONFIG = 2**24

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


def load_network(path: Path) -> Any:
    """Load a `.keras` file in safe mode, for prediction only.

    Before Keras sees it, the file is looked at: it must be made of the plain layers that networks
    of this kind are made of, and hold its weights, all of them, itself.

    Raises:
        InputError: The file is missing, damaged, holds code, or more than such a network needs.
    """
    import_keras()
    import keras

    if not zipfile.is_zipfile(path):
        raise InputError(f"model {path} cannot be loaded: it is missing or cut short")
    try:
        _check_plain(path)
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # over a damaged file, Keras and h5py raise whatever comes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"model {path} cannot be loaded: {reason}") from error
    network.jit_compile = worth_compiling()
    return network


def _check_plain(path: Path) -> None:
    """Raise `InputError` for a file that asks for more than plain layers and its own weights."""
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sizes[_CONFIG] > _LARGEST_CONFIG or sizes[_WEIGHTS] > LARGEST_BYTES:
            raise InputError(f"model {path} cannot be loaded: it is larger than any network")
        with archive.open(_CONFIG) as stream:
            config = json.load(stream)
        for part in _parts(config):
            _check_part(part, path)
        _check_weights(io.BytesIO(archive.read(_WEIGHTS)), path)


def _parts(value: Any) -> Iterator[Any]:
    """All mappings and numbers in JSON, but for seeds, which may be any number."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting.extend(inner for key, inner in found.items() if key != "seed")
            yield found
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, int | float):
            yield found


def _check_part(part: Any, path: Path) -> None:
    if not isinstance(part, dict):
        if not abs(part) <= LARGEST_NUMBER:
            raise InputError(
                f"model {path} cannot be loaded: no number in its description may be larger than "
                f"{LARGEST_NUMBER}, got {part:g}"
            )
        return
    kind, module = part.get("class_name"), part.get("module")
    if kind is not None and not _is_plain(str(kind), str(module or "")):
        raise InputError(
            f"model {path} cannot be loaded: a network is made of Keras' plain layers, and needs "
            f"no {str(module or '')[:60]}.{str(kind)[:40]}"
        )


def _is_plain(kind: str, module: str) -> bool:
    if module == "keras.layers":
        return kind in _LAYERS
    if module.startswith(("keras.src.models.", "keras.models")):
        return kind in _MODELS
    return module in _MODULES or module.startswith("keras.src.ops.") or kind == "__keras_tensor__"


def _check_weights(content: io.BytesIO, path: Path) -> None:
    """See that the weights lie in the file, as large as they say."""
    import h5py

    total, seen = 0, set()
    with h5py.File(content, "r") as weights:
        waiting = [weights]
        while waiting:
            group = waiting.pop()
            # A group may hold the one that holds it.
            if (address := h5py.h5o.get_info(group.id).addr) in seen:
                continue
            seen.add(address)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"model {path} cannot be loaded: its weights lie elsewhere")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append(found)
                    continue
                if found.external or found.is_virtual:
                    raise InputError(f"model {path} cannot be loaded: its weights lie elsewhere")
                total += found.nbytes
                if total > content.getbuffer().nbytes:
                    raise InputError(
                        f"model {path} cannot be loaded: weights are not as many as it says"
                    )
