"""Scoring masks."""

import json
from pathlib import Path
from typing import Any

import click

from thorax.cli.options import FILE


@click.command()
@click.argument("truth", type=FILE)
@click.argument("predicted", type=FILE)
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="Label values that make a region, such as lung=1,2,3; may be given again. Unless given, "
    "every label value is a region of its own.",
)
@click.option("--ignore", multiple=True, type=int, help="A label value that belongs to no region.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def score(
    truth: Path, predicted: Path, regions: tuple[str, ...], ignore: tuple[int, ...], as_json: bool
) -> None:
    """Score the mask PREDICTED against TRUTH.

    Prints Dice, IoU and volumes of each region. Both masks lie on one grid; figures are volumetric.

    \b
    Example:
      thorax score truth.nii.gz lungs.nii.gz --region lung=1,2,3 --region infection=3
    """
    from thorax.regions import Regions, parse_regions
    from thorax.scans import Scan
    from thorax.scores import Score, found_regions, score_masks

    true_mask, found_mask = Scan(truth), Scan(predicted)
    known = parse_regions(regions) if regions else found_regions(true_mask, found_mask)
    counts = score_masks(true_mask, found_mask, Regions(known.labels, ignore))
    scores = [
        Score(truth.name, region, count, true_mask.grid.voxel_ml)
        for region, count in counts.items()
    ]
    click.echo(_scores_json(scores) if as_json else _scores_table(scores))


def _scores_table(scores: list[Any]) -> str:
    lines = [f"{'region':<14} {'Dice':>8} {'IoU':>8} {'truth mL':>10} {'predicted mL':>13}"]
    for row in (one.row() for one in scores):
        lines.append(
            f"{row['region']:<14} {row['dice']:>8.6f} {row['iou']:>8.6f} "
            f"{row['truth_ml']:>10.1f} {row['predicted_ml']:>13.1f}"
        )
    return "\n".join(lines)


def _scores_json(scores: list[Any]) -> str:
    keys = ("dice", "iou", "truth_ml", "predicted_ml")
    figures = {
        row["region"]: {key: None if row[key] != row[key] else round(row[key], 6) for key in keys}
        for row in (one.row() for one in scores)
    }
    return json.dumps(figures, indent=2)
