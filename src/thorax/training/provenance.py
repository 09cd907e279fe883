"""Documentation of a training: provenance in the model, `history.csv`, `training.json`."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from thorax.common.machine import describe_machine, kind_of_machine, versions
from thorax.common.params import Params
from thorax.common.tables import as_csv
from thorax.datasets.folds import Split
from thorax.models.spec import ModelSpec, default_postprocessing
from thorax.preprocessing.index import RecordIndex
from thorax.training.initial_weights import input_digests
from thorax.training.precision import PrecisionChoice
from thorax.training.schedule import epochs_of
from thorax.training.trainer import HistoryRow

VERSIONED_PACKAGES = ("thorax", "keras", keras.backend.backend(), "numpy", "albumentations")


def training_provenance(
    params: Params, index: RecordIndex, split: Split, precision: PrecisionChoice, *, initial: Path
) -> dict[str, Any]:
    """Return the provenance that the model records about its training.

    It contains neither time nor loggers, so that equal trainings give equal models. Models from two
    kinds of machine differ, so it states the kind.
    """
    synthetic = {"synthetic": asdict(params.synthetic)} if index.additional else {}
    return {
        "dataset": index.dataset,
        **synthetic,
        "split": asdict(split),
        "records_sha256": records_digest(index, split),
        "loss": params.loss,
        "seed": params.seed,
        "network": asdict(params.network),
        "files_sha256": input_digests(params, initial),
        "losses": asdict(params.losses),
        "augmentation": asdict(params.augmentation),
        "train": {key: value for key, value in asdict(params.train).items() if key != "loggers"},
        "precision": precision.policy,
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), **versions(VERSIONED_PACKAGES)},
        "machine": kind_of_machine(),
    }


def records_digest(index: RecordIndex, split: Split) -> str:
    """Return the digest of all records that a training reads."""
    trained = [entry.case for entry in index.training_entries(split.train)]
    return index.digest([*trained, *split.validation])


def make_spec(params: Params, index: RecordIndex, provenance: dict[str, Any]) -> ModelSpec:
    """Return the spec of the trained network."""
    return ModelSpec(
        canvas=index.canvas,
        crop=index.crop,
        context=params.train.context,
        window_hu=params.train.window,
        regions=index.regions,
        postprocessing=default_postprocessing(index.regions),
        provenance=provenance,
    )


def history_csv(history: Sequence[HistoryRow], regions: Sequence[str]) -> str:
    """Return the history as CSV, one row per epoch.

    Cells of epochs without validation are empty. Columns of training cases follow those of
    validation cases if the history has them.
    """
    dice = ["dice", *(f"dice_{region}" for region in regions)]
    trained = [f"train_{name}" for name in dice if any(f"train_{name}" in row for row in history)]
    return as_csv(history, ["epoch", "loss", *dice, *trained, "learning_rate", "gradient_norm"])


def training_json(history: Sequence[HistoryRow], seconds: float) -> str:
    """Return duration and machine of a training as JSON; these differ from run to run.

    A resumed training counts the seconds since it was resumed.
    """
    content = {
        "epochs": epochs_of(history),
        "seconds": round(seconds, 1),
        "machine": describe_machine(),
    }
    return json.dumps(content, indent=1) + "\n"
