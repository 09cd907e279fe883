"""Picture of varied synthetic chests: a coronal and an axial slice of each, with the mask.

python tests/benchmarks/contact_sheet.py docs/synthetic-chests.png
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from lungs import FIRST_CHEST
from nibabel.orientations import apply_orientation, io_orientation
from numpy.typing import NDArray

from thorax.phantom import WIDE, chest

COLUMNS, ROWS = 6, 4

Slice = tuple[NDArray, NDArray, float]
"""Voxels, mask and height of a voxel relative to its width."""


def slices_of(number: int) -> tuple[Slice, Slice, str]:
    """Make a chest; return its coronal and axial slice with most lung, and its kinds."""
    case = chest(FIRST_CHEST + number, seed=0, variety=WIDE)
    orientation = io_orientation(case.scan.grid.affine)
    voxels = apply_orientation(case.scan.voxels, orientation)
    lung = apply_orientation(case.mask.voxels, orientation) > 0
    spacing = np.array(case.scan.grid.spacing_mm)[np.argsort(orientation[:, 0])]
    shown = lung if lung.any() else voxels > voxels.mean()
    y, z = int(shown.sum(axis=(0, 2)).argmax()), int(shown.sum(axis=(0, 1)).argmax())
    coronal = voxels[:, y], lung[:, y], spacing[2] / spacing[0]
    axial = voxels[:, :, z], lung[:, :, z], spacing[1] / spacing[0]
    return coronal, axial, ", ".join(case.kinds[:4])


def draw(axes: plt.Axes, image: Slice) -> None:
    """Draw one slice, and the outline of the lungs."""
    voxels, lung, aspect = image
    low, high = (0, 255) if voxels.min() >= 0 and voxels.max() <= 255 else (-1050, 350)
    axes.imshow(voxels.T, origin="lower", cmap="gray", vmin=low, vmax=high, aspect=aspect)
    if lung.any():
        axes.contour(lung.T, [0.5], colors="#3bd16f", linewidths=0.6)


def main() -> None:
    """Write the picture."""
    with ProcessPoolExecutor() as pool:
        cases = list(pool.map(slices_of, range(COLUMNS * ROWS)))
    figure, axes = plt.subplots(2 * ROWS, COLUMNS, figsize=(2 * COLUMNS, 4 * ROWS))
    for number, (coronal, axial, kinds) in enumerate(cases):
        row, column = divmod(number, COLUMNS)
        for offset, image in enumerate((coronal, axial)):
            draw(axes[2 * row + offset, column], image)
            axes[2 * row + offset, column].axis("off")
        axes[2 * row, column].set_title(kinds.replace(", ", ",\n", 2), fontsize=5)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.99))
    figure.savefig(Path(sys.argv[1]), dpi=80, facecolor="white")


if __name__ == "__main__":
    main()
