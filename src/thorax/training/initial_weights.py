"""Training inputs besides the records: initial weights and a custom augmentation file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from thorax.common.files import file_sha256
from thorax.common.params import Params
from thorax.common.text import listed
from thorax.datasets.folds import Split
from thorax.models.keras_file import MODEL, load_network
from thorax.models.pretrained.keras_hub import load_preset, transfer_preset
from thorax.models.pretrained.transfer import TransferResult, transfer_weights
from thorax.models.spec import SPEC, load_spec
from thorax.preprocessing.index import RecordIndex


def initialise_weights(
    network: Any, origin: str, regions: Sequence[str], *, folder: Path
) -> TransferResult | None:
    """Transfer pretrained weights to a network, unless it starts from random ones.

    Args:
        network: Its weights are changed.
        origin: ``random``, ``segmenter`` or a preset: `network.initial_weights` in `params.yaml`.
        regions: Names of the maps of the network, in order.
        folder: Model folder of the earlier segmenter.

    Returns:
        The copied, adapted and random layers; None for ``random``.

    Raises:
        InputError: The earlier model or the preset does not exist or does not fit.
    """
    if origin == "random":
        return None
    if origin == "segmenter":
        earlier_regions = list(load_spec(folder).regions)
        earlier = load_network(folder / MODEL)
        return transfer_weights(network, earlier, regions=regions, earlier_regions=earlier_regions)
    return transfer_preset(network, load_preset(origin))


def input_digests(params: Params, folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the other input files of a training, by path."""
    return {path.as_posix(): file_sha256(path) for path in _files(params, folder)}


def _files(params: Params, folder: Path) -> list[Path]:
    origin, paths = params.network.initial_weights, []
    if origin == "segmenter":
        paths = [folder / MODEL, folder / SPEC]
    elif origin and origin != "random" and Path(origin).is_dir():
        paths = sorted(path for path in Path(origin).rglob("*") if path.is_file())
    if params.augmentation.custom and params.augmentation.level != "none":
        paths.append(Path(params.augmentation.custom))
    return paths


def input_notes(params: Params, index: RecordIndex, folder: Path) -> list[str]:
    """Return notes for the user about the other inputs, one per line; usually none."""
    notes = []
    root = folder.resolve()
    outside = [path for path in _files(params, folder) if root not in path.resolve().parents]
    if outside:
        notes.append(
            f"Note: {outside[0]} is outside of {folder}, so `dvc repro` does not notice its "
            f"changes; move it to {folder}"
        )
    if params.network.initial_weights == "segmenter":
        notes += _differences(params, index, folder)
    return notes


def note_earlier_training(split: Split, params: Params, index: RecordIndex, folder: Path) -> Split:
    """Add a note if the initial weights were trained on cases that are validated or tested.

    This is so if the segmenter was trained or validated on a scan of their patient, in this
    dataset. Missing files are left to `input_digests`.
    """
    if params.network.initial_weights != "segmenter" or not (folder / SPEC).is_file():
        return split
    earlier = load_spec(folder).provenance
    sides = earlier.get("split", {}) if earlier.get("dataset") == index.dataset else {}
    cases = {*sides.get("train", ()), *sides.get("validation", ())}
    patients = {entry.patient for entry in index.records if entry.case in cases}
    measured = sorted({*split.validation, *split.test})
    known = [case for case in measured if index.entry(case).patient in patients]
    if not known:
        return split
    note = (
        f"the initial weights were trained on scans of the patients of {listed(known, at_most=5)}, "
        "which are validated or tested, so the metrics may be too high"
    )
    return replace(split, note="; ".join(filter(None, [split.note, note])))


def _differences(params: Params, index: RecordIndex, folder: Path) -> list[str]:
    """Return notes about settings of the slices that differ from the earlier segmenter's."""
    spec = load_spec(folder)
    pairs = {
        "train.window": (_range(spec.window_hu), _range(params.train.window)),
        "prepare.crop": (spec.crop, index.crop),
        "prepare.canvas": (spec.canvas, index.canvas),
    }
    return [
        f"Note: `{name}` is {current}, but {earlier} in {folder}; initial weights help more with "
        "equal settings"
        for name, (earlier, current) in pairs.items()
        if earlier != current
    ]


def _range(window: Sequence[float]) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in window)}]"
