"""A described training, and the process of a logger that gets all of its messages at once."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from thorax.training.loggers.process import SOURCE, worker_command
from thorax.training.loggers.run import RunDescription

Converse = Callable[..., list[dict[str, Any]]]

ROWS = [
    {"epoch": 1, "loss": 0.5, "dice": float("nan")},
    {"epoch": 2, "loss": 0.25, "dice": 0.75},
]


@pytest.fixture
def run(tmp_path: Path) -> RunDescription:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "spec.json").write_text("{}")
    return RunDescription(
        name="chests-lean-0f0f0f0f",
        parameters={"train.epochs": "2", "augmentation.custom": ""},
        tags={"git_revision": "abc", "records_sha256": "0f"},
        folder=str(tmp_path / "reports"),
        state=str(tmp_path / "checkpoints" / "key"),
    )


@pytest.fixture
def converse(run: RunDescription, tmp_path: Path) -> Converse:
    """Return a function that logs a training with one logger and returns its answers."""

    def log(
        name: str, rows: list[dict[str, float]], *, resumed: bool = False, finish: bool = True
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [
            {"event": "start", "run": asdict(run), "resumed": resumed}
        ]
        messages += [{"event": "epoch", "row": row} for row in rows]
        if finish:
            model = str(tmp_path / "model")
            messages.append({"event": "finish", "metrics": {"dice": 0.75}, "model": model})
        offline = {
            key: os.environ[key] for key in os.environ if not key.startswith(("WANDB", "ML"))
        }
        ended = subprocess.run(
            worker_command(name),
            input="".join(json.dumps(message) + "\n" for message in messages),
            cwd=tmp_path,
            env=offline | {"PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return log
