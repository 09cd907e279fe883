"""Description of a training for the loggers: parameters, tags, and where local logs are kept."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thorax.common.params import Params
from thorax.common.project import git_or_empty

GIT_SECONDS = 10
"""Longest wait for git, which reads every tracked file to find changes."""


@dataclass(frozen=True)
class RunDescription:
    """Description of a training; all values can be written as JSON.

    Args:
        name: Name of the run: that of the DVC experiment, or dataset, network and checkpoint.
        parameters: All of `params.yaml`, as ``train.epochs`` → text.
        tags: Digests and revisions by name.
        folder: Folder for logs on this machine.
        state: Start of the paths of the files that identify the run when it is resumed.
    """

    name: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    folder: str
    state: str


def describe_run(
    params: Params, *, records_sha256: str, checkpoint: Path, folder: Path
) -> RunDescription:
    """Describe a training.

    Args:
        params: All parameters.
        records_sha256: Digest of the records.
        checkpoint: Checkpoint of the training; its name identifies the training.
        folder: Folder for logs on this machine.
    """
    key = checkpoint.stem[:8]
    used = {name: value for name, value in asdict(params).items() if name != "recipes"}
    return RunDescription(
        name=os.environ.get("DVC_EXP_NAME") or f"{params.dataset}-{params.network.name}-{key}",
        parameters=flatten(used),
        tags={
            "git_revision": git_revision(),
            "records_sha256": records_sha256,
            "checkpoint": checkpoint.stem,
        },
        folder=str(folder),
        state=str(checkpoint.with_suffix("")),
    )


def flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return nested settings as one mapping of texts.

    Example:
        >>> flatten({"seed": 0, "train": {"xla": False, "window": (-1000, 400)}, "loss": "dice"})
        {'seed': '0', 'train.xla': 'false', 'train.window': '[-1000, 400]', 'loss': 'dice'}
    """
    return dict(_leaves(settings, ""))


def _leaves(settings: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


def git_revision(folder: Path = Path()) -> str:
    """Return the commit of a folder, with ``-dirty`` if tracked files differ; empty without git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    return git_or_empty(folder, *describe, limit_s=GIT_SECONDS).strip()
