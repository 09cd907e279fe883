"""Protocol of a service that logs trainings; each has a module of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from thorax.training.loggers.run import RunDescription


class Service(Protocol):
    """Service that logs one training.

    Its methods may raise any exception: the logger is then switched off. Heavy packages are
    imported by `start`, which is called first.
    """

    def start(self, run: RunDescription, resumed: str) -> str:
        """Start a run, or continue one.

        Args:
            run: Description of the training.
            resumed: Identifier of the run to continue; empty: a new run.

        Returns:
            The identifier of the run.
        """

    def place(self) -> str:
        """Return the folder or address where the user finds the run."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log defined metrics of an epoch."""

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        """Log final metrics and the folder of the model, and end the run."""

    def abort(self) -> None:
        """End a run whose training was interrupted; it may be continued later."""
