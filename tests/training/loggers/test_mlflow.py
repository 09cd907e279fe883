"""Runs of MLflow: with a client that has the limits of a server, and in a local folder."""

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thorax.training.loggers.mlflow import MLflow
from thorax.training.loggers.run import RunDescription

from .conftest import ROWS, Converse


class FakeClient:
    """Stands in for `MlflowClient`: records calls, and refuses what a server refuses."""

    def __init__(self) -> None:
        self.uri = ""
        self.calls: list[tuple[str, Any]] = []

    def get_experiment_by_name(self, name: str) -> None:
        assert name == "thorax"

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def create_run(self, experiment: str, *, tags: dict[str, str], run_name: str) -> Any:
        self.calls.append((experiment, tags))
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def update_run(self, run: str, *, status: str) -> None:
        self.calls.append((run, status))

    def log_batch(self, run: str, *, params: Any = (), metrics: Any = ()) -> None:
        assert len(params) <= 100, "a request with more is refused"
        assert all(len(value) <= 6000 for _, value in params)
        self.calls.append(
            (run, [*params, *((name, value, step) for name, value, _, step in metrics)])
        )

    def log_artifacts(self, run: str, folder: str, name: str) -> None:
        self.calls.append((name, folder))

    def set_terminated(self, run: str, status: str) -> None:
        self.calls.append((run, status))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient()

    def connect(uri: str) -> FakeClient:
        client.uri = uri
        return client

    entities = SimpleNamespace(Param=lambda *values: values, Metric=lambda *values: values)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    tracking = SimpleNamespace(MlflowClient=connect)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in [name for name in os.environ if name.startswith("MLFLOW")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("thorax.training.loggers.mlflow.SETTINGS", {})
    return client


def test_many_and_long_parameters_fit_into_requests(
    client: FakeClient, run: RunDescription
) -> None:
    parameters = {f"p{number}": "x" * 7000 for number in range(201)}
    assert MLflow().start(replace(run, parameters=parameters), "") == "r1"
    created, *batches = client.calls
    assert created[0] == "experiment thorax"
    assert created[1]["mlflow.source.git.commit"] == "abc"
    assert [len(values) for _, values in batches] == [100, 100, 1]


def test_a_resumed_run_keeps_its_parameters(client: FakeClient, run: RunDescription) -> None:
    assert MLflow().start(run, "r0") == "r0"
    assert client.calls == [("r0", "RUNNING")]


def test_the_address_is_that_of_the_environment_or_a_folder(
    client: FakeClient, run: RunDescription, monkeypatch: pytest.MonkeyPatch
) -> None:
    MLflow().start(run, "")
    assert client.uri == Path(run.folder, "mlflow").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    MLflow().start(run, "")
    assert client.uri == "http://127.0.0.1:1"


def test_the_end_of_a_run(client: FakeClient, run: RunDescription, tmp_path: Path) -> None:
    logger = MLflow()
    logger.start(run, "")
    client.calls.clear()
    logger.log_metrics({"loss": 0.5}, step=3)
    logger.finish({"dice": 0.75}, tmp_path / "model")
    logger.abort()
    assert client.calls == [
        ("r1", [("loss", 0.5, 3)]),
        ("r1", [("final_dice", 0.75, 0)]),
        ("segmenter", str(tmp_path / "model")),
        ("r1", "FINISHED"),
        ("r1", "KILLED"),
    ]


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs thorax[mlflow]")
def test_a_resumed_training_is_one_run_in_a_local_folder(
    converse: Converse, tmp_path: Path
) -> None:
    assert len(converse("mlflow", ROWS[:1], finish=False)) == 1
    state = json.loads((tmp_path / "checkpoints/key.mlflow.json").read_text())
    assert converse("mlflow", ROWS, resumed=True)[-1] == {"done": True}
    (folder,) = (tmp_path / "reports/mlflow").glob(f"*/{state['run']}")
    assert len(list(folder.parent.glob("*/meta.yaml"))) == 1
    assert (folder / "params/train.epochs").read_text() == "2"
    assert (folder / "tags/records_sha256").read_text() == "0f"
    losses = [line.split()[1:] for line in (folder / "metrics/loss").read_text().splitlines()]
    assert losses == [["0.5", "1"], ["0.25", "2"]]
    assert (folder / "artifacts/segmenter/spec.json").read_text() == "{}"
