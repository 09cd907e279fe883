"""Picture of varied synthetic chests: a coronal and an axial slice of each, with the mask.

    python tests/benchmarks/contact_sheet.py docs/synthetic-chests.png
    python tests/benchmarks/contact_sheet.py worst.png --worst CASES.csv [--model MODEL]

The second command draws the chests with the lowest Dice in a table of ``lungs.py --csv``, and the
masks of the model. Slices with most lung, or with most errors of the model, are drawn.
"""

import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import matplotlib.pyplot as plt
import nibabel
import numpy as np
from lungs import FIRST_CHEST
from nibabel.orientations import apply_orientation, io_orientation
from numpy.typing import NDArray

import thorax
from thorax.common.errors import InputError
from thorax.phantom import WIDE, chest

COLUMNS, ROWS = 6, 4

REFERENCE, PREDICTED = "#3bd16f", "#ff5a4d"


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice; masks of the reference and of the model, and height of a voxel by its width."""

    voxels: NDArray
    masks: tuple[NDArray, ...]
    aspect: float


def slices_of(number: int, *, model: str | None = None) -> tuple[Slice, Slice, str]:
    """Make a chest; return a coronal and an axial slice, and its kinds."""
    case = chest(number, seed=0, variety=WIDE)
    orientation = io_orientation(case.scan.grid.affine)
    masks = [case.mask.voxels > 0]
    if model:
        masks.append(predicted_mask(model, case.scan.voxels, case.scan.grid.affine))
    voxels = apply_orientation(case.scan.voxels, orientation)
    masks = [apply_orientation(mask, orientation) for mask in masks]
    spacing = np.array(case.scan.grid.spacing_mm)[np.argsort(orientation[:, 0])]
    drawn = masks[0] ^ masks[1] if model else masks[0]
    drawn = drawn if drawn.any() else voxels > voxels.mean()
    y, z = int(drawn.sum(axis=(0, 2)).argmax()), int(drawn.sum(axis=(0, 1)).argmax())
    coronal = Slice(
        voxels[:, y], tuple(mask[:, y] for mask in masks), float(spacing[2] / spacing[0])
    )
    axial = Slice(
        voxels[:, :, z], tuple(mask[:, :, z] for mask in masks), float(spacing[1] / spacing[0])
    )
    return coronal, axial, ", ".join(case.kinds[: None if model else 4])


def predicted_mask(model: str, voxels: NDArray, affine: NDArray) -> NDArray[np.bool_]:
    """Segment a scan; a mask without lung if it is refused."""
    try:
        return thorax.load(model).segment(nibabel.Nifti1Image(voxels, affine)).mask > 0
    except InputError:
        return np.zeros(voxels.shape, dtype=bool)


def worst_chests(table: Path, count: int) -> list[tuple[int, str]]:
    """Read number and Dice of the synthetic chests with the lowest Dice."""
    rows = [
        row
        for row in csv.DictReader(table.open())
        if row["dice"] and row["case"].startswith("phantom_")
    ]
    rows.sort(key=lambda row: float(row["dice"]))
    return [
        (int(row["case"].removeprefix("phantom_")), f"Dice {float(row['dice']):.2f}: ")
        for row in rows[:count]
    ]


def draw(axes: plt.Axes, image: Slice) -> None:
    """Draw one slice, and the outlines of the lungs."""
    low, high = (0, 255) if image.voxels.min() >= 0 and image.voxels.max() <= 255 else (-1050, 350)
    axes.imshow(
        image.voxels.T, origin="lower", cmap="gray", vmin=low, vmax=high, aspect=image.aspect
    )
    for mask, colour in zip(image.masks, (REFERENCE, PREDICTED), strict=False):
        if mask.any():
            axes.contour(mask.T, [0.5], colors=colour, linewidths=0.6)


def wrapped(text: str, width: int = 38) -> str:
    """Break a list of kinds into lines."""
    lines = [""]
    for part in text.split(", "):
        if len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += f"{part}, "
    return "\n".join(lines).removesuffix(", ")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--worst", type=click.Path(path_type=Path, exists=True), help="Table of lungs.py.")
@click.option("--model", default="lungs", help="Model whose masks are drawn with --worst.")
def main(target: Path, worst: Path | None, model: str) -> None:
    """Write the picture."""
    columns, rows = (5, 2) if worst else (COLUMNS, ROWS)
    chests = (
        worst_chests(worst, columns * rows)
        if worst
        else [(FIRST_CHEST + n, "") for n in range(columns * rows)]
    )
    with ProcessPoolExecutor() as pool:
        make = partial(slices_of, model=model if worst else None)
        cases = list(pool.map(make, [number for number, _ in chests]))
    figure, axes = plt.subplots(2 * rows, columns, figsize=(2 * columns, 4.8 * rows))
    for number, ((coronal, axial, kinds), (_, score)) in enumerate(zip(cases, chests, strict=True)):
        row, column = divmod(number, columns)
        for offset, image in enumerate((coronal, axial)):
            draw(axes[2 * row + offset, column], image)
            axes[2 * row + offset, column].axis("off")
        axes[2 * row, column].set_title(wrapped(score + kinds), fontsize=5)
    figure.tight_layout(pad=0.3, h_pad=2.5 if worst else 0.3, rect=(0, 0, 1, 0.99))
    figure.savefig(target, dpi=80, facecolor="white")


if __name__ == "__main__":
    main()
