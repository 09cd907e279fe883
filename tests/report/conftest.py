"""Results to tell of: a run of twelve cases from two sites, made up, and what hostile names do."""

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imsave

from thorax.cases import DatasetSpec
from thorax.params import Params, check_params
from thorax.report.protocol import FIGURES
from thorax.report.results import Results, Row
from thorax.specs import SegmenterSpec

SHIPPED = Path(__file__).parents[2] / "params.yaml"
COLUMNS = tuple(FIGURES)
ResultsOf = Callable[..., Results]


def params_of(**changes: Any) -> Params:
    """Return the shipped parameters with a few resamples, and with changes to `evaluate`."""
    content = yaml.safe_load(SHIPPED.read_text())
    content["evaluate"] |= {"resamples": 200} | changes
    return check_params(content, source="test")


def row(case: str, region: str = "lung", site: str = "", side: str = "", **figures: float) -> Row:
    """Return a row with the figures given; all others are undefined."""
    return Row(case, region, dict.fromkeys(COLUMNS, math.nan) | figures, site, side)


def segmenter_spec(**changes: Any) -> SegmenterSpec:
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
    return SegmenterSpec(
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
    {"epoch": epoch, "loss": 1 / epoch, "dice": 0.5, "dice_lung": 1 - 1 / epoch, "rate": 0.001}
    for epoch in (1.0, 2.0, 3.0)
)
CURVE = (
    {"low": 0.0, "high": 0.5, "mean_probability": 0.25, "observed": 0.5, "voxels": 10.0},
    {"low": 0.5, "high": 1.0, "mean_probability": 0.75, "observed": 0.75, "voxels": 30.0},
)


@pytest.fixture
def few() -> Results:
    """Return the results of three cases that can be checked by eye."""
    figures = {
        "a": {"dice": 0.9, "ceiling_dice": 1.0, "truth_ml": 100.0, "predicted_ml": 90.0},
        "b": {"dice": 0.8, "ceiling_dice": 0.8, "truth_ml": 200.0, "predicted_ml": 220.0},
        "c": {"dice": 0.7, "ceiling_dice": 1.0, "truth_ml": 300.0, "predicted_ml": 330.0},
    }
    return Results(
        params=params_of(),
        dataset=DatasetSpec(regions={"lung": [1, 2, 3]}, title="Chests"),
        regions=("lung",),
        columns=frozenset(COLUMNS),
        rows=tuple(
            row(case, difference_ml=one["predicted_ml"] - one["truth_ml"], **one)
            for case, one in figures.items()
        ),
        metrics={"lung": {"dice": {"mean": 0.8, "median": 0.8, "low": 0.71, "high": 0.88}}},
        history=HISTORY,
        training=TRAINING,
        model=segmenter_spec(),
        overlays={"a": png()},
        patients={"a": "a", "b": "b", "c": "c"},
    )


@pytest.fixture
def many(few: Results) -> Results:
    """Return the results of twelve cases, two regions and two sites, with undefined figures."""
    draw = np.random.default_rng(0)
    rows, sides = [], []
    for number in range(12):
        case, site = f"case_{number:02}", ("north", "south")[number % 2]
        lung = 3000 + 900 * draw.normal()
        for region, true, dice, ceiling in (
            ("lung", lung, 0.985 - 0.02 * draw.random(), 0.996),
            ("infection", lung * 0.12 * draw.random(), 0.9 - 0.35 * draw.random(), 0.97),
        ):
            rows.append(_made_up(draw, row(case, region, site), true=true, dice=dice, top=ceiling))
            sides += [replace(rows[-1], side=side) for side in ("right", "left")]
    empty = {"truth_ml": 0.0, "difference_percent": math.nan, "truth_share": 0.0, "lesions": 0.0}
    far = {"dice": 0.0, "nsd": 0.0, "hd95_mm": math.inf, "mean_distance_mm": math.inf}
    rows[7] = replace(rows[7], figures={**rows[7].figures, **empty, **far})
    rows[15] = row("case_07", "infection", "south", truth_ml=0.0, predicted_ml=0.0, lesions=0.0)
    return replace(
        few,
        regions=("lung", "infection"),
        rows=tuple(rows),
        sides=tuple(sides),
        metrics={},
        calibration={"lung": CURVE, "infection": CURVE},
        overlays={f"case_{number:02}": png() for number in range(12)},
        patients={f"case_{number:02}": f"p{number}" for number in range(12)},
        digests={"data/phantom/masks": "md5 966d3f6dfb57efa9a051ff851722837b.dir"},
    )


def _made_up(draw: np.random.Generator, one: Row, *, true: float, dice: float, top: float) -> Row:
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
