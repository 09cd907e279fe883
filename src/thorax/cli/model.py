"""The model as one file: made, and looked at."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.options import ANY, FILE, FOLDER, MODEL, echo
from thorax.common.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from thorax.models.spec import ExpectedDiceModel, ModelSpec

TRAINED = Path("models/segmenter")

METRICS = Path("reports/metrics.json")

SCORES = Path("reports/scores.csv")


@click.command()
@click.argument("target", type=FILE)
@click.option(
    "--trained",
    type=FOLDER,
    default=TRAINED,
    show_default=True,
    help="Folder that training leaves.",
)
@click.option(
    "--metrics",
    type=FILE,
    help=f"Scores to put in. [default: {METRICS} if it is there and neither a folder nor another "
    "threshold is given]",
)
@click.option(
    "--scores",
    type=FILE,
    help="Table of held-out cases, such as that of cross-validate --csv; it tells what Dice "
    "to expect. "
    f"[default: {SCORES}, likewise]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Probability from which on a voxel belongs to a region. [default: that of params.yaml, "
    "likewise]",
)
@click.option("--licence", default="", help="Under which the model may be used.")
def export(target: Path, trained: Path, licence: str, **options: Any) -> None:
    """Export a trained model as one file.

    TARGET is ONNX and needs neither Keras nor a network connection; its metadata tell all that
    `thorax predict` needs, what the model was trained on, its scores and its licence. Both models
    are tried on the same planes before it is written.

    \b
    Example:
      thorax export lungs.onnx --licence "CC BY 4.0"
    """
    from thorax.models.export import export as export_model
    from thorax.models.spec import load_spec

    spec = load_spec(trained)
    scored = _scored_threshold(trained) or spec.threshold
    threshold = options["threshold"] or scored
    # Figures of the masks that one threshold gave say nothing of those that another gives.
    metrics, scores = (
        _made(path, trained) if threshold == scored else None for path in (METRICS, SCORES)
    )
    compared = export_model(
        trained,
        target,
        threshold=threshold,
        metrics=_scores(options["metrics"] or metrics),
        expected=_expected(options["scores"] or scores, spec.regions),
        licence=licence,
    )
    echo(str(compared), err=True)
    echo(target)


@click.group()
def model() -> None:
    """Look at models."""


@model.command()
@click.argument("path", type=ANY, default=MODEL)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def show(path: Path, as_json: bool) -> None:
    """Print what a model is: regions, window, training, scores, licence.

    \b
    Example:
      thorax model show lungs.onnx
    """
    from thorax.models.onnx_file import read_model
    from thorax.models.spec import load_spec, spec_json

    spec = load_spec(path) if path.is_dir() else read_model(path)[0]
    echo(spec_json(spec) if as_json else _described(path, spec), nl=not as_json)


def _made(path: Path, trained: Path) -> Path | None:
    """A file of the pipeline that made the model, if it is there."""
    return path if trained == TRAINED and path.exists() else None


def _expected(path: Path | None, regions: "Collection[str]") -> "dict[str, ExpectedDiceModel]":
    """What certainty stood for in a table of scores; nothing where that has no column for it."""
    from thorax.experiments.score_tables import read_tables
    from thorax.inference.expected_dice import fit_expected_dice

    if path is None:
        return {}
    (table,) = read_tables([str(path)], Path())
    if "certainty" not in table.metrics:
        return {}
    pairs = table.paired("certainty", "dice")
    if not set(pairs) & set(regions):
        raise InputError(
            f"{path} must have scores of what the model finds, {', '.join(regions)}, but has "
            f"{', '.join(pairs) or 'none'}; name another table with --scores"
        )
    learnt = {region: fit_expected_dice(pairs[region]) for region in regions if region in pairs}
    return {region: known for region, known in learnt.items() if known}


def _scored_threshold(trained: Path) -> float | None:
    """The one that the pipeline scored; None for models that it did not make."""
    from thorax.common.params import PATH, load_params

    return load_params().predict.threshold if _made(PATH, trained) else None


def _scores(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the scores in {path} cannot be read: {error}") from None
    if not isinstance(scores, dict):
        raise InputError(f"the scores in {path} must be a mapping, as reports/metrics.json is")
    return scores


def _described(path: Path, spec: "ModelSpec") -> str:
    trained = spec.provenance
    split = trained.get("split", {})
    low_hu, high_hu = spec.window_hu
    crop = "not cropped" if spec.crop == "none" else f"cropped to the {spec.crop}"
    lines = {
        "model": str(path),
        "regions": ", ".join(
            f"{name} (labels {', '.join(map(str, labels))})"
            for name, labels in spec.regions.items()
        ),
        "threshold": f"{spec.threshold:g}",
        "sees": f"{2 * spec.context + 1} planes of {spec.canvas}×{spec.canvas}, "
        f"{low_hu:g}..{high_hu:g} HU, {crop}",
        "network": str(trained.get("network", {}).get("name", "unknown")),
        "loss": str(trained.get("loss", "unknown")),
        "trained on": f"{len(split.get('train', ()))} cases of {trained.get('dataset', 'unknown')}",
        "records": str(trained.get("records_sha256", "unknown")),
        "tested on": ", ".join(split.get("test", ())) or "nothing",
        **_figures(spec),
        "expected Dice": "; ".join(f"{name}: {known}" for name, known in spec.expected_dice.items())
        or "not known",
        "licence": spec.licence or "not said",
    }
    return "\n".join(f"{name:<14} {text}" for name, text in lines.items())


def _figures(spec: "ModelSpec") -> dict[str, str]:
    """Mean Dice of each region, as `reports/metrics.json` tells them."""
    found = {}
    for region in spec.regions:
        scores = spec.metrics.get(region)
        if isinstance(scores, dict) and isinstance(scores.get("dice"), dict):
            found[region] = f"{scores['dice'].get('mean'):.4f}"
    text = ", ".join(f"{region} {dice}" for region, dice in found.items())
    return {"mean Dice": text or "not measured"}
