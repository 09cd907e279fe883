"""Runs of Weights & Biases, online or in a local folder."""

import os
import uuid
from collections.abc import Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thorax.training.loggers.run import RunDescription

START_SECONDS = 10
"""Longest wait for the server when a run starts."""

SETTINGS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "save_code": False,
    "disable_git": True,
    "init_timeout": START_SECONDS,
    "login_timeout": START_SECONDS,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_graphql_retry_max": 1,
    "x_graphql_timeout_seconds": 5,
    "x_file_stream_retry_max": 1,
    "x_file_stream_timeout_seconds": 5,
    "x_file_transfer_retry_max": 1,
}
"""Settings of the client: few tries, and no names of users, folders and hosts."""


class WandB:
    """Logs to the server of `wandb login`, or to the folder ``wandb`` if there was no login.

    ``WANDB_MODE`` and the other variables of the client are respected; the project is
    ``WANDB_PROJECT``, by default ``thorax``.
    """

    def __init__(self) -> None:
        self._run: Any = None

    def start(self, run: RunDescription, resumed: str) -> str:
        """Start a run with all parameters and tags, or continue one."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        Path(run.folder).mkdir(parents=True, exist_ok=True)
        identifier = resumed or uuid.uuid4().hex
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "thorax",
            dir=os.environ.get("WANDB_DIR") or run.folder,
            id=identifier,
            name=run.name,
            resume="allow" if resumed else None,
            mode=_mode(),
            config={**run.parameters, **run.tags},
            settings=wandb.Settings(**SETTINGS),
        )
        return identifier

    def place(self) -> str:
        """Return the page of the run, or its folder."""
        return str(self._run.url or self._run.settings.sync_dir)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log the metrics of an epoch."""
        self._run.log(dict(metrics), step=step)

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        """Log the final metrics as summary, and the model as artifact ``segmenter``."""
        import wandb

        self._run.summary.update({f"final_{name}": value for name, value in metrics.items()})
        artifact = wandb.Artifact("segmenter", type="model")
        artifact.add_dir(str(model))
        self._run.log_artifact(artifact)
        self._run.finish()

    def abort(self) -> None:
        """End the run as failed."""
        self._run.finish(exit_code=1)


def _mode() -> Any:
    """Return the mode of the environment; without one, online only after a login."""
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def _has_key() -> bool:
    """Return True if there is a key in the environment, or in the file that a login writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
