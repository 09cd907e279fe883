"""Score the predictions against the original masks, on the original grid."""

import json
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import empty_folder, write_text
from thorax.common.params import EvaluateParams, load_params
from thorax.common.tables import as_csv
from thorax.datasets.dataset import Case, Dataset, load_dataset
from thorax.evaluation.calibration import ReliabilityCounts
from thorax.evaluation.empty_masks import find_convention
from thorax.evaluation.scores import Score, scores_csv, sides_csv
from thorax.evaluation.scoring import CaseScores, measure_reliability, open_pair, score_pair
from thorax.evaluation.summary import Intervals, headline_metrics, summarise_scores
from thorax.imaging.overlap import Overlap
from thorax.io import Scan, case_name
from thorax.pipeline import log, run, with_rerun_hint
from thorax.pipeline.paths import DATA, PREDICTIONS, RECORDS, REPORTS
from thorax.pipeline.prediction_files import Certainty, map_path, read_certainty
from thorax.preprocessing.index import load_index
from thorax.visualization.drawing import save_png
from thorax.visualization.overlay import overlay

CURVE = ("region", "low", "high", "mean_probability", "observed", "voxels")


def main() -> None:
    """Write the tables of scores, their summaries, and an overlay a test case, to `reports`.

    A final model, which was trained on everything, leaves nothing to score: tables of no rows.
    """
    params = load_params()
    dataset, index = load_dataset(DATA / params.dataset), load_index(RECORDS)
    if not PREDICTIONS.is_dir():
        raise InputError(f"there is no {PREDICTIONS}; run `dvc repro predict`")
    empty_folder(REPORTS / "overlays")
    names = sorted(filter(None, map(case_name, PREDICTIONS.glob("*"))))
    scored, sure = CaseScores(), read_certainty()
    for name in tqdm(names, desc="evaluate", unit="case"):
        case = dataset.case(name)
        ceiling = index.entry(name).ceiling
        with with_rerun_hint("predict", PREDICTIONS):
            one = score_case(case, dataset, params.evaluate, ceiling=ceiling, sure=sure)
            draw(case, dataset, one.whole)
        scored += one
    write_tables(scored, params.evaluate)
    log(
        table(scored.whole)
        if names
        else "no case was set aside for testing: there is nothing to score"
    )


def score_case(
    case: Case,
    dataset: Dataset,
    settings: EvaluateParams,
    *,
    ceiling: dict[str, Overlap],
    sure: Certainty,
) -> CaseScores:
    """Scores of one case, region by region."""
    truth, predicted = Scan(case.mask), Scan(PREDICTIONS / f"{case.name}.nii.gz")
    pair = open_pair(truth, predicted, dataset.regions)
    maps = {region: Scan(path) for region, path in maps_of(case, dataset)}
    return score_pair(
        pair,
        settings,
        case=case.name,
        site=case.site,
        patient=case.patient,
        ceiling=ceiling,
        reliabilities=measure_reliability(maps, truth, dataset.regions),
        certainties={region: known for (name, region), known in sure.items() if name == case.name},
    )


def maps_of(case: Case, dataset: Dataset) -> Iterator[tuple[str, Path]]:
    """The probabilities that were kept, by region."""
    for region in dataset.regions.names:
        path = map_path(case.name, region)
        if path.exists():
            yield region, path


def draw(case: Case, dataset: Dataset, scores: list[Score]) -> None:
    """Write the picture of one case."""
    masks = {
        "truth": Scan(case.mask),
        "predicted": Scan(PREDICTIONS / f"{case.name}.nii.gz"),
    }
    figures = "   ".join(f"{score.region} Dice {score.overlap.dice:.3f}" for score in scores)
    picture = overlay(
        Scan(case.scan),
        masks,
        dataset.regions,
        domain=case.intensity,
        title=f"{case.name}   {figures}",
    )
    save_png(picture, REPORTS / "overlays" / f"{case.name}.png")


def write_tables(scored: CaseScores, settings: EvaluateParams) -> None:
    """Write the figures of all cases, by case and summed up."""
    convention = find_convention(settings.convention)
    intervals = Intervals(settings.interval, settings.confidence, settings.resamples)
    summary = summarise_scores(scored.whole, convention, intervals)
    for name, text in {
        "scores.csv": scores_csv(scored.whole, convention),
        "sides.csv": sides_csv(scored.sides, convention),
        "calibration.csv": calibration_csv(scored.reliability),
        "summary.json": json.dumps(summary, indent=2) + "\n",
        "metrics.json": json.dumps(headline_metrics(summary), indent=2) + "\n",
    }.items():
        write_text(REPORTS / name, text)


def calibration_csv(measured: dict[str, ReliabilityCounts]) -> str:
    """How often voxels of each probability are true, one row a region and tenth of probability."""
    rows = ({"region": name} | row for name, one in measured.items() for row in one.curve())
    return as_csv(rows, CURVE)


def table(scores: list[Score]) -> str:
    """The scores as lines for people."""
    lines = [
        f"{'case':<24} {'region':<12} {'Dice':>7} {'IoU':>7} {'NSD':>7} {'HD95 mm':>8} "
        f"{'truth mL':>9} {'found mL':>9} {'ceiling':>8}"
    ]
    for score in scores:
        row = score.row()
        lines.append(
            f"{row['case']:<24} {row['region']:<12} {row['dice']:>7.4f} {row['iou']:>7.4f} "
            f"{row['nsd']:>7.4f} {row['hd95_mm']:>8.2f} "
            f"{row['truth_ml']:>9.1f} {row['predicted_ml']:>9.1f} {row['ceiling_dice']:>8.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
