"""Runs of MLflow, on a server or in a local folder."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thorax.training.loggers.run import RunDescription

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""Defaults of environment variables: a few seconds per request, and no reports to the makers."""

MOST_PARAMETERS, LONGEST_PARAMETER = 100, 6000
"""Limits of a request and of a value."""


class MLflow:
    """Logs to the server of ``MLFLOW_TRACKING_URI``, by default to the folder ``mlflow``.

    The experiment is ``MLFLOW_EXPERIMENT_NAME``, by default ``thorax``.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._run, self._uri = "", ""

    def start(self, run: RunDescription, resumed: str) -> str:
        """Create a run with all parameters and tags, or continue one."""
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        local = Path(run.folder, "mlflow").absolute()
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or local.as_uri()
        self._client = MlflowClient(self._uri)
        if resumed:
            self._run = resumed
            self._client.update_run(resumed, status="RUNNING")
            return resumed
        tags = {**run.tags, "mlflow.source.git.commit": run.tags["git_revision"]}
        created = self._client.create_run(self._experiment(), tags=tags, run_name=run.name)
        self._run = created.info.run_id
        self._log_parameters(run.parameters)
        return self._run

    def place(self) -> str:
        """Return the address of the server or of the folder."""
        return self._uri

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Log the metrics of an epoch in one request."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        values = [Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=values)

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        """Log the final metrics, and the model as artifact ``segmenter``."""
        self.log_metrics({f"final_{name}": value for name, value in metrics.items()}, step=0)
        self._client.log_artifacts(self._run, str(model), "segmenter")
        self._client.set_terminated(self._run, "FINISHED")

    def abort(self) -> None:
        """Mark the run as killed."""
        self._client.set_terminated(self._run, "KILLED")

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "thorax"
        experiment = self._client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else self._client.create_experiment(name)

    def _log_parameters(self, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        values = [Param(name, value[:LONGEST_PARAMETER]) for name, value in parameters.items()]
        for first in range(0, len(values), MOST_PARAMETERS):
            self._client.log_batch(self._run, params=values[first : first + MOST_PARAMETERS])
