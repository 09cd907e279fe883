"""What training leaves: a folder with the network in Keras' own format, and its spec.

``model.keras`` holds the network in float32, made of Keras' own layers, so that it loads without
this package; ``spec.json`` says what goes in and what comes out.
"""

import io
import json
import zipfile
from pathlib import Path

from thorax.engines.keras_engine import KerasEngine
from thorax.specs import SPEC, SegmenterSpec, spec_json
from thorax.writing import whole_file, write_text

MODEL = "model.keras"


def save_trained(folder: Path, engine: KerasEngine, spec: SegmenterSpec) -> None:
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
