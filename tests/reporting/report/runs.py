"""What runs are made up of, for tests of the report."""

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.image import imsave

from thorax.common.params import Params, check_params
from thorax.models.spec import ModelSpec
from thorax.reporting.report.metrics import METRICS
from thorax.reporting.report.results import Row

SHIPPED = Path(__file__).parents[3] / "params.yaml"
COLUMNS = tuple(METRICS)


def params_of(**changes: Any) -> Params:
    """Return the shipped parameters with a few resamples, and with changes to `evaluate`."""
    content = yaml.safe_load(SHIPPED.read_text())
    content["evaluate"] |= {"resamples": 200} | changes
    return check_params(content, source="test")


def row(case: str, region: str = "lung", site: str = "", side: str = "", **figures: float) -> Row:
    """Return a row with the figures given; all others are undefined."""
    return Row(case, region, dict.fromkeys(COLUMNS, math.nan) | figures, site, side)


def segmenter_spec(**changes: Any) -> ModelSpec:
    """Return what a model of two regions says of itself."""
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


def made_up(draw: np.random.Generator, one: Row, *, true: float, dice: float, top: float) -> Row:
    """Return a row with every figure that it can have."""
    found = true * (1 + 0.08 * draw.normal())
    lesions = float(draw.integers(1, 9)) if one.region == "infection" else math.nan
    hit = lesions - float(draw.integers(0, 2))
    figures = {
        "dice": dice,
        "iou": dice / (2 - dice),
        "sensitivity": dice,
        "precision": dice,
        "nsd": min(1.0, dice + 0.02),
        "hd95_mm": 2 + 30 * (1 - dice) * draw.random(),
        "mean_distance_mm": 0.5 + 3 * (1 - dice),
        "truth_ml": true,
        "predicted_ml": found,
        "difference_ml": found - true,
        "difference_percent": 100 * (found - true) / true,
        "truth_share": true / 25000 if one.region == "infection" else math.nan,
        "predicted_share": found / 25000 if one.region == "infection" else math.nan,
        "lesions": lesions,
        "lesions_found": hit,
        "lesions_predicted": lesions + 1,
        "lesions_true": hit,
        "lesion_sensitivity": hit / lesions,
        "lesion_precision": hit / (lesions + 1),
        "lesion_f1": 2 * hit / (2 * lesions + 1),
        "brier": 0.01 * draw.random(),
        "ceiling_dice": top,
    }
    return replace(one, figures=figures)
