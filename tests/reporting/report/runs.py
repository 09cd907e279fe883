"""Parts of runs for tests of the report."""

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.image import imsave

from thorax.common.params import Params, check_params
from thorax.evaluation.scores import ScoreRow
from thorax.models.spec import ModelSpec
from thorax.reporting.report.metrics import METRICS

SHIPPED = Path(__file__).parents[3] / "params.yaml"
COLUMNS = tuple(METRICS)


def params_of(**changes: Any) -> Params:
    """Return the shipped parameters with a few resamples, and with changes to `evaluate`."""
    content = yaml.safe_load(SHIPPED.read_text())
    content["evaluate"] |= {"resamples": 200} | changes
    return check_params(content, source="test")


def row(
    case: str, region: str = "lung", site: str = "", side: str = "", **metrics: float
) -> ScoreRow:
    """Return a row with these metrics; all others are undefined."""
    return ScoreRow(case, region, dict.fromkeys(COLUMNS, math.nan) | metrics, site, side)


def model_spec(**changes: Any) -> ModelSpec:
    """Return the spec of a model with two regions."""
    params = yaml.safe_load(SHIPPED.read_text())
    provenance = {
        "dataset": "phantom",
        "split": {"train": ["t-1", "t-2"], "validation": ["w-1"], "test": ["a"], "note": ""},
        "records_sha256": "0f" * 32,
        "loss": params["loss"],
        "seed": params["seed"],
        **{key: params[key] for key in ("network", "losses", "augmentation", "train")},
        "precision": "float32",
        "backend": "tensorflow",
        "versions": {"thorax": "0.1.0", "keras": "3.12.0"},
    }
    return ModelSpec(
        canvas=128,
        crop="lungs",
        context=2,
        window_hu=(-1000, 400),
        regions={"lung": (1, 2, 3), "infection": (3,)},
        provenance=provenance | changes,
    )


def png() -> bytes:
    """Return a grey picture."""
    stream = io.BytesIO()
    imsave(stream, np.full((4, 9), 0.5), cmap="gray", vmin=0, vmax=1, format="png")
    return stream.getvalue()


TRAINING = {
    "epochs": 3,
    "seconds": 754.0,
    "machine": {
        "processor": "Some Processor",
        "cores": 2,
        "memory_gib": 7.8,
        "system": "Linux x86_64",
        "python": "3.11.7",
    },
}
HISTORY = tuple(
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "dice": 0.5,
        "dice_lung": 1 - 1 / epoch,
        "learning_rate": 0.001,
    }
    for epoch in (1.0, 2.0, 3.0)
)
CURVE = (
    {"low": 0.0, "high": 0.5, "mean_probability": 0.25, "observed": 0.5, "voxels": 10.0},
    {"low": 0.5, "high": 1.0, "mean_probability": 0.75, "observed": 0.75, "voxels": 30.0},
)


def full_row(
    rng: np.random.Generator, row: ScoreRow, *, true_ml: float, dice: float, ceiling: float
) -> ScoreRow:
    """Return the row with all metrics that its region can have."""
    predicted_ml = true_ml * (1 + 0.08 * rng.normal())
    lesions = float(rng.integers(1, 9)) if row.region == "infection" else math.nan
    detected = lesions - float(rng.integers(0, 2))
    metrics = {
        "dice": dice,
        "iou": dice / (2 - dice),
        "sensitivity": dice,
        "precision": dice,
        "nsd": min(1.0, dice + 0.02),
        "hd95_mm": 2 + 30 * (1 - dice) * rng.random(),
        "mean_distance_mm": 0.5 + 3 * (1 - dice),
        "truth_ml": true_ml,
        "predicted_ml": predicted_ml,
        "difference_ml": predicted_ml - true_ml,
        "difference_percent": 100 * (predicted_ml - true_ml) / true_ml,
        "truth_share": true_ml / 25000 if row.region == "infection" else math.nan,
        "predicted_share": predicted_ml / 25000 if row.region == "infection" else math.nan,
        "lesions": lesions,
        "lesions_found": detected,
        "lesions_predicted": lesions + 1,
        "lesions_true": detected,
        "lesion_sensitivity": detected / lesions,
        "lesion_precision": detected / (lesions + 1),
        "lesion_f1": 2 * detected / (2 * lesions + 1),
        "brier": 0.01 * rng.random(),
        "ceiling_dice": ceiling,
    }
    return replace(row, metrics=metrics)
