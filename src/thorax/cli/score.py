"""`thorax score`."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.defaults import EVALUATE
from thorax.cli.options import ANY_PATH, echo, output_options
from thorax.common.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thorax.common.params import EvaluateParams
    from thorax.evaluation.mask_pairs import MaskFiles
    from thorax.evaluation.region_masks import RegionMask
    from thorax.evaluation.scores import Score
    from thorax.imaging.regions import Regions

    ReadPair = Callable[[MaskFiles], tuple[RegionMask, RegionMask]]

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
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="Name of a region and its label values, for example lung=1,2,3; in DICOM masks, the names "
    "of its regions of interest, for example lung=Lung_L,Lung_R. Repeatable.  [default: one region "
    "per label value or name]",
)
@click.option(
    "--predicted-region",
    "predicted_regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="The same for PREDICTED, if its label values or names differ from those of TRUTH.",
)
@click.option(
    "--ignore",
    multiple=True,
    type=int,
    help="Label value that belongs to no region, in each mask that has it in none. Repeatable.",
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
@click.option(
    "--scan",
    type=ANY_PATH,
    help="Scan of two DICOM masks, or folder of the scans of all cases: contours are scored on its "
    "grid.  [default: the CT series in the same folder]",
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

    A mask may be a DICOM structure set (RTSTRUCT) or segmentation (SEG): name its regions of
    interest in --region. It is scored on the grid of the other mask or of its scan.

    \b
    Example:
      thorax score truth.nii.gz lungs.nii.gz --region lung=1,2,3 --region infection=3
      thorax score truth/ lungmask/ --region lung=1 --predicted-region lung=1,2 --csv other.csv
      thorax score rtss.dcm lungs.nii.gz --region lung=Lung_L,Lung_R --predicted-region lung=1
    """
    from thorax.common.files import write_text
    from thorax.common.tables import aligned
    from thorax.evaluation.empty_masks import find_convention
    from thorax.evaluation.mask_pairs import find_pairs
    from thorax.evaluation.scores import scores_csv

    pairs = find_pairs(truth, predicted, missing=options["allow_missing"])
    convention = find_convention(options["convention"])
    scores = _scores(pairs, _settings(options), _reader(pairs, options))
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
    read: "ReadPair",
) -> "list[Score]":
    from tqdm import tqdm

    from thorax.evaluation.scoring import open_pair, score_pair
    from thorax.imaging.grid import grid_note

    scores = []
    for pair in tqdm(pairs, desc="score", unit="case", disable=None if len(pairs) > 1 else True):
        truth, predicted = read(pair)
        for note in grid_note(predicted.scan, truth.scan):
            echo(f"Note: {pair.case}: {note}", err=True)
        opened = open_pair(
            truth.scan,
            predicted.scan,
            truth.regions,
            predicted_regions=predicted.regions,
            sided=False,
        )
        scores += score_pair(opened, settings, case=pair.case).whole
    return scores


def _reader(pairs: "list[MaskFiles]", options: dict[str, Any]) -> "ReadPair":
    """Return the function that reads the masks of a pair."""
    from thorax.evaluation.region_masks import RegionMask, RegionOptions, has_dicom, read_pair
    from thorax.io import Scan

    with_dicom = [pair for pair in pairs if has_dicom(pair)]
    if options["predicted_regions"] and not options["regions"]:
        raise InputError("--predicted-region needs --region with the regions of TRUTH; add it")
    regions = None if with_dicom else _regions(pairs, options)
    names = RegionOptions(
        options["regions"], options["predicted_regions"], options["ignore"], options["scan"]
    )
    if with_dicom:
        _check_names(options)
        _check_settings(options, [option.partition("=")[0] for option in options["regions"]])

    def read(pair: "MaskFiles") -> "tuple[RegionMask, RegionMask]":
        if regions:
            true, predicted = regions
            return RegionMask(Scan(pair.truth), true), RegionMask(Scan(pair.predicted), predicted)
        masks = read_pair(pair, names)
        for mask in masks:
            for kind, remarks in (("Check", mask.scan.warnings), ("Note", mask.scan.notes)):
                for remark in remarks:
                    echo(f"{kind}: {pair.case}: {remark}", err=True)
        return masks

    return read


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
    if not (name and 0 <= tolerance < math.inf):
        raise InputError(f"--tolerance must be NAME=MM, for example lung=1.5, got `{option}`")
    return name, tolerance


def _regions(pairs: "list[MaskFiles]", options: dict[str, Any]) -> "tuple[Regions, Regions]":
    """Return the regions of the true masks, and of the predicted ones."""
    regions = _named_regions(pairs, options)
    _check_settings(options, regions[0].names)
    return regions


def _named_regions(pairs: "list[MaskFiles]", options: dict[str, Any]) -> "tuple[Regions, Regions]":
    """Return the regions that the options name, else one for each label value of the masks."""
    from thorax.imaging.regions import Regions, parse_regions, regions_in_masks
    from thorax.io import Scan

    if options["predicted_regions"]:
        _check_names(options)
        true, predicted = map(parse_regions, (options["regions"], options["predicted_regions"]))
        return _ignoring(true, predicted, options["ignore"]), _ignoring(
            predicted, true, options["ignore"]
        )
    if options["regions"]:
        regions = Regions(parse_regions(options["regions"]).labels, options["ignore"])
    else:
        files = (path for pair in pairs for path in (pair.truth, pair.predicted))
        labels = regions_in_masks(*map(Scan, files)).labels
        left = {
            name: values for name, values in labels.items() if values[0] not in options["ignore"]
        }
        regions = Regions(left, options["ignore"])
    return regions, regions


def _ignoring(regions: "Regions", others: "Regions", ignored: tuple[int, ...]) -> "Regions":
    """Add the ignored labels, without those that only this one of two masks has in a region."""
    own, of_other = (
        {value for values in named.labels.values() for value in values}
        for named in (regions, others)
    )
    return replace(
        regions, ignored=tuple(value for value in ignored if value not in own - of_other)
    )


def _check_names(options: dict[str, Any]) -> None:
    """Raise `InputError` unless both masks have the same regions."""
    true, predicted = (
        [option.partition("=")[0] for option in options[key]]
        for key in ("regions", "predicted_regions")
    )
    if predicted and predicted != true:
        raise InputError(
            f"--predicted-region must name the regions of --region, {', '.join(true)}, in "
            f"the same order, got {', '.join(predicted)}"
        )


def _check_settings(options: dict[str, Any], names: Sequence[str]) -> None:
    """Raise `InputError` if a setting is of a region that there is not; no names: unknown."""
    tolerances = [option.partition("=")[0] for option in options["tolerances"]]
    for option, named in (("--lesions", options["lesions"]), ("--tolerance", tolerances)):
        for name in named:
            if names and name not in names:
                raise InputError(
                    f"{option} must name one of the regions, {', '.join(names)}, got `{name}`"
                )


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
