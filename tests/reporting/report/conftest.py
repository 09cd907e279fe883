"""Results of three cases that can be checked by eye, and of twelve cases from two sites."""

import math
from dataclasses import replace

import numpy as np
import pytest

from thorax.datasets.dataset import DatasetSpec
from thorax.evaluation.lesion_rows import LesionRow
from thorax.evaluation.lesions import Lesion
from thorax.reporting.report.results import Results

from .runs import COLUMNS, CURVE, HISTORY, TRAINING, full_row, model_spec, params_of, png, row


@pytest.fixture(scope="session")
def few() -> Results:
    """Return the results of three cases that can be checked by eye."""
    metrics = {
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
            row(case, difference_ml=values["predicted_ml"] - values["truth_ml"], **values)
            for case, values in metrics.items()
        ),
        summary={"lung": {"dice": {"mean": 0.8, "median": 0.8, "low": 0.71, "high": 0.88}}},
        history=HISTORY,
        training=TRAINING,
        model=model_spec(),
        overlays={"a": png()},
        patients={"a": "a", "b": "b", "c": "c"},
    )


@pytest.fixture(scope="session")
def many(few: Results) -> Results:
    """Return the results of twelve cases, two regions and two sites, with undefined values."""
    rng = np.random.default_rng(0)
    rows, sides = [], []
    for number in range(12):
        case, site = f"case_{number:02}", ("north", "south")[number % 2]
        lung = 3000 + 900 * rng.normal()
        for region, true_ml, dice, ceiling in (
            ("lung", lung, 0.985 - 0.02 * rng.random(), 0.996),
            ("infection", lung * 0.12 * rng.random(), 0.9 - 0.35 * rng.random(), 0.97),
        ):
            rows.append(
                full_row(rng, row(case, region, site), true_ml=true_ml, dice=dice, ceiling=ceiling)
            )
            sides += [replace(rows[-1], side=side) for side in ("right", "left")]
    empty = {"truth_ml": 0.0, "difference_percent": math.nan, "truth_share": 0.0, "lesions": 0.0}
    infinite = {"dice": 0.0, "nsd": 0.0, "hd95_mm": math.inf, "mean_distance_mm": math.inf}
    rows[7] = replace(rows[7], metrics={**rows[7].metrics, **empty, **infinite})
    rows[15] = row("case_07", "infection", "south", truth_ml=0.0, predicted_ml=0.0, lesions=0.0)
    return replace(
        few,
        regions=("lung", "infection"),
        rows=tuple(rows),
        sides=tuple(sides),
        summary={},
        calibration={"lung": CURVE, "infection": CURVE},
        lesions=(
            LesionRow("case_00", "infection", Lesion("truth", 5.0, 0.5, True)),
            LesionRow("case_00", "infection", Lesion("predicted", 4.0, 0.6, True)),
            LesionRow("case_01", "infection", Lesion("predicted", 0.5, 0.0, False)),
        ),
        overlays={f"case_{number:02}": png() for number in range(12)},
        patients={f"case_{number:02}": f"p{number}" for number in range(12)},
        digests={"data/phantom/masks": "md5 966d3f6dfb57efa9a051ff851722837b.dir"},
    )
