"""Process of a logger: messages from the training on stdin, answers on stdout.

Both are lines of JSON. A message names its event, ``start``, ``epoch`` or ``finish``; an answer has
one key: ``place`` after the start, ``done`` at the end, or ``error`` instead of it.
"""

import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from thorax.common.files import write_text
from thorax.training.loggers.mlflow import MLflow
from thorax.training.loggers.run import RunDescription
from thorax.training.loggers.service import Service
from thorax.training.loggers.tensorboard import TensorBoard
from thorax.training.loggers.wandb import WandB

SERVICES: dict[str, Callable[[], Service]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}

LINGER_SECONDS = 60
"""Longest life of this process after the training ended without a last message."""

LONGEST_REASON = 300

Answer = Callable[[Mapping[str, Any]], None]


class LoggedRun:
    """Run of one service; logs each epoch once, also if the training is resumed.

    The file of the state has the identifier of the run and the last epoch that was logged.

    Args:
        name: Name of the service.
        service: The service.
    """

    def __init__(self, name: str, service: Service) -> None:
        self._name, self._service = name, service
        self._state = Path()
        self._identifier, self._logged = "", -1
        self.is_open = False

    def start(self, run: Mapping[str, Any], *, resumed: bool) -> str:
        """Start or continue the run; return its place."""
        description = RunDescription(**run)
        self._state = Path(f"{description.state}.{self._name}.json")
        if resumed:
            self._identifier, self._logged = _read_state(self._state)
        self._identifier = self._service.start(description, self._identifier)
        self.is_open = True
        self._save()
        return self._service.place()

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log the defined metrics of an epoch, unless they were logged before."""
        step = int(row["epoch"])
        if step <= self._logged:
            return
        self._service.log_metrics(_defined(row), step=step)
        self._logged = step
        self._save()

    def finish(self, metrics: Mapping[str, float], model: str) -> None:
        """Log the final metrics and the model, and end the run."""
        self.is_open = False
        self._service.finish(_defined(metrics), Path(model))

    def abort(self) -> None:
        """End a run that was interrupted."""
        if self.is_open:
            self._service.abort()

    def _save(self) -> None:
        write_text(self._state, json.dumps({"run": self._identifier, "epoch": self._logged}))


def _read_state(path: Path) -> tuple[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["run"]), int(content["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", -1


def _defined(metrics: Mapping[str, float]) -> dict[str, float]:
    return {
        name: value for name, value in metrics.items() if name != "epoch" and math.isfinite(value)
    }


def serve(run: LoggedRun, messages: Iterable[str], answer: Answer) -> None:
    """Carry out the messages of a training until its last one, or until they end without it."""
    for line in messages:
        message = json.loads(line)
        match message.pop("event"):
            case "start":
                answer({"place": run.start(**message)})
            case "epoch":
                run.log_epoch(**message)
            case "finish":
                run.finish(**message)
                answer({"done": True})
                return
    signal.alarm(LINGER_SECONDS)
    run.abort()


def reason_of(error: BaseException) -> str:
    r"""Return the reason of an error in one line, without passwords in addresses.

    Example:
        >>> reason_of(ConnectionError("cannot reach http://ann:secret@logs.example:5000\nTrace"))
        'cannot reach http://logs.example:5000 Trace'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"://[^/@\s]*@", "://", text)[:LONGEST_REASON]


def main() -> None:
    """Log one training to the service that the command line names."""
    name, (messages, answers) = sys.argv[1], _take_streams()

    def answer(content: Mapping[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    status = 1
    try:
        serve(LoggedRun(name, SERVICES[name]()), messages, answer)
        status = 0
    except Exception as error:
        answer({"error": reason_of(error)})
    finally:
        # Services wait for their servers when Python exits.
        os._exit(status)


def _take_streams() -> tuple[TextIO, TextIO]:
    """Return stdin and stdout, and replace both, so that packages cannot read or write there."""
    streams = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    return streams
