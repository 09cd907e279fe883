"""Records of a training: provenance in the model, `history.csv`, `training.json`."""

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
from thorax.training.trainer import Row

RAN_ON = ("thorax", "keras", keras.backend.backend(), "numpy", "albumentations")


def describe(
    params: Params, index: RecordIndex, split: Split, precision: PrecisionChoice, *, initial: Path
) -> dict[str, Any]:
    """What the segmenter says of its training; holds no time, so that equal runs are equal.

    Runs on two kinds of machine differ, and so do their segmenters; this says which it was.
    """
    return {
        "dataset": index.dataset,
        "split": asdict(split),
        "records_sha256": index.digest(split.train + split.validation),
        "loss": params.loss,
        "seed": params.seed,
        "network": asdict(params.network),
        "files_sha256": input_digests(params, initial),
        "losses": asdict(params.losses),
        "augmentation": asdict(params.augmentation),
        "train": asdict(params.train),
        "precision": precision.policy,
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), **versions(RAN_ON)},
        "machine": kind_of_machine(),
    }


def describe_segmenter(params: Params, index: RecordIndex, provenance: dict[str, Any]) -> ModelSpec:
    """The spec of the trained segmenter."""
    return ModelSpec(
        canvas=index.canvas,
        crop=index.crop,
        context=params.train.context,
        window_hu=params.train.window,
        regions=index.regions,
        postprocessing=default_postprocessing(index.regions),
        provenance=provenance,
    )


def history_csv(history: Sequence[Row], regions: Sequence[str]) -> str:
    """The history as CSV, one row an epoch."""
    names = ["epoch", "loss", "dice", *(f"dice_{region}" for region in regions)]
    return as_csv(history, [*names, "learning_rate", "gradient_norm"])


def effort_json(history: Sequence[Row], seconds: float) -> str:
    """What the training took, and where: unlike all else, no two runs agree in it.

    A training that went on after an interruption counts its seconds from there.
    """
    effort = {"epochs": len(history), "seconds": round(seconds, 1), "machine": describe_machine()}
    return json.dumps(effort, indent=1) + "\n"
