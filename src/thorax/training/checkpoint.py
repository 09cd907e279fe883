"""Checkpoints: the state of a training, from which it resumes after any interruption.

A checkpoint is one file with plain arrays and a line of JSON; loading it runs no code. Its name is
a digest of everything that the training depends on, so that no other training resumes from it.
DVC removes the outputs of a stage before it runs the stage, so checkpoints are not among them.
"""

import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from thorax.common.files import whole_file

PACKAGE = __name__.partition(".")[0]

Arrays = list[NDArray[Any]]

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""Errors of NumPy, zipfile and json for truncated files and flipped bits."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training at the end of an epoch.

    Args:
        variables: Variables of the model and its optimizer, in order.
        best: Weights of the network after the best epoch, in order.
        history: One row per epoch.
        batch: Stacks per step; a resumed training must keep it.
    """

    variables: Arrays
    best: Arrays
    history: list[dict[str, float]]
    batch: int


def source_files() -> list[Path]:
    """Return the source files of this package that the process has imported.

    A checkpoint depends on these only, so that an edit of another module does not discard it.
    """
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE]
    return sorted(Path(module.__file__) for module in modules if module.__file__)


def run_key(*, settings: Any, records: str, code: Iterable[Path]) -> str:
    """Return the digest of everything that a training depends on.

    Args:
        settings: JSON values: parameters, split, precision, backend.
        records: Digest of the records.
        code: Source files of the training.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(records.encode())
    for path in sorted(code):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    arrays: dict[str, Any] = {"history": np.array(json.dumps(checkpoint.history))}
    arrays["batch"] = np.array(checkpoint.batch)
    arrays |= _numbered("variable", checkpoint.variables) | _numbered("best", checkpoint.best)
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if it is missing or damaged."""
    try:
        with path.open("rb") as stream:
            return _read_checkpoint(stream)
    except OSError:
        return None


def parse_checkpoint(content: bytes) -> Checkpoint | None:
    """Read the bytes of a checkpoint; None if they are damaged."""
    return _read_checkpoint(io.BytesIO(content))


def _read_checkpoint(stream: BinaryIO) -> Checkpoint | None:
    try:
        # NumPy does not close a damaged file that it opened itself.
        with np.load(stream, allow_pickle=False) as stored:
            return Checkpoint(
                _ordered(stored, "variable"),
                _ordered(stored, "best"),
                json.loads(str(stored["history"])),
                int(stored["batch"]),
            )
    except _DAMAGE:
        return None


def saved_batch(path: Path) -> int | None:
    """Read the batch size of a checkpoint; None if it is missing or damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return int(stored["batch"])
    except _DAMAGE:
        return None


def _numbered(kind: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{kind}_{number:05d}": array for number, array in enumerate(arrays)}


def _ordered(stored: Any, kind: str) -> Arrays:
    return [stored[name] for name in sorted(stored.files) if name.startswith(kind)]
