"""Score the predictions against the original masks, on the original grid."""

import json

from tqdm import tqdm

from thorax.cases import Case, Dataset, load_dataset
from thorax.errors import InputError
from thorax.figures import overlay, save_png
from thorax.index import Index, load_index
from thorax.params import load_params
from thorax.scans import Scan, case_name
from thorax.scores import Score, score_masks, scores_csv, summarise
from thorax.stages import DATA, PREDICTIONS, RECORDS, REPORTS, run, tell
from thorax.writing import empty_folder, write_text


def main() -> None:
    """Write `reports/metrics.json`, `reports/scores.csv` and an overlay a test case.

    A final model, which was trained on everything, leaves nothing to score: a table of no rows.
    """
    dataset, index = load_dataset(DATA / load_params().dataset), load_index(RECORDS)
    if not PREDICTIONS.is_dir():
        raise InputError(f"there is no {PREDICTIONS}; run `dvc repro predict`")
    empty_folder(REPORTS / "overlays")
    names = sorted(filter(None, map(case_name, PREDICTIONS.glob("*"))))
    scores: list[Score] = []
    for name in tqdm(names, desc="evaluate", unit="case"):
        case = dataset.case(name)
        scores += score_case(case, dataset, index)
        draw(case, dataset, scores[-len(dataset.regions.names) :])
    write_text(REPORTS / "scores.csv", scores_csv(scores))
    summary = summarise(scores)
    write_text(REPORTS / "metrics.json", json.dumps(summary, indent=2) + "\n")
    tell(
        table(scores) if scores else "no case was set aside for testing: there is nothing to score"
    )


def score_case(case: Case, dataset: Dataset, index: Index) -> list[Score]:
    """Scores of one case, region by region."""
    truth, predicted = Scan(case.mask), Scan(PREDICTIONS / f"{case.name}.nii.gz")
    ceiling = index.entry(case.name).ceiling
    return [
        Score(case.name, region, count, truth.grid.voxel_ml, ceiling[region])
        for region, count in score_masks(truth, predicted, dataset.regions).items()
    ]


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
        domain=case.domain,
        title=f"{case.name}   {figures}",
    )
    save_png(picture, REPORTS / "overlays" / f"{case.name}.png")


def table(scores: list[Score]) -> str:
    """The scores as lines for people."""
    lines = [
        f"{'case':<24} {'region':<12} {'Dice':>7} {'IoU':>7} "
        f"{'truth mL':>9} {'found mL':>9} {'ceiling':>8}"
    ]
    for score in scores:
        row = score.row()
        lines.append(
            f"{row['case']:<24} {row['region']:<12} {row['dice']:>7.4f} {row['iou']:>7.4f} "
            f"{row['truth_ml']:>9.1f} {row['predicted_ml']:>9.1f} {row['ceiling_dice']:>8.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
