"""A training in progress, kept so that it can go on after any kind of end.

A checkpoint is one file of plain arrays and one line of JSON; loading it runs no code. Its name
is the digest of all that the training depends on, so that another training never picks it up.
DVC removes the outputs of a stage before it runs it; checkpoints lie where it does not reach.
"""

import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.common.files import whole_file

PACKAGE = __name__.partition(".")[0]

Arrays = list[NDArray[Any]]

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy, zipfile and json raise over a file that is cut short or has a flipped bit."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training at the end of an epoch.

    Args:
        variables: Of the network and its optimizer, in their order.
        best: Weights of the best epoch so far, in the order of the network.
        history: One row per epoch.
        batch: Stacks per step; a resumed training must keep it.
    """

    variables: Arrays
    best: Arrays
    history: list[dict[str, float]]
    batch: int


def source_files() -> list[Path]:
    """Source files of this package that the running process has imported.

    A checkpoint depends on them alone, so that an edit of other modules does not discard it.
    """
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE]
    return sorted(Path(module.__file__) for module in modules if module.__file__)


def run_key(*, settings: Any, records: str, code: Iterable[Path]) -> str:
    """Digest of all that a training depends on.

    Args:
        settings: Anything that JSON can hold: parameters, split, precision, backend.
        records: Digest of the records.
        code: Source files that take part.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(records.encode())
    for path in sorted(code):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    arrays: dict[str, Any] = {"history": np.array(json.dumps(checkpoint.history))}
    arrays["batch"] = np.array(checkpoint.batch)
    arrays |= _named("variable", checkpoint.variables) | _named("best", checkpoint.best)
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is none, or it is damaged."""
    try:
        # NumPy forgets to close a damaged file that it opened itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return Checkpoint(
                _ordered(stored, "variable"),
                _ordered(stored, "best"),
                json.loads(str(stored["history"])),
                int(stored["batch"]),
            )
    except _DAMAGE:
        return None


def saved_batch(path: Path) -> int | None:
    """Batch size of a checkpoint; None if there is none, or it is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return int(stored["batch"])
    except _DAMAGE:
        return None


def _named(kind: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{kind}_{number:05d}": array for number, array in enumerate(arrays)}


def _ordered(stored: Any, kind: str) -> Arrays:
    return [stored[name] for name in sorted(stored.files) if name.startswith(kind)]
