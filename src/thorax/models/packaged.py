"""Models that are part of an installation, in the folder `weights`, one ONNX file each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.models.spec import ModelSpec

DEFAULT_MODEL = "lungs"
"""Name of the model that segments a scan if no other is named."""

WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class PackagedModel:
    """A packaged model and its file.

    Args:
        name: Name for ``--model`` and `thorax.load`.
        path: The file.
        spec: Input, regions, provenance and licence.
        sha256: Digest of the file.
        size_bytes: Size of the file.
    """

    name: str
    path: Path
    spec: ModelSpec
    sha256: str
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return a description for JSON."""
        return {
            "name": self.name,
            "path": str(self.path),
            "regions": {name: list(labels) for name, labels in self.spec.regions.items()},
            "training_data": self.spec.training_data,
            "mean_dice": self.spec.mean_dice,
            "licence": self.spec.licence,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
        }


def find_model(model: str | Path) -> Path:
    """Return the path of a model: a file or folder, or the name of a packaged model.

    The name of a packaged model has priority over a file or folder of the same name in the current
    folder.

    Raises:
        InputError: It is the name of a packaged model, but the installation lacks the file.
    """
    if str(model) not in (DEFAULT_MODEL, *_names()):
        return Path(model)
    path = WEIGHTS / f"{model}.onnx"
    if not path.is_file():
        raise InputError(
            f"this installation of thorax has no model `{model}` (no file {path}); install thorax "
            "again, or name a model with --model"
        )
    return path


def packaged_models() -> list[PackagedModel]:
    """Read all packaged models, in the order of their names.

    Raises:
        InputError: A file is damaged, or the installation lacks the default model.
    """
    return [_read(name, find_model(name)) for name in sorted({DEFAULT_MODEL, *_names()})]


def _names() -> list[str]:
    return [path.stem for path in WEIGHTS.glob("*.onnx")]


def _read(name: str, path: Path) -> PackagedModel:
    from thorax.models.onnx_file import read_model

    spec, content = read_model(path)
    return PackagedModel(name, path, spec, file_sha256(path), len(content))
