"""`thorax score`."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.defaults import EVALUATE
from thorax.cli.options import ANY_PATH, REGIONS, echo, output_options
from thorax.common.errors import InputError

if TYPE_CHECKING:
    from thorax.common.params import EvaluateParams
    from thorax.evaluation.mask_pairs import MaskFiles
    from thorax.evaluation.scores import Score
    from thorax.imaging.regions import Regions

CONVENTIONS = ("thorax", "nnunet", "surface-distance", "metrics-reloaded")
"""As in `thorax.common.params`, which takes long to import."""

DECIMALS = {
    "dice": 6,
    "iou": 6,
    "nsd": 4,
    "hd95_mm": 2,
    "mean_distance_mm": 3,
    "truth_ml": 1,
    "predicted_ml": 1,
}
"""Columns of the printed table, and their number of decimals."""

_DEFAULT_TOLERANCES = ", ".join(f"{name}={mm:g}" for name, mm in EVALUATE["tolerance_mm"].items())


@click.command()
@click.argument("truth", type=ANY_PATH)
@click.argument("predicted", type=ANY_PATH)
@REGIONS
@click.option(
    "--predicted-region",
    "predicted_regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="The same for PREDICTED, if its label values differ from those of TRUTH.",
)
@click.option(
    "--ignore", multiple=True, type=int, help="Label value that belongs to no region. Repeatable."
)
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="NAME=MM",
    help="Tolerance of the surface Dice (NSD) of a region in mm, for example lung=1.5. "
    f"Repeatable.  [default: {_DEFAULT_TOLERANCES}; other regions 1]",
)
@click.option(
    "--lesions",
    multiple=True,
    metavar="NAME",
    help="Region that is also scored lesion by lesion. Repeatable.",
)
@click.option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    default=EVALUATE["convention"],
    show_default=True,
    help="Rule for empty masks, of thorax or another tool.",
)
@click.option("--allow-missing", is_flag=True, help="Leave out cases without a predicted mask.")
@output_options("--output")
def score(
    truth: Path, predicted: Path, csv_file: Path | None, as_json: bool, **options: Any
) -> None:
    """Score the masks PREDICTED against TRUTH.

    Both are files, or folders; files with the same name belong together. Metrics are computed on
    the whole 3D mask, on its own grid, with one row per case and region. `thorax compare` reads the
    CSV file.

    \b
    Example:
      thorax score truth.nii.gz lungs.nii.gz --region lung=1,2,3 --region infection=3
      thorax score truth/ lungmask/ --region lung=1 --predicted-region lung=1,2 --csv other.csv
    """
    from thorax.common.files import write_text
    from thorax.common.tables import aligned
    from thorax.evaluation.empty_masks import find_convention
    from thorax.evaluation.mask_pairs import find_pairs
    from thorax.evaluation.scores import scores_csv

    pairs = find_pairs(truth, predicted, missing=options["allow_missing"])
    convention = find_convention(options["convention"])
    scores = _scores(pairs, _settings(options), *_regions(pairs, options))
    if csv_file:
        write_text(csv_file, scores_csv(scores, convention))
    rows = [score.row(convention) for score in scores]
    if as_json:
        echo(_json(rows, by_case=truth.is_dir()))
    else:
        echo(aligned(rows, ("case", "region", *DECIMALS), digits=DECIMALS))


def _scores(
    pairs: "list[MaskFiles]",
    settings: "EvaluateParams",
    regions: "Regions",
    predicted_regions: "Regions",
) -> "list[Score]":
    from tqdm import tqdm

    from thorax.evaluation.scoring import open_pair, score_pair
    from thorax.imaging.grid import grid_note
    from thorax.io import Scan

    scores = []
    for pair in tqdm(pairs, desc="score", unit="case", disable=None if len(pairs) > 1 else True):
        masks = Scan(pair.truth), Scan(pair.predicted)
        for note in grid_note(masks[1], masks[0]):
            echo(f"Note: {pair.case}: {note}", err=True)
        opened = open_pair(*masks, regions, predicted_regions=predicted_regions, sided=False)
        scores += score_pair(opened, settings, case=pair.case).whole
    return scores


def _settings(options: dict[str, Any]) -> "EvaluateParams":
    """Return the default settings with those of the command."""
    from thorax.common.params import EvaluateParams

    tolerances = dict(map(_tolerance, options["tolerances"]))
    changes = {
        "convention": options["convention"],
        "tolerance_mm": EVALUATE["tolerance_mm"] | tolerances,
        "lesions": list(options["lesions"]),
    }
    return EvaluateParams(**EVALUATE | changes)


def _tolerance(option: str) -> tuple[str, float]:
    name, _, value = option.partition("=")
    try:
        tolerance = float(value)
    except ValueError:
        tolerance = math.nan
    if not (name and tolerance >= 0):
        raise InputError(f"--tolerance must be NAME=MM, for example lung=1.5, got `{option}`")
    return name, tolerance


def _regions(pairs: "list[MaskFiles]", options: dict[str, Any]) -> "tuple[Regions, Regions]":
    """Return the regions of the true masks, and of the predicted ones."""
    from thorax.imaging.regions import Regions, parse_regions, regions_in_masks
    from thorax.io import Scan

    true_options, predicted_options = options["regions"], options["predicted_regions"]
    if predicted_options and not true_options:
        raise InputError("--predicted-region needs --region with the regions of TRUTH; add it")
    if true_options:
        regions = parse_regions(true_options)
    else:
        files = (path for pair in pairs for path in (pair.truth, pair.predicted))
        regions = regions_in_masks(*map(Scan, files))
    true = Regions(regions.labels, options["ignore"])
    if not predicted_options:
        return true, true
    predicted = parse_regions(predicted_options)
    if predicted.names != true.names:
        raise InputError(
            f"--predicted-region must name the regions of --region, {', '.join(true.names)}, in "
            f"the same order, got {', '.join(predicted.names)}"
        )
    return true, Regions(predicted.labels, options["ignore"])


def _json(rows: Iterable[dict[str, Any]], *, by_case: bool) -> str:
    """Return the metrics as JSON by region, or by case and region."""
    cases: dict[str, dict[str, Any]] = {}
    for row in rows:
        metrics = {name: _json_value(value) for name, value in row.items() if name not in _NAMES}
        cases.setdefault(row["case"], {})[row["region"]] = metrics
    return json.dumps(cases if by_case else next(iter(cases.values())), indent=2)


_NAMES = ("case", "site", "region", "side")


def _json_value(value: float) -> float | str | None:
    """Round a number; NaN becomes None and infinity a text, because JSON has neither."""
    if math.isnan(value):
        return None
    return round(value, 6) if math.isfinite(value) else "inf"
