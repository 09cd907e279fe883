"""`thorax export` and `thorax model`."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.options import ANY_PATH, FILE, FOLDER, JSON, OPEN_SHARE, echo
from thorax.common.backend import require_backend
from thorax.common.errors import InputError

if TYPE_CHECKING:
    from thorax.models.spec import ExpectedDiceModel, ModelSpec

TRAINED_MODEL = Path("models/segmenter")

METRICS_FILE = Path("reports/metrics.json")

SCORES_FILE = Path("reports/scores.csv")


@click.command()
@click.argument("target", type=FILE)
@click.option(
    "--trained",
    type=FOLDER,
    default=TRAINED_MODEL,
    show_default=True,
    help="Folder of the trained model.",
)
@click.option(
    "--metrics",
    type=FILE,
    help=f"Metrics to store in the model.  [default: {METRICS_FILE}, if it exists and neither "
    "--trained nor another --threshold is given]",
)
@click.option(
    "--scores",
    type=FILE,
    help="Score table of held-out cases, for example from cross-validate --csv; the expected Dice "
    f"is fitted to it.  [default: {SCORES_FILE}, under the same conditions]",
)
@click.option(
    "--threshold",
    type=OPEN_SHARE,
    help="Probability threshold for a voxel to belong to a region.  [default: that of params.yaml, "
    "or of the folder if --trained is given]",
)
@click.option("--licence", default="", help="Licence of the model.")
@click.option(
    "--summary",
    default="",
    help="Training data in one line.  [default: number of cases and name of the dataset]",
)
@click.option(
    "--side-labels",
    type=(click.IntRange(1, 255), click.IntRange(1, 255)),
    metavar="RIGHT LEFT",
    help="Label values of the right and the left lung in masks; both must be labels of the region "
    "lung.  [default: one label for both]",
)
def export(target: Path, trained: Path, licence: str, summary: str, **options: Any) -> None:
    """Export a trained model as one file.

    TARGET is an ONNX file that needs neither Keras nor a network connection. Its metadata hold the
    settings for `thorax predict`, the names of the training cases, the scores and the licence.
    Before it is written, both models are compared on the same slices.

    \b
    Example:
      thorax export lungs.onnx --licence "CC BY 4.0"
    """
    require_backend("`thorax export`")
    from thorax.models.export import export_model
    from thorax.models.spec import load_spec

    spec = load_spec(trained)
    scored_threshold = _scored_threshold(trained) or spec.threshold
    threshold = options["threshold"] or scored_threshold
    # Scores are valid for the threshold that they were computed with, and for no other.
    metrics, scores = (
        _pipeline_file(path, trained) if threshold == scored_threshold else None
        for path in (METRICS_FILE, SCORES_FILE)
    )
    comparison = export_model(
        trained,
        target,
        threshold=threshold,
        metrics=_read_metrics(options["metrics"] or metrics),
        expected=_fit(options["scores"] or scores, spec.regions),
        licence=licence,
        summary=summary,
        side_labels=options["side_labels"],
    )
    echo(comparison, err=True)
    echo(target)


@click.group()
def model() -> None:
    """Show information about models."""


@model.command()
@click.argument("path", metavar="[MODEL]", type=ANY_PATH, required=False)
@JSON
def show(path: Path | None, as_json: bool) -> None:
    """Print regions, input, training, scores and licence of a model.

    MODEL is the name of a packaged model, by default lungs, an exported model, or the folder of a
    trained model.

    \b
    Example:
      thorax model show lungs
      thorax model show models/segmenter.onnx
    """
    from thorax.models.onnx_file import read_model
    from thorax.models.packaged import DEFAULT_MODEL, find_model
    from thorax.models.spec import load_spec, spec_json

    path = find_model(path or DEFAULT_MODEL)
    spec = load_spec(path) if path.is_dir() else read_model(path)[0]
    echo(spec_json(spec) if as_json else _description(path, spec), nl=not as_json)


@model.command("list")
@JSON
def list_(as_json: bool) -> None:
    """List the packaged models, which need no training and no download.

    \b
    Example:
      thorax model list
    """
    from thorax.common.tables import aligned
    from thorax.models.packaged import packaged_models

    models = packaged_models()
    if as_json:
        echo(json.dumps([packaged.as_dict() for packaged in models], indent=2))
        return
    rows = [
        {
            "model": packaged.name,
            "regions": ", ".join(packaged.spec.regions),
            "trained on": packaged.spec.training_data,
            "mean Dice": _mean_dice(packaged.spec) or "not measured",
            "licence": packaged.spec.licence or "unknown",
            "size": f"{packaged.size_bytes / 1e6:.1f} MB",
            "SHA-256": packaged.sha256[:12],
        }
        for packaged in models
    ]
    echo(aligned(rows, rows[0]))


def _pipeline_file(path: Path, trained: Path) -> Path | None:
    """Return a file of the pipeline if it exists and the pipeline made the model."""
    return path if trained == TRAINED_MODEL and path.exists() else None


def _fit(path: Path | None, regions: Collection[str]) -> "dict[str, ExpectedDiceModel]":
    """Fit the expected Dice to a score table; empty without a table or a certainty column."""
    from thorax.experiments.score_tables import read_tables
    from thorax.inference.expected_dice import fit_regions

    if path is None:
        return {}
    (table,) = read_tables([str(path)], Path())
    if "certainty" not in table.metrics:
        return {}
    return fit_regions(table.paired("certainty", "dice"), regions, source=path)


def _scored_threshold(trained: Path) -> float | None:
    """Return the threshold of the pipeline's scores; None for models from elsewhere."""
    from thorax.common.params import PATH, load_params

    return load_params().predict.threshold if _pipeline_file(PATH, trained) else None


def _read_metrics(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the metrics in {path} cannot be read: {error}") from None
    if not isinstance(metrics, dict):
        raise InputError(f"{path} must contain a mapping, as reports/metrics.json does")
    return metrics


def _description(path: Path, spec: "ModelSpec") -> str:
    from thorax.common.files import file_sha256

    training = spec.provenance
    split = training.get("split", {})
    low_hu, high_hu = spec.window_hu
    crop = "not cropped" if spec.crop == "none" else f"cropped to the {spec.crop}"
    expected_dice = "; ".join(f"{name}: {fit}" for name, fit in spec.expected_dice.items())
    lines = {
        "model": str(path),
        "regions": ", ".join(
            f"{name} (labels {', '.join(map(str, labels))})"
            for name, labels in spec.regions.items()
        ),
        "threshold": f"{spec.threshold:g}",
        "input": f"{2 * spec.context + 1} slices of {spec.canvas}×{spec.canvas}, "
        f"{low_hu:g}..{high_hu:g} HU, {crop}",
        "network": str(training.get("network", {}).get("name", "unknown")),
        "loss": str(training.get("loss", "unknown")),
        "trained on": spec.training_data,
        "records": str(training.get("records_sha256", "unknown")),
        "tested on": ", ".join(split.get("test", ())) or "nothing",
        "mean Dice": _mean_dice(spec) or "not measured",
        "expected Dice": expected_dice or "unknown",
        "licence": spec.licence or "unknown",
        "SHA-256": file_sha256(path) if path.is_file() else "not exported",
    }
    return "\n".join(f"{name:<14} {text}" for name, text in lines.items())


def _mean_dice(spec: "ModelSpec") -> str:
    """Return the mean Dice of each region as in `reports/metrics.json`, and the protocol."""
    means = ", ".join(f"{region} {mean:.4f}" for region, mean in spec.mean_dice.items())
    protocol = spec.metrics.get("protocol")
    return f"{means} ({protocol})" if protocol else means
