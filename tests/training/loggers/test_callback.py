"""Callback: what the loggers get of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.training.loggers.callback import Loggers, check_loggers, final_metrics
from thorax.training.loggers.run import RunDescription


class FakeProcess:
    """Stands in for the process of a logger, and records the messages."""

    made: "list[FakeProcess]"

    def __init__(self, name: str, log: Any) -> None:
        self.name, self.messages = name, []
        FakeProcess.made.append(self)

    def send(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)

    def finish(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)

    def abort(self) -> None:
        self.messages.append({"event": "abort"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeProcess]:
    FakeProcess.made = []
    monkeypatch.setattr("thorax.training.loggers.callback.LoggerProcess", FakeProcess)
    return FakeProcess.made


def test_every_logger_gets_the_training(made: list[FakeProcess], run: RunDescription) -> None:
    with Loggers(["wandb", "mlflow", "wandb"], lambda: run, print) as loggers:
        loggers.on_resume([])
        loggers.on_first_validation({"epoch": 0, "dice": 0.1})
        loggers.on_validation_end(1, None, [], last=False)
        loggers.on_epoch_end({"epoch": 1, "loss": 0.5}, stacks_per_s=7.0)
        loggers.finish({"dice": 0.5}, Path("m"))
    assert [process.name for process in made] == ["wandb", "mlflow"]
    assert made[0].messages == made[1].messages
    start, *others = made[0].messages
    assert (start["event"], start["resumed"], start["run"]["name"]) == ("start", False, run.name)
    assert others == [
        {"event": "epoch", "row": {"epoch": 0, "dice": 0.1}},
        {"event": "epoch", "row": {"epoch": 1, "loss": 0.5, "stacks_per_s": 7.0}},
        {"event": "finish", "metrics": {"dice": 0.5}, "model": "m"},
        {"event": "abort"},
    ]


def test_a_resumed_training_sends_the_epochs_before(
    made: list[FakeProcess], run: RunDescription
) -> None:
    Loggers(["mlflow"], lambda: run, print).on_resume([{"epoch": 1, "loss": 0.5}])
    start, row = made[0].messages
    assert start["resumed"]
    assert row == {"event": "epoch", "row": {"epoch": 1, "loss": 0.5}}


def test_a_second_start_with_a_smaller_batch_is_the_same_run(
    made: list[FakeProcess], run: RunDescription
) -> None:
    loggers = Loggers(["mlflow"], lambda: run, print)
    loggers.on_resume([])
    loggers.on_resume([])
    assert [message["event"] for message in made[0].messages] == ["start"]


def test_an_error_of_the_training_ends_the_loggers(
    made: list[FakeProcess], run: RunDescription
) -> None:
    with pytest.raises(KeyboardInterrupt), Loggers(["mlflow"], lambda: run, print):
        raise KeyboardInterrupt
    assert made[0].messages == [{"event": "abort"}]


def test_without_loggers_nothing_is_described() -> None:
    def describe() -> RunDescription:
        pytest.fail("git would be called")

    with Loggers([], describe, print) as loggers:
        loggers.on_resume([])
        loggers.finish({}, Path("m"))


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"tensorboardX": object()}
    monkeypatch.setattr("thorax.common.errors.find_spec", found.get)
    check_loggers(["tensorboard"])
    with pytest.raises(InputError) as error:
        check_loggers(["tensorboard", "mlflow"])
    assert str(error.value) == (
        "`train.loggers: [mlflow]` needs mlflow, which is not installed; run `pip install "
        "'thorax[mlflow]'`"
    )


def test_final_metrics_are_those_of_the_kept_weights() -> None:
    """Of equals, the later is kept; epoch 0 and epochs without validation are not."""
    history = [
        {"epoch": 0, "dice": 0.9},
        {"epoch": 1, "loss": 0.5, "dice": 0.8, "dice_lung": 0.8, "train_dice": 0.9},
        {"epoch": 2, "loss": 0.4, "dice": 0.8, "dice_lung": 0.7, "train_dice": 0.95},
        {"epoch": 3, "loss": 0.3},
        {"epoch": 4, "loss": 0.2, "dice": float("nan"), "dice_lung": float("nan")},
    ]
    assert final_metrics(history, seconds=9.0) == {
        "epochs": 4, "seconds": 9.0, "loss": 0.2, "best_epoch": 2,
        "dice": 0.8, "dice_lung": 0.7, "train_dice": 0.95,
    }  # fmt: skip
    assert final_metrics(history[3:4], seconds=9.0) == {"epochs": 3, "seconds": 9.0, "loss": 0.3}
