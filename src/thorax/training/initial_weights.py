"""What a training begins with besides its records: weights from elsewhere, changes from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thorax.common.files import file_sha256
from thorax.common.params import Params
from thorax.models.keras_file import MODEL, load_network
from thorax.models.pretrained.keras_hub import load_preset, transfer_preset
from thorax.models.pretrained.transfer import TransferResult, transfer_weights
from thorax.models.spec import SPEC, load_spec
from thorax.preprocessing.index import RecordIndex


def initialise_weights(
    network: Any, origin: str, regions: Sequence[str], *, folder: Path
) -> TransferResult | None:
    """Pour weights that were trained already into a fresh network, where that is asked for.

    Args:
        network: Its weights are changed.
        origin: ``random``, ``segmenter`` or a preset; see `network.initial_weights` in `params.yaml`.
        regions: That the network finds.
        folder: Where the earlier segmenter lies.

    Returns:
        Which layers got their weights from where; None for ``random``.

    Raises:
        InputError: There is no such start, or it does not fit.
    """
    if origin == "random":
        return None
    if origin == "segmenter":
        known = list(load_spec(folder).regions)
        earlier = load_network(folder / MODEL)
        return transfer_weights(network, earlier, regions=regions, earlier_regions=known)
    return transfer_preset(network, load_preset(origin))


def input_digests(params: Params, folder: Path) -> dict[str, str]:
    """Digests of the files that a training depends on besides its records, by path."""
    return {path.as_posix(): file_sha256(path) for path in _files(params, folder)}


def _files(params: Params, folder: Path) -> list[Path]:
    origin, paths = params.network.initial_weights, []
    if origin == "segmenter":
        paths = [folder / MODEL, folder / SPEC]
    elif origin and origin != "random" and Path(origin).is_dir():
        paths = sorted(path for path in Path(origin).rglob("*") if path.is_file())
    if params.augmentation.custom:
        paths.append(Path(params.augmentation.custom))
    return paths


def input_notes(params: Params, index: RecordIndex, folder: Path) -> list[str]:
    """What a user should know of what is begun with, a line each; mostly nothing."""
    found = []
    inside = folder.resolve()
    strangers = [path for path in _files(params, folder) if inside not in path.resolve().parents]
    if strangers:
        found.append(
            f"Note: {strangers[0]} lies outside of {folder}, so `dvc repro` does not notice when "
            "it changes; move it there"
        )
    if params.network.initial_weights == "segmenter":
        found += _differences(params, index, folder)
    return found


def _differences(params: Params, index: RecordIndex, folder: Path) -> list[str]:
    """How planes looked to an earlier segmenter, where they look otherwise now."""
    spec = load_spec(folder)
    pairs = {
        "train.window": (_shown(spec.window_hu), _shown(params.train.window)),
        "prepare.crop": (spec.crop, index.crop),
        "prepare.canvas": (spec.canvas, index.canvas),
    }
    return [
        f"Note: the segmenter in {folder} was trained with `{name}: {earlier}`, this training has "
        f"{now}; the closer they are, the more its weights are worth"
        for name, (earlier, now) in pairs.items()
        if earlier != now
    ]


def _shown(window: Sequence[float]) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in window)}]"
