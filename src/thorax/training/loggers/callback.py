"""Callback of a training that feeds the loggers of the parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from thorax.common.errors import require_packages
from thorax.training.loggers.process import LoggerProcess
from thorax.training.loggers.run import RunDescription
from thorax.training.schedule import score, validated_epochs

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Package of each logger, as in an import; the extra has the name of the logger."""


def check_loggers(names: Sequence[str]) -> None:
    """Check that the packages of the loggers are installed.

    Raises:
        InputError: One is missing; the message has the command that installs it.
    """
    for name in names:
        require_packages(f"`train.loggers: [{name}]`", PACKAGES[name], extra=name)


class Loggers:
    """Feeds loggers with a training; a `thorax.training.trainer.TrainingCallback`.

    Use it as a context manager: if the training is interrupted, the runs end as such.

    Args:
        names: Names of the loggers; each once, also if repeated.
        describe: Returns the description of the training; called only if there are loggers.
        log: Prints one line for the user.
    """

    def __init__(
        self,
        names: Sequence[str],
        describe: Callable[[], RunDescription],
        log: Callable[[str], None],
    ) -> None:
        self._describe, self._started = describe, False
        self._processes = [LoggerProcess(name, log) for name in dict.fromkeys(names)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.abort()

    def on_resume(self, history: Sequence[dict[str, float]]) -> None:
        """Start or continue the runs, and log the epochs that they do not have."""
        # A training that starts again with a smaller batch is one run.
        if self._processes and not self._started:
            run = asdict(self._describe())
            self._send({"event": "start", "run": run, "resumed": bool(history)})
        self._started = True
        for row in history:
            self._send({"event": "epoch", "row": row})

    def on_first_validation(self, row: dict[str, float]) -> None:
        """Log the Dice of the initial weights as epoch 0."""
        self._send({"event": "epoch", "row": row})

    def on_epoch_end(self, row: dict[str, float], *, stacks_per_s: float) -> None:
        """Log the metrics and the speed of an epoch."""
        self._send({"event": "epoch", "row": {**row, "stacks_per_s": stacks_per_s}})

    def on_validation_end(self, epoch: int, network: Any, cases: Any, *, last: bool) -> None:
        """Log nothing: the metrics follow at the end of the epoch."""

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        """Log final metrics and the folder of the model, and end the runs."""
        message = {"event": "finish", "metrics": dict(metrics), "model": str(model)}
        for process in self._processes:
            process.finish(message)

    def _send(self, message: Mapping[str, Any]) -> None:
        for process in self._processes:
            process.send(message)


def final_metrics(history: Sequence[dict[str, float]], *, seconds: float) -> dict[str, float]:
    """Return epochs, duration and last loss of a training, and the metrics of the kept weights.

    Args:
        history: One row per epoch.
        seconds: Duration of the training.

    Example:
        >>> rows = [{"epoch": 1, "loss": 0.5, "dice": 0.8}, {"epoch": 2, "loss": 0.4, "dice": 0.7}]
        >>> final_metrics(rows, seconds=60.0)
        {'epochs': 2, 'seconds': 60.0, 'loss': 0.4, 'best_epoch': 1, 'dice': 0.8}
    """
    last = history[-1]
    metrics = {"epochs": last["epoch"], "seconds": seconds, "loss": last["loss"]}
    rows = validated_epochs(history)
    if not rows:
        return metrics
    best = max(rows, key=lambda row: (score(row), row["epoch"]))  # of equals, the later
    dice = {name: value for name, value in best.items() if "dice" in name}
    return metrics | {"best_epoch": best["epoch"]} | dice
