"""Stage `train`: from records to the files of the trained model."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thorax.datasets.folds import Member, split_cases
from thorax.models.keras_file import load_network
from thorax.models.spec import load_spec
from thorax.pipeline import prepare
from thorax.pipeline.train import describe_split, main
from thorax.training.batch_size import BatchTooLargeError
from thorax.training.loggers.process import LoggerProcess
from thorax.training.trainer import TrainingPlan

from ..settings import DEFAULTS

Fails = Callable[[Callable[[], None]], str]


@pytest.fixture
def set_small(project: Path, set_params: Callable[..., None]) -> Callable[..., None]:
    """Prepare records; return a function that sets the parameters of a training of a second."""
    prepare.main()

    def write(**changes: Any) -> None:
        small = {
            "split": {"test": ["ben-1"], "validation": 0},
            "network": {"name": "unet", "width": 2, "depth": 1},
            "train": {"precision": "float32", "epochs": 1, "batch": 2},
        }
        set_params(
            **{name: small.get(name, {}) | changes.get(name, {}) for name in small | changes}
        )

    return write


def test_a_training_leaves_model_history_and_seconds_and_no_checkpoint(
    project: Path, set_small: Callable[..., None]
) -> None:
    set_small(losses={"deep_supervision": 0.5}, network={"depth": 2})
    main()
    network = load_network(project / "models/segmenter/model.keras")
    assert [output.shape[-1] for output in network.outputs] == [2]
    spec = load_spec(project / "models/segmenter")
    assert list(spec.provenance["split"]["train"]) == ["anna-1", "anna-2"]
    assert len((project / "reports/history.csv").read_text().splitlines()) == 2
    assert (project / "reports/training.json").exists()
    assert not list(project.rglob("*.npz"))


HINT = "; split.validation=0 trains on the validation cases, too, and keeps the last weights"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "training on 6 cases, validating on 2, testing on 2"),
        ({"fold": "none"}, f"training on 8 cases, validating on 2, testing on 0{HINT}"),
        (
            {"fold": "none", "validation": 0.0},
            "training on 10 cases, validating on 0, testing on 0",
        ),
        ({"test": ["c0"]}, "training on 7 cases, validating on 2, testing on 1"),
        ({"train": ["c0", "c1"]}, f"training on 1 case, validating on 1, testing on 0{HINT}"),
        (
            {"fold": "none", "validation_cases": ["c0"]},
            "training on 9 cases, validating on 1, testing on 0",
        ),
    ],
    ids=str,
)
def test_the_number_of_cases_on_each_side_is_stated(changes: dict[str, Any], text: str) -> None:
    """Ten patients, of which a fifth is kept for validation, also of a final model."""
    members = [Member(f"c{number}", f"p{number}") for number in range(10)]
    params = replace(DEFAULTS.split, **changes)
    assert describe_split(split_cases(members, params, seed=0), params) == text


def test_a_training_starts_with_the_number_of_cases(
    set_small: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two patients with three cases, one is kept for validation."""
    set_small(split={"fold": "none", "test": [], "validation": 0.5})
    main()
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("training on ")
    assert first.endswith(HINT)


def test_the_batch_size_that_fits_is_recorded(
    set_small: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fit(model: Any, plan: TrainingPlan, *, callback: Any) -> list[dict[str, float]]:
        if plan.batch > 1:
            raise BatchTooLargeError("too large")
        return [{"epoch": 1, "loss": 0.5, "learning_rate": 0.0, "gradient_norm": 0.0}]

    monkeypatch.setattr("thorax.training.session.fit", fit)
    monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: 2)
    set_small(train={"batch": "auto"})
    main()
    assert "memory ran out; starting again with batch 1" in capsys.readouterr().err
    provenance = load_spec(Path("models/segmenter")).provenance
    assert (provenance["train"]["batch"], provenance["batch"]) == ("auto", 1)


def test_a_damaged_record_stops_the_training(
    project: Path, set_small: Callable[..., None], fails: Fails
) -> None:
    set_small()
    record = project / "data/records/anna-2.tfrecord"
    content = bytearray(record.read_bytes())
    content[100] ^= 1
    record.write_bytes(content)
    assert fails(main) == (
        "record data/records/anna-2.tfrecord is missing, cut short or damaged: its digest is not "
        "that of the index; make it again with `dvc repro -sf prepare`"
    )
    assert not (project / "models").exists()


@pytest.mark.usefixtures("project")
def test_without_records_the_error_names_the_stage(fails: Fails) -> None:
    assert fails(main) == "there is no data/records/index.json; run `dvc repro prepare`"


def test_missing_initial_weights_are_refused(set_small: Callable[..., None], fails: Fails) -> None:
    set_small(network={"initial_weights": "segmenter"})
    assert fails(main).startswith("models/initial/model.keras cannot be read: No such file")


def trained(project: Path) -> tuple[list[bytes], bytes, bytes]:
    """Train; return the weights, the spec and the history."""
    main()
    folder = project / "models/segmenter"
    weights = [array.tobytes() for array in load_network(folder / "model.keras").get_weights()]
    history = project / "reports/history.csv"
    return weights, (folder / "spec.json").read_bytes(), history.read_bytes()


def test_loggers_do_not_change_the_model(
    project: Path,
    set_small: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One logger writes files; the server of the other accepts, and never answers."""
    monkeypatch.setitem(LoggerProcess.finish.__kwdefaults__, "seconds", 3.0)
    split = {"fold": "none", "test": [], "validation_cases": ["ben-1"]}
    set_small(split=split)
    plain = trained(project)
    capsys.readouterr()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        set_small(split=split, train={"loggers": ["tensorboard", "wandb"]})
        logged = trained(project)
    assert logged == plain
    (events,) = (project / "reports/tensorboard").glob("*/*tfevents*")
    assert b"final/dice" in events.read_bytes()
    assert capsys.readouterr().err.count("warning: the logger wandb is off") == 1
    assert list((project / "models/checkpoints").iterdir()) == []


def test_a_logger_that_is_not_installed_is_refused_before_the_training(
    set_small: Callable[..., None], fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_small(train={"loggers": ["wandb"]})
    monkeypatch.setattr("thorax.common.errors.find_spec", lambda name: None)
    assert fails(main) == (
        "`train.loggers: [wandb]` needs wandb, which is not installed; run `pip install "
        "'thorax[wandb]'`"
    )
    assert not Path("models").exists()


def test_validations_before_and_between_epochs_are_in_the_history(
    project: Path, set_small: Callable[..., None]
) -> None:
    settings = {"epochs": 3, "validate_every": 2, "validate_first": True, "training_metric": True}
    split = {"fold": "none", "test": [], "validation_cases": ["ben-1"]}
    set_small(split=split, train=settings)
    main()
    header, *rows = (project / "reports/history.csv").read_text().splitlines()
    assert "train_dice_lung" in header
    dice = [row.split(",")[header.split(",").index("dice")] != "" for row in rows]
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2", "3"]
    assert dice == [True, False, True, True]
    assert '"epochs": 3' in (project / "reports/training.json").read_text()


def test_early_stopping_without_validation_cases_is_refused(
    set_small: Callable[..., None], fails: Fails
) -> None:
    set_small(train={"early_stopping_patience": 3})
    assert fails(main).startswith("`train.early_stopping_patience` needs validation cases")
