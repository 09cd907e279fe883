"""Scoring masks."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from thorax.cli.options import ANY, FILE, REGIONS, echo
from thorax.common.errors import InputError
from thorax.common.params import Convention

if TYPE_CHECKING:
    from thorax.common.params import EvaluateParams
    from thorax.evaluation.mask_pairs import MaskFiles
    from thorax.evaluation.scores import Score
    from thorax.imaging.regions import Regions

SHOWN = {
    "dice": ("Dice", ".6f"),
    "iou": ("IoU", ".6f"),
    "nsd": ("NSD", ".4f"),
    "hd95_mm": ("HD95 mm", ".2f"),
    "mean_distance_mm": ("mean mm", ".3f"),
    "truth_ml": ("truth mL", ".1f"),
    "predicted_ml": ("predicted mL", ".1f"),
}
"""Column → title and format, in the table for people."""


@click.command()
@click.argument("truth", type=ANY)
@click.argument("predicted", type=ANY)
@REGIONS
@click.option(
    "--predicted-region",
    "predicted_regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="The same in PREDICTED, where another tool has numbered the labels otherwise.",
)
@click.option("--ignore", multiple=True, type=int, help="A label value that belongs to no region.")
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="NAME=MM",
    help="Of the surface Dice (NSD) of a region. [default: 1, and 3 for infection]",
)
@click.option(
    "--lesions", multiple=True, metavar="NAME", help="A region to count lesion by lesion, too."
)
@click.option(
    "--convention",
    type=click.Choice(get_args(Convention)),
    default="thorax",
    show_default=True,
    help="Says what figures of empty masks are.",
)
@click.option("--allow-missing", is_flag=True, help="Leave out true masks without a prediction.")
@click.option("--output", type=FILE, help="Also write all figures as CSV, for thorax compare.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def score(truth: Path, predicted: Path, **options: Any) -> None:
    """Score the masks PREDICTED against TRUTH.

    Both are files, or folders in which files of one name belong together. Figures are volumetric,
    on the grid of the masks, one row a case and region.

    \b
    Example:
      thorax score truth.nii.gz lungs.nii.gz --region lung=1,2,3 --region infection=3
      thorax score truth/ lungmask/ --region lung=1 --predicted-region lung=1,2 --output other.csv
    """
    from thorax.common.files import write_text
    from thorax.evaluation.empty_masks import find_convention
    from thorax.evaluation.mask_pairs import find_pairs
    from thorax.evaluation.scores import scores_csv

    pairs = find_pairs(truth, predicted, missing=options["allow_missing"])
    convention = find_convention(options["convention"])
    scores = _scores(pairs, _settings(options), *_regions(pairs, options))
    if options["output"]:
        write_text(options["output"], scores_csv(scores, convention))
    rows = [score.row(convention) for score in scores]
    echo(_json(rows, many=truth.is_dir()) if options["as_json"] else _table(rows))


def _scores(
    pairs: "list[MaskFiles]",
    settings: "EvaluateParams",
    regions: "Regions",
    predicted_regions: "Regions",
) -> "list[Score]":
    from tqdm import tqdm

    from thorax.evaluation.scoring import open_pair, score_pair
    from thorax.io import Scan

    scores = []
    for pair in tqdm(pairs, desc="score", unit="case", disable=None if len(pairs) > 1 else True):
        masks = Scan(pair.truth), Scan(pair.predicted)
        opened = open_pair(*masks, regions, predicted_regions=predicted_regions, sided=False)
        scores += score_pair(opened, settings, case=pair.case).whole
    return scores


def _settings(options: dict[str, Any]) -> "EvaluateParams":
    from thorax.common.params import EvaluateParams

    return EvaluateParams(
        convention=options["convention"],
        tolerance_mm={"infection": 3.0} | dict(map(_tolerance, options["tolerances"])),
        lesions=list(options["lesions"]),
        lesion_overlap=0.0,
        smallest_lesion_ml=0.0,
        interval="bca",
        confidence=0.95,
        resamples=9999,
    )


def _tolerance(option: str) -> tuple[str, float]:
    name, _, value = option.partition("=")
    try:
        tolerance = float(value)
    except ValueError:
        tolerance = math.nan
    if not (name and tolerance >= 0):
        raise InputError(f"a tolerance must look like lung=1.5, in mm, got `{option}`")
    return name, tolerance


def _regions(pairs: "list[MaskFiles]", options: dict[str, Any]) -> "tuple[Regions, Regions]":
    """Regions of the true masks, and of the predicted ones."""
    from thorax.imaging.regions import Regions, parse_regions, regions_in_masks
    from thorax.io import Scan

    named, renamed = options["regions"], options["predicted_regions"]
    if renamed and not named:
        raise InputError("--predicted-region needs --region, which says what it is compared with")
    if named:
        known = parse_regions(named)
    else:
        known = regions_in_masks(*(Scan(each) for pair in pairs for each in _files(pair)))
    true = Regions(known.labels, options["ignore"])
    if not renamed:
        return true, true
    found = parse_regions(renamed)
    if found.names != true.names:
        raise InputError(
            f"--predicted-region must name the regions of --region, {', '.join(true.names)}, in "
            f"the same order, got {', '.join(found.names)}"
        )
    return true, Regions(found.labels, options["ignore"])


def _files(pair: "MaskFiles") -> tuple[Path, Path]:
    return pair.truth, pair.predicted


def _table(rows: list[dict[str, Any]]) -> str:
    wide = max(len("case"), *(len(row["case"]) for row in rows))
    long = max(len("region"), *(len(row["region"]) for row in rows))
    titles = [f"{title:>12}" for title, _ in SHOWN.values()]
    lines = [f"{'case':<{wide}} {'region':<{long}} " + " ".join(titles)]
    for row in rows:
        figures = (f"{row[name]:>12{form}}" for name, (_, form) in SHOWN.items())
        lines.append(f"{row['case']:<{wide}} {row['region']:<{long}} " + " ".join(figures))
    return "\n".join(lines)


def _json(rows: Iterable[dict[str, Any]], *, many: bool) -> str:
    """Figures by region; of folders, by case and region."""
    cases: dict[str, dict[str, Any]] = {}
    for row in rows:
        figures = {name: _figure(value) for name, value in row.items() if name not in _NAMES}
        cases.setdefault(row["case"], {})[row["region"]] = figures
    return json.dumps(cases if many else next(iter(cases.values())), indent=2)


_NAMES = ("case", "site", "region", "side")


def _figure(value: float) -> float | str | None:
    """A number as JSON knows it."""
    if math.isnan(value):
        return None
    return round(value, 6) if math.isfinite(value) else "inf"
