"""Stage `evaluate`: score the predicted masks against the reference, on the grid of the scan."""

import json
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import empty_folder, write_text
from thorax.common.params import EvaluateParams, load_params
from thorax.common.tables import aligned, as_csv
from thorax.datasets.dataset import Case, Dataset, load_dataset
from thorax.evaluation.calibration import ReliabilityCounts
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.lesion_rows import lesions_csv
from thorax.evaluation.scores import Score, scores_csv, sides_csv
from thorax.evaluation.scoring import (
    NO_SIDES,
    CaseScores,
    measure_reliability,
    open_pair,
    score_pair,
)
from thorax.evaluation.summary import Intervals, headline_metrics, summarise_scores
from thorax.imaging.overlap import Overlap
from thorax.io import Scan, case_name
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import DATA, PREDICTIONS, RECORDS, REPORTS, predicted_mask
from thorax.pipeline.prediction_files import Certainty, map_path, read_certainty
from thorax.preprocessing.index import load_index
from thorax.visualization.drawing import save_png
from thorax.visualization.overlay import overlay

_CURVE_COLUMNS = ("region", "low", "high", "mean_probability", "observed", "voxels")

_DIGITS = {
    "dice": 4,
    "iou": 4,
    "nsd": 4,
    "hd95_mm": 2,
    "truth_ml": 1,
    "predicted_ml": 1,
    "ceiling_dice": 4,
}
"""Columns of the printed table, and their number of decimals."""


def main() -> None:
    """Write score tables, their summaries and one overlay per test case to `reports`.

    A final model has no test cases: its tables have no rows.
    """
    params = load_params()
    dataset, index = load_dataset(DATA / params.dataset), load_index(RECORDS)
    if not PREDICTIONS.is_dir():
        raise InputError(f"there is no {PREDICTIONS}; run `dvc repro predict`")
    empty_folder(REPORTS / "overlays")
    names = sorted(filter(None, map(case_name, PREDICTIONS.glob("*"))))
    scores, certainty = CaseScores(), read_certainty()
    for name in tqdm(names, desc="evaluate", unit="case"):
        case = dataset.case(name)
        ceiling = index.entry(name).ceiling
        with with_rerun_hint("predict", PREDICTIONS):
            case_scores = score_case(
                case, dataset, params.evaluate, ceiling=ceiling, certainty=certainty
            )
            draw_overlay(case, dataset, case_scores.whole)
        scores += case_scores
    write_tables(scores, params.evaluate)
    log(scores_table(scores.whole) if names else "there are no test cases to score")


def score_case(
    case: Case,
    dataset: Dataset,
    settings: EvaluateParams,
    *,
    ceiling: dict[str, Overlap],
    certainty: Certainty,
) -> CaseScores:
    """Score one case, region by region."""
    truth, predicted = Scan(case.mask), Scan(predicted_mask(case.name))
    pair = open_pair(truth, predicted, dataset.regions, sides=(dataset.sides, NO_SIDES))
    maps = {region: Scan(path) for region, path in probability_maps(case, dataset)}
    return score_pair(
        pair,
        settings,
        case=case.name,
        site=case.site,
        patient=case.patient,
        ceiling=ceiling,
        reliabilities=measure_reliability(maps, truth, dataset.regions),
        certainties={
            region: value for (name, region), value in certainty.items() if name == case.name
        },
    )


def probability_maps(case: Case, dataset: Dataset) -> Iterator[tuple[str, Path]]:
    """Yield regions and paths of the probability maps that `predict` wrote."""
    for region in dataset.regions.names:
        path = map_path(case.name, region)
        if path.exists():
            yield region, path


def draw_overlay(case: Case, dataset: Dataset, scores: list[Score]) -> None:
    """Write the overlay of the predicted mask and the reference on a slice of the scan."""
    masks = {
        "truth": Scan(case.mask),
        "predicted": Scan(predicted_mask(case.name)),
    }
    dice = "   ".join(f"{score.region} Dice {score.overlap.dice:.3f}" for score in scores)
    picture = overlay(
        Scan(case.scan),
        masks,
        dataset.regions,
        intensity=case.intensity,
        title=f"{case.name}   {dice}",
    )
    save_png(picture, REPORTS / "overlays" / f"{case.name}.png")


def write_tables(scores: CaseScores, settings: EvaluateParams) -> None:
    """Write the metrics of all cases, their summaries and the single lesions."""
    convention = find_convention(settings.convention)
    intervals = Intervals(settings.interval, settings.confidence, settings.resamples)
    summary = summarise_scores(scores.whole, convention, intervals)
    for name, text in {
        "scores.csv": scores_csv(scores.whole, convention),
        "sides.csv": sides_csv(scores.sides, convention),
        "calibration.csv": calibration_csv(scores.reliability),
        "lesions.csv": lesions_csv(scores.lesions),
        "summary.json": json.dumps(summary, indent=2) + "\n",
        "metrics.json": json.dumps(headline_metrics(summary), indent=2) + "\n",
    }.items():
        write_text(REPORTS / name, text)


def calibration_csv(reliability: dict[str, ReliabilityCounts]) -> str:
    """Format calibration curves as CSV, one row per region and interval of 0.1 in probability."""
    rows = (
        {"region": region} | row for region, counts in reliability.items() for row in counts.curve()
    )
    return as_csv(rows, _CURVE_COLUMNS)


def scores_table(scores: list[Score]) -> str:
    """Format scores as aligned text, one row per case and region."""
    return aligned([score.row() for score in scores], ("case", "region", *_DIGITS), digits=_DIGITS)


if __name__ == "__main__":
    run(main)
