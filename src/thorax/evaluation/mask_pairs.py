"""Which predicted mask belongs to which true one: two files, or two folders by file name."""

from dataclasses import dataclass
from pathlib import Path

from thorax.common.errors import InputError
from thorax.io import PLANE_SUFFIXES

SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True)
class MaskFiles:
    """Two masks of one scan.

    Args:
        case: Name of the case.
        truth: File of the mask that is taken for true.
        predicted: File of the mask to score.
    """

    case: str
    truth: Path
    predicted: Path


def find_pairs(truth: Path, predicted: Path, *, missing: bool = False) -> list[MaskFiles]:
    """Pair two files, or the files of two folders that have one name, whatever their formats.

    Args:
        truth: A mask, or a folder of masks.
        predicted: The same of what is to be scored; masks without a truth are left out.
        missing: Whether a true mask may lack a prediction; it is left out then.

    Returns:
        Sorted by case.

    Raises:
        InputError: One is a file and the other a folder, there is nothing to pair, two files of a
            folder have one name, or predictions are missing.
    """
    if truth.is_dir() != predicted.is_dir():
        raise InputError(
            f"masks must be two files or two folders, but only one of {truth} and {predicted} is a "
            "folder"
        )
    if not truth.is_dir():
        return [MaskFiles(truth.name, truth, predicted)]
    true, found = named_masks(truth), named_masks(predicted)
    both, lacking = sorted(true.keys() & found.keys()), sorted(true.keys() - found.keys())
    if not both:
        raise InputError(f"no mask in {predicted} has the name of one in {truth}")
    if lacking and not missing:
        raise InputError(
            f"{len(lacking)} of {len(true)} true masks have no prediction in {predicted} "
            f"({_listed(lacking)}); give --allow-missing to leave them out"
        )
    return [MaskFiles(name, true[name], found[name]) for name in both]


def named_masks(folder: Path) -> dict[str, Path]:
    """The masks of a folder by name without suffix; hidden files are left out.

    Raises:
        InputError: Two have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((each for each in PLANE_SUFFIXES if path.name.endswith(each)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name.removesuffix(suffix)
        if name in found:
            raise InputError(f"two masks are named `{name}`: {found[name]} and {path}")
        found[name] = path
    return found


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
