"""Worker: each epoch is logged once, and a run that is interrupted can be continued."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from thorax.training.loggers.run import RunDescription
from thorax.training.loggers.worker import LINGER_SECONDS, LoggedRun, serve


class FakeService:
    """Stands in for a service, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, run: RunDescription, resumed: str) -> str:
        self.calls.append(("start", resumed))
        return resumed or "r1"

    def place(self) -> str:
        return "here"

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self.calls.append((step, dict(metrics)))

    def finish(self, metrics: Mapping[str, float], model: Path) -> None:
        self.calls.append(("finish", dict(metrics), model))

    def abort(self) -> None:
        self.calls.append("abort")


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record alarms instead of setting them."""
    seconds: list[int] = []
    monkeypatch.setattr("thorax.training.loggers.worker.signal.alarm", seconds.append)
    return seconds


def log(run: RunDescription, *messages: dict[str, Any], resumed: bool = False) -> tuple[Any, Any]:
    """Serve messages after a start; return the calls of the service and the answers."""
    service, answers = FakeService(), []
    start = {"event": "start", "run": asdict(run), "resumed": resumed}
    lines = [json.dumps(message) for message in (start, *messages)]
    serve(LoggedRun("fake", service), lines, answers.append)
    return service.calls, answers


def epoch(number: int, **metrics: float) -> dict[str, Any]:
    return {"event": "epoch", "row": {"epoch": number, **metrics}}


FINISH = {"event": "finish", "metrics": {"dice": float("nan"), "loss": 1.0}, "model": "m"}


def test_defined_metrics_are_logged_until_the_last_message(run: RunDescription) -> None:
    calls, answers = log(run, epoch(0, dice=0.0), epoch(1, loss=0.5, dice=float("nan")), FINISH)
    assert calls == [
        ("start", ""),
        (0, {"dice": 0.0}),
        (1, {"loss": 0.5}),
        ("finish", {"loss": 1.0}, Path("m")),
    ]
    assert answers == [{"place": "here"}, {"done": True}]


def test_messages_that_end_without_the_last_abort_the_run(
    run: RunDescription, alarms: list[int]
) -> None:
    calls, answers = log(run, epoch(1, loss=0.5))
    assert calls[-1] == "abort"
    assert answers == [{"place": "here"}]
    assert alarms == [LINGER_SECONDS]


@pytest.mark.usefixtures("alarms")
def test_a_resumed_run_logs_the_other_epochs_only(run: RunDescription) -> None:
    log(run, epoch(1, loss=0.5), epoch(2, loss=0.25))
    calls, _ = log(run, *(epoch(number, loss=0.1) for number in (1, 2, 3)), FINISH, resumed=True)
    assert calls[:2] == [("start", "r1"), (3, {"loss": 0.1})]


@pytest.mark.usefixtures("alarms")
def test_a_new_training_starts_a_new_run(run: RunDescription) -> None:
    log(run, epoch(1, loss=0.5))
    calls, _ = log(run, epoch(1, loss=0.25), FINISH)
    assert calls[:2] == [("start", ""), (1, {"loss": 0.25})]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"run": "r0"}'])
def test_a_logger_that_joins_a_resumed_training_logs_all_epochs(
    run: RunDescription, content: str | None
) -> None:
    state = Path(f"{run.state}.fake.json")
    state.parent.mkdir()
    if content is not None:
        state.write_text(content)
    calls, _ = log(run, epoch(1, loss=0.5), FINISH, resumed=True)
    assert calls[:2] == [("start", ""), (1, {"loss": 0.5})]


def test_an_error_is_not_hidden(run: RunDescription) -> None:
    with pytest.raises(KeyError):
        log(run, {"event": "epoch", "row": {}})
