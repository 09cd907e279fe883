"""Provenance of the results as tables: settings, split, digests, versions, machine, protocol."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from thorax.common.text import counted, duration, listed, percent, shown
from thorax.evaluation.empty_masks import MetricRule, find_convention
from thorax.imaging.intensity import IntensityScale
from thorax.reporting.report.metrics import EXPECTED_ERROR, METRICS, tolerance_mm
from thorax.reporting.report.results import Results, xml_safe
from thorax.reporting.report.tables import ReportTable, simple_table

SETTINGS = ("loss", "seed", "network", "losses", "augmentation", "train")
"""Settings that both a model and `params.yaml` record."""


def provenance_tables(results: Results) -> list[ReportTable]:
    """Return the tables of the section on methods; empty ones are left out."""
    tables = [
        simple_table("Model", ["Item", "Value"], model_rows(results), text_columns=2),
        settings_table(results),
        split_table(results),
        simple_table("Data and digests", ["Item", "Value"], digest_rows(results), text_columns=2),
        intensity_table(results),
        simple_table(
            "Software and machine", ["Item", "Value"], machine_rows(results), text_columns=2
        ),
        protocol_table(results),
        empty_masks_table(results),
    ]
    return [table for table in tables if table.groups]


def model_rows(results: Results) -> list[list[str]]:
    """Describe the model."""
    model = results.model
    if model is None:
        return []
    provenance, regions = results.provenance, model.regions.items()
    low, high = model.window_hu
    return [
        ["network", str(provenance.get("network", {}).get("name", "unknown"))],
        ["input", f"stacks of {2 * model.context + 1} slices of {model.canvas}×{model.canvas}"],
        ["window", f"{shown(low, 0)} to {shown(high, 0)} HU"],
        ["crop", model.crop],
        ["regions", "; ".join(f"{name}: labels {_items(labels)}" for name, labels in regions)],
        ["threshold", f"{results.params.predict.threshold:g}"],
        ["postprocessing", _postprocessing(model.postprocessing)],
        ["loss", str(provenance.get("loss", "unknown"))],
        ["precision", str(provenance.get("precision", "unknown"))],
    ]


def _postprocessing(rules: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {_flat(asdict(rule))}" for name, rule in rules.items()) or "none"


def settings_table(results: Results) -> ReportTable:
    """Compare the training settings of the model with `params.yaml`; differences come first."""
    columns = ["Setting", "Model", "params.yaml"]
    if not results.provenance:
        return simple_table("Training settings", columns, [])
    trained = dict(_leaves({key: results.provenance.get(key) for key in SETTINGS}))
    current = dict(_leaves({key: asdict(results.params)[key] for key in SETTINGS}))
    # Loggers do not change the model, which does not record them.
    recorded = [name for name in {**current, **trained} if name != "train.loggers"]
    names = sorted(recorded, key=lambda name: trained.get(name) == current.get(name))
    differing = [name for name in names if trained.get(name) != current.get(name)]
    rows = [[name, trained.get(name, "–"), current.get(name, "–")] for name in names]
    caption = (
        f"Training settings: {len(differing)} of {len(names)} differ from params.yaml, listed first"
        if differing
        else f"Training settings: all {len(names)} as in params.yaml"
    )
    return simple_table(caption, columns, rows, text_columns=3, folded=True)


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        elif value is not None:
            yield xml_safe(name), xml_safe(_flat(value))


def _flat(value: Any) -> str:
    """Write a setting in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return _items(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"


def _items(values: Any) -> str:
    return ", ".join(map(_flat, values)) or "none"


def split_table(results: Results) -> ReportTable:
    """List the cases of training, validation and test."""
    split = results.provenance.get("split", {})
    sides = {"train": "training", "validation": "validation", "test": "test"}
    rows = [
        [title, str(len(names)), xml_safe(_items(names))]
        for side, title in sides.items()
        if (names := split.get(side)) is not None
    ]
    notes = (xml_safe(str(split["note"])),) if split.get("note") else ()
    columns = ["Use", "Cases", "Names"]
    return simple_table("Split of the cases", columns, rows, text_columns=3, notes=notes)


def digest_rows(results: Results) -> list[list[str]]:
    """Describe the dataset and list the digests of its files."""
    spec = results.dataset
    entries = {
        "dataset": results.params.dataset,
        "title": spec.title,
        "source": spec.source,
        "licence": spec.licence,
        "note": spec.note,
        "records of training and validation cases (SHA-256)": results.provenance.get(
            "records_sha256"
        ),
        **results.digests,
    }
    rows = [[xml_safe(name), xml_safe(str(value))] for name, value in entries.items() if value]
    if not results.digests:
        rows.append(["digests of the files", "unknown: there is no dvc.lock"])
    return rows


def intensity_table(results: Results) -> ReportTable:
    """List the intensity scales of the voxel values, by source."""
    rows = [
        [source.site or "–", str(source.cases), describe_scale(source.scale)]
        for source in results.sources
    ]
    mixed = len({source.scale for source in results.sources}) > 1
    notes = (
        "All values were converted to HU before training. An 8-bit export has lost values outside "
        "its window.",
    )
    return simple_table(
        "Intensity scales by source",
        ["Site", "Cases", "Voxel values"],
        rows,
        text_columns=3,
        notes=notes if mixed else (),
    )


def describe_scale(scale: IntensityScale) -> str:
    """Describe an intensity scale.

    Example:
        >>> describe_scale(IntensityScale((-1250, 250)))
        '8 bits: 0 is -1250 HU, 255 is 250 HU'
    """
    if scale.window_hu:
        first_hu, last_hu = scale.to_hu(np.array([0, 255]))
        return f"8 bits: 0 is {first_hu:g} HU, 255 is {last_hu:g} HU"
    return f"HU {scale.offset_hu:+d}" if scale.offset_hu else "HU"


def machine_rows(results: Results) -> list[list[str]]:
    """List software versions, hardware and time."""
    versions = results.provenance.get("versions", {})
    trained_on = results.provenance.get("machine", {})
    rows = [[xml_safe(str(name)), xml_safe(str(version))] for name, version in versions.items()]
    machine = results.training.get("machine", {})
    titles = {
        "processor": "processor",
        "cores": "cores",
        "memory_gib": "memory (GiB)",
        "system": "system",
    }
    if trained_on.get("instructions"):
        rows.append(["instruction set in training", xml_safe(str(trained_on["instructions"]))])
    rows += [
        [title, xml_safe(str(machine[key]))] for key, title in titles.items() if key in machine
    ]
    if "seconds" in results.training:
        epochs, seconds = results.training.get("epochs", 0), results.training["seconds"]
        rows.append(["training", f"{counted(int(epochs), 'epoch')} in {duration(float(seconds))}"])
    if not results.training:
        rows.append(["time and machine", "unknown: there is no reports/training.json"])
    return rows


def protocol_table(results: Results) -> ReportTable:
    """Define each metric, and the settings of means and intervals."""
    rows = [
        [metric.heading, metric.definition]
        for metric in METRICS.values()
        if metric.name in results.columns
    ]
    if results.calibration:
        rows.append(["ECE", EXPECTED_ERROR])
    rows += [[name, text] for name, text in protocol_settings(results).items()]
    return simple_table("Definitions", ["Metric", "Definition"], rows, text_columns=2)


def empty_masks_table(results: Results) -> ReportTable:
    """List the values of metrics for empty masks."""
    convention = find_convention(results.params.evaluate.convention)
    rows = [
        [METRICS[name].title, *map(_rule_text, (rules.truth, rules.predicted, rules.both))]
        for name, rules in convention.rules.items()
        if name in results.columns
    ]
    return simple_table(
        f"Values for empty masks, by the convention “{convention.name}”",
        ["Metric", "Only truth empty", "Only prediction empty", "Both empty"],
        rows,
        notes=("–: undefined, left out of means. A value behind an arrow enters means instead.",),
    )


def _rule_text(rule: MetricRule) -> str:
    """Write the value of a case, and the value that enters means if it differs."""
    reported = shown(rule.reported, 0)
    if rule.averaged == "diagonal":
        return f"{reported} → diagonal of the scan"
    averaged = shown(float(rule.averaged), 0)
    return reported if averaged == reported else f"{reported} → {averaged}"


def protocol_settings(results: Results) -> dict[str, str]:
    """Describe the settings of the evaluation."""
    params = results.params.evaluate
    tolerances = [f"{name} {tolerance_mm(results, name):g} mm" for name in results.regions]
    overlap = (
        f"more than {percent(params.lesion_overlap)} of it"
        if params.lesion_overlap
        else "at least one voxel of it"
    )
    return {
        "Grid": "all metrics are computed in 3D on the original grid of the scan, in mm and mL; "
        "none is averaged over slices",
        "Tolerance of the NSD": ", ".join(tolerances) or "none",
        "Means": "over cases with equal weight; undefined values are left out",
        "Intervals": f"{percent(params.confidence)} intervals of the mean, by bootstrap over "
        f"patients with all their cases ({params.interval}, {params.resamples:,} resamples)",
        "Lesion counts": f"for {listed(params.lesions, nothing='no region')}; a lesion is detected "
        f"if the prediction overlaps {overlap}; components below {params.smallest_lesion_ml:g} mL "
        "are ignored",
    }
