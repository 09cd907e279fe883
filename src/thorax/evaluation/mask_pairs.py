"""Pairs of mask files: two files, or the files of two folders with the same name."""

from dataclasses import dataclass
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.io import MASK_SUFFIXES, SCAN_SUFFIXES
from thorax.io.suffixes import PAIR_SUFFIXES, scan_files

MOST_NAMES = 5
"""Names that an error lists."""

_SUFFIXES = (*MASK_SUFFIXES, *(end for end in SCAN_SUFFIXES if end != ".zip"), *PAIR_SUFFIXES)
"""All formats that are read as a mask."""


@dataclass(frozen=True)
class MaskFiles:
    """The true and the predicted mask file of one scan.

    Args:
        case: Name of the case.
        truth: File of the true mask.
        predicted: File of the mask to score.
    """

    case: str
    truth: Path
    predicted: Path


def find_pairs(truth: Path, predicted: Path, *, missing: bool = False) -> list[MaskFiles]:
    """Pair two files, or the files of two folders by name, whatever their formats.

    Args:
        truth: A mask, or a folder of masks.
        predicted: The mask or the folder to score; masks without a truth are left out.
        missing: True to skip true masks without a prediction; otherwise they are an error.

    Returns:
        Pairs sorted by case.

    Raises:
        InputError: One is a file and the other a folder, no names match, two files of a folder
            have the same name, or predictions are missing.
    """
    if truth.is_dir() != predicted.is_dir():
        raise InputError(
            f"masks must be two files or two folders, but only one of {truth} and {predicted} is a "
            "folder"
        )
    if not truth.is_dir():
        return [MaskFiles(truth.name, truth, predicted)]
    true_masks, predicted_masks = named_masks(truth), named_masks(predicted)
    paired = sorted(true_masks.keys() & predicted_masks.keys())
    unpaired = sorted(true_masks.keys() - predicted_masks.keys())
    if not paired:
        raise InputError(
            f"masks must have the same name in both folders, but {predicted} has no name of {truth}"
        )
    if unpaired and not missing:
        raise InputError(
            f"{len(unpaired)} of {len(true_masks)} true masks have no prediction in {predicted} "
            f"({listed(unpaired, at_most=MOST_NAMES)}); give --allow-missing to leave them out"
        )
    return [MaskFiles(name, true_masks[name], predicted_masks[name]) for name in paired]


def named_masks(folder: Path) -> dict[str, Path]:
    """Return the masks of a folder by name without suffix; hidden files are left out.

    A pair of header and voxels is one mask.

    Raises:
        InputError: Two masks have the same name.
    """
    masks: dict[str, Path] = {}
    paths = sorted(folder.iterdir())
    scans = set(scan_files(path.name for path in paths))
    for path in paths:
        lower = path.name.lower()
        suffix = next((suffix for suffix in _SUFFIXES if lower.endswith(suffix)), None)
        is_voxels = lower.endswith(PAIR_SUFFIXES) and path.name not in scans
        if suffix is None or path.name.startswith(".") or is_voxels:
            continue
        name = path.name[: -len(suffix)]
        if name in masks:
            raise InputError(
                f"a name may be used once, but two masks are named `{name}`: {masks[name]} and "
                f"{path}; remove one"
            )
        masks[name] = path
    return masks
