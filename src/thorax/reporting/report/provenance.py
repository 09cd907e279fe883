"""How the results were made: settings, split, digests, versions, machine, protocol, limits."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from thorax.common.text import counted, duration, listed, percent, shown
from thorax.evaluation import empty_masks
from thorax.imaging.intensity import IntensityScale
from thorax.reporting.report.metrics import EXPECTED_ERROR, METRICS, tolerance_mm
from thorax.reporting.report.results import Results, plain
from thorax.reporting.report.tables import Table, table

KNOBS = ("loss", "seed", "network", "losses", "augmentation", "train")
"""What both a model and `params.yaml` tell of."""


def making_tables(results: Results) -> list[Table]:
    """Everything about the making that is best read as a table."""
    made = [
        table("The model", ["What", "Value"], model_rows(results), words=2),
        settings_table(results),
        split_table(results),
        table("Data and digests", ["What", "Value"], digest_rows(results), words=2),
        intensity_table(results),
        table("Software and machine", ["What", "Value"], machine_rows(results), words=2),
        protocol_table(results),
        empty_table(results),
    ]
    return [one for one in made if one.groups]


def model_rows(results: Results) -> list[list[str]]:
    """What the model is."""
    model = results.model
    if model is None:
        return []
    made, regions = results.provenance, model.regions.items()
    low, high = model.window_hu
    return [
        ["network", str(made.get("network", {}).get("name", "unknown"))],
        ["sees", f"stacks of {2 * model.context + 1} planes of {model.canvas}×{model.canvas}"],
        ["window", f"{shown(low, 0)} to {shown(high, 0)} HU"],
        ["cropped to", model.crop],
        ["regions", "; ".join(f"{name}: labels {_items(labels)}" for name, labels in regions)],
        ["threshold", f"{results.params.predict.threshold:g}"],
        ["postprocessing", _postprocessing(model.postprocessing)],
        ["loss", str(made.get("loss", "unknown"))],
        ["precision", str(made.get("precision", "unknown"))],
    ]


def _postprocessing(rules: Mapping[str, Any]) -> str:
    told = (f"{name}: {_flat(asdict(how))}" for name, how in rules.items())
    return "; ".join(told) or "not at all"


def settings_table(results: Results) -> Table:
    """What the training was set to, and what `params.yaml` says now; what differs comes first."""
    trained = dict(_leaves({key: results.provenance.get(key) for key in KNOBS}))
    now = dict(_leaves({key: asdict(results.params)[key] for key in KNOBS}))
    if not results.provenance:
        return table("Settings", ["Setting", "Trained with", "params.yaml"], [])
    names = sorted({**now, **trained}, key=lambda name: trained.get(name) == now.get(name))
    differing = [name for name in names if trained.get(name) != now.get(name)]
    rows = [[name, trained.get(name, "–"), now.get(name, "–")] for name in names]
    caption = (
        f"Settings of the training: {len(differing)} of {len(names)} differ from params.yaml, "
        "which stand first"
        if differing
        else f"Settings of the training: all {len(names)} as in params.yaml"
    )
    return table(caption, ["Setting", "Trained with", "params.yaml"], rows, words=3, folded=True)


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{name}.")
        elif value is not None:
            yield plain(name), plain(_flat(value))


def _flat(value: Any) -> str:
    """A setting in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return _items(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"


def _items(values: Any) -> str:
    return ", ".join(map(_flat, values)) or "none"


def split_table(results: Results) -> Table:
    """The cases by name, on the sides of the split."""
    split = results.provenance.get("split", {})
    sides = {"train": "learnt from", "validation": "watched the training", "test": "tested on"}
    rows = [
        [meaning, str(len(names)), plain(_items(names))]
        for side, meaning in sides.items()
        if (names := split.get(side)) is not None
    ]
    notes = (plain(str(split["note"])),) if split.get("note") else ()
    columns = ["Side", "Cases", "Names"]
    return table("Which case was on which side", columns, rows, words=3, notes=notes)


def digest_rows(results: Results) -> list[list[str]]:
    """Where the data come from, and what tells whether they are the same."""
    spec = results.dataset
    known = {
        "dataset": results.params.dataset,
        "title": spec.title,
        "source": spec.source,
        "licence": spec.licence,
        "note": spec.note,
        "records learnt from and watched (SHA-256)": results.provenance.get("records_sha256"),
        **results.digests,
    }
    rows = [[plain(name), plain(str(value))] for name, value in known.items() if value]
    if not results.digests:
        rows.append(["digests of the files", "not known: there is no dvc.lock that tells them"])
    return rows


def intensity_table(results: Results) -> Table:
    """What voxel values meant before they were brought to HU, by source."""
    columns = ["Source", "Cases", "What voxel values were"]
    rows = [
        [source.site or "–", str(source.cases), in_words(source.domain)]
        for source in results.sources
    ]
    mixed = len({source.domain for source in results.sources}) > 1
    notes = (
        "All were brought to HU before anything was learnt from them. An export of 8 bits has lost "
        "what lay beyond its window.",
    )
    return table("Intensities by source", columns, rows, words=3, notes=notes if mixed else ())


def in_words(domain: IntensityScale) -> str:
    """What voxel values mean, for people.

    Example:
        >>> in_words(IntensityScale((-1250, 250)))
        '8 bits: 0 for -1250 HU, 255 for 250 HU'
    """
    if domain.window_hu:
        first_hu, last_hu = domain.to_hu(np.array([0, 255]))
        return f"8 bits: 0 for {first_hu:g} HU, 255 for {last_hu:g} HU"
    return f"HU, with {domain.offset_hu:+d}" if domain.offset_hu else "HU"


def machine_rows(results: Results) -> list[list[str]]:
    """Versions, hardware and time."""
    versions = results.provenance.get("versions", {})
    kind = results.provenance.get("machine", {})
    rows = [[plain(str(name)), plain(str(version))] for name, version in versions.items()]
    machine = results.training.get("machine", {})
    words = {
        "processor": "processor",
        "cores": "cores",
        "memory_gib": "memory (GiB)",
        "system": "system",
    }
    if kind.get("instructions"):
        rows.append(["trained with the instructions", plain(str(kind["instructions"]))])
    rows += [[title, plain(str(machine[key]))] for key, title in words.items() if key in machine]
    if "seconds" in results.training:
        epochs, seconds = results.training.get("epochs", 0), results.training["seconds"]
        rows.append(["training", f"{counted(int(epochs), 'epoch')} in {duration(float(seconds))}"])
    if not results.training:
        rows.append(["time and machine", "not known: there is no reports/training.json"])
    return rows


def protocol_table(results: Results) -> Table:
    """What each figure means, and how means and intervals are made."""
    rows = [
        [figure.heading, figure.meaning]
        for figure in METRICS.values()
        if figure.name in results.columns
    ]
    if results.calibration:
        rows.append(["ECE", EXPECTED_ERROR])
    rows += [[name, meaning] for name, meaning in rules(results).items()]
    return table("What each figure means", ["Figure", "Meaning"], rows, words=2)


def empty_table(results: Results) -> Table:
    """What the convention makes of empty masks."""
    convention = empty_masks.find_convention(results.params.evaluate.convention)
    rows = [
        [METRICS[name].title, *map(_entry, (entries.truth, entries.predicted, entries.both))]
        for name, entries in convention.entries.items()
        if name in results.columns
    ]
    return table(
        f"What empty masks count as, by the convention “{convention.name}”",
        ["Figure", "Only the truth is empty", "Only the prediction is", "Both are"],
        rows,
        notes=("–: undefined, and left out of means. Behind an arrow: what means take instead.",),
    )


def _entry(entry: empty_masks.MetricRule) -> str:
    """What a case shows, and what means take where that is something else."""
    told = shown(entry.shown, 0)
    if entry.counted == "diagonal":
        return f"{told} → diagonal of the scan"
    counted_as = shown(float(entry.counted), 0)
    return told if counted_as == told else f"{told} → {counted_as}"


def rules(results: Results) -> dict[str, str]:
    """The settings under which the figures were worked out."""
    params = results.params.evaluate
    tolerances = [f"{name} {tolerance_mm(results, name):g} mm" for name in results.regions]
    overlap = f"more than {percent(params.lesion_overlap)}" if params.lesion_overlap else "a voxel"
    return {
        "Grid": "every figure is worked out in 3D on the scan's own grid, in mm and mL; none is "
        "averaged over slices",
        "Tolerance of the NSD": ", ".join(tolerances) or "none",
        "Means": "over cases, each counting alike; what is undefined is left out",
        "Intervals": f"{percent(params.confidence)} of the mean, by bootstrap over patients, "
        f"each with all of its cases ({params.interval}, {params.resamples:,} resamples)",
        "Counting lesions": f"for {listed(params.lesions, nothing='no region')}; found when "
        f"{overlap} is overlapped; pieces under {params.smallest_lesion_ml:g} mL do not count",
    }
