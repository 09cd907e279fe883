"""Documentation of a training: provenance, spec, history and seconds."""

import json
import math
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812

from thorax.datasets.folds import Split
from thorax.preprocessing.index import RecordIndex
from thorax.training.precision import PrecisionChoice
from thorax.training.provenance import history_csv, make_spec, training_json, training_provenance

from .conftest import MakeParams, MakeSession

SPLIT = Split(("anna-1", "anna-2"), (), ("ben-1",))
FLOAT32 = PrecisionChoice("float32", "set in params.yaml")


def test_provenance_has_all_inputs_and_no_time(
    index: RecordIndex, make_params: MakeParams, tmp_path: Path
) -> None:
    params = make_params()
    provenance = training_provenance(params, index, SPLIT, FLOAT32, initial=tmp_path)
    assert json.loads(json.dumps(provenance))["split"] == {
        "train": ["anna-1", "anna-2"],
        "validation": [],
        "test": ["ben-1"],
        "note": "",
    }
    assert (provenance["dataset"], provenance["loss"], provenance["seed"]) == (
        "chests",
        "focal_dice",
        0,
    )
    assert provenance["precision"] == "float32"
    assert set(provenance["versions"]) == {
        "python", "thorax", "keras", provenance["backend"], "numpy", "albumentations",
    }  # fmt: skip
    assert set(provenance["machine"]) == {"system", "instructions", "cores"}
    other_reason = PrecisionChoice("float32", "another reason")
    again = training_provenance(params, index, SPLIT, other_reason, initial=tmp_path)
    assert again == provenance


def test_the_spec_has_the_settings_of_the_slices(
    index: RecordIndex, make_params: MakeParams
) -> None:
    spec = make_spec(make_params(train={"window": (-1000, 400)}), index, {"seed": 0})
    assert (spec.canvas, spec.crop, spec.context, spec.window_hu) == (8, "none", 1, (-1000, 400))
    assert spec.regions == {"lung": (1, 2), "infection": (2,)}
    assert spec.provenance == {"seed": 0}


def test_the_checkpoint_depends_on_the_content_of_input_files(
    index: RecordIndex, make_params: MakeParams, make_session: MakeSession, tmp_path: Path
) -> None:
    custom = tmp_path / "custom.json"
    changes: Any = {"augmentation": {"custom": str(custom), "level": "medium"}}
    names = []
    for indent in (0, 1):
        custom.write_text(json.dumps(A.to_dict(A.HorizontalFlip()), indent=indent))
        params = make_params(**changes)
        provenance = training_provenance(params, index, SPLIT, FLOAT32, initial=tmp_path)
        assert list(provenance["files_sha256"]) == [str(custom)]
        plan = make_session(**changes).make_plan(SPLIT, provenance, [])
        names.append(plan.checkpoint.name)
    assert names[0] != names[1]


def test_the_history_has_one_row_per_epoch_and_no_undefined_values() -> None:
    history = [
        {"epoch": 1, "loss": 0.5, "dice": 0.25, "dice_lung": 0.25, "dice_infection": math.nan},
        {"epoch": 2, "loss": 0.25, "dice": 0.75, "dice_lung": 1.0, "dice_infection": 0.5},
    ]
    assert history_csv(history, ["lung", "infection"]).splitlines() == [
        "epoch,loss,dice,dice_lung,dice_infection,learning_rate,gradient_norm",
        "1,0.5,0.25,0.25,,,",
        "2,0.25,0.75,1,0.5,,",
    ]


def test_epochs_without_validation_have_empty_cells_and_training_cases_their_own_columns() -> None:
    history = [
        {"epoch": 0, "dice": 0.1, "dice_lung": 0.1, "train_dice": 0.2, "train_dice_lung": 0.2},
        {"epoch": 1, "loss": 0.5},
    ]
    assert history_csv(history, ["lung"]).splitlines() == [
        "epoch,loss,dice,dice_lung,train_dice,train_dice_lung,learning_rate,gradient_norm",
        "0,,0.1,0.1,0.2,0.2,,",
        "1,0.5,,,,,,",
    ]


def test_loggers_are_not_recorded(
    index: RecordIndex, make_params: MakeParams, tmp_path: Path
) -> None:
    """They change neither the weights nor the checkpoint."""
    plain, logged = (
        training_provenance(
            make_params(train={"loggers": loggers}), index, SPLIT, FLOAT32, initial=tmp_path
        )
        for loggers in ([], ["mlflow"])
    )
    assert plain == logged
    assert plain["train"]["validate_every"] == 1
    assert "loggers" not in plain["train"]


def test_a_history_without_validation_has_the_columns_of_the_plots() -> None:
    text = history_csv(
        [{"epoch": 1, "loss": 0.5, "learning_rate": 1e-3, "gradient_norm": 2.0}], ["lung"]
    )
    assert text == "epoch,loss,dice,dice_lung,learning_rate,gradient_norm\n1,0.5,,,0.001,2\n"


def test_training_json_has_epochs_seconds_and_machine() -> None:
    content = json.loads(training_json([{"epoch": 0}, {"epoch": 1}, {"epoch": 2}], 12.345))
    assert (content["epochs"], content["seconds"]) == (2, 12.3)
    assert set(content) == {"epochs", "seconds", "machine"}
