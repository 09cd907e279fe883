"""Distances between the surfaces of two masks, in mm.

What a surface is, and why this one: the published figures for the COVID-19 lung and infection
benchmark (Ma et al., Med Phys 2021;48:1197-1210: surface Dice at 1 mm for lungs and 3 mm for
infection) were worked out with DeepMind's surface-distance (Nikolov et al., J Med Internet Res
2021;23:e26151). This is an implementation of our own of the same definition. Other tools (MONAI,
MetricsReloaded, medpy) take the outermost voxels of a mask and let each count the same, also where
voxels are longer along one axis than along the others. The two kinds of figures differ: never
compare one with the other.

* A surface element lies at each corner where eight voxels meet, of which some are inside the mask
  and some are not. What lies outside the scan is outside the mask.
* Its area, in mm², is that of the triangles which marching cubes lays between these eight voxel
  centres (Lorensen & Cline, Computer Graphics 1987;21:163-169), so that a sheet weighs what it
  measures and not how many voxels it takes, on whatever grid.
* Its distance is that to the nearest element of the other surface, in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from edt import edt
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from thorax.imaging.grid import mask_box

INSIDE = 255
"""The code of a corner whose eight voxels are all in the mask; 0 where none is."""

CLOSE_MM = 1e-4
"""A distance longer than the tolerance by no more than this is within it: affines are stored in
single precision, and slices 3.0000001 mm apart must count as 3 mm."""

ROUNDING = 1e-9
"""Relative: a percentile that falls between two elements must not hang on how areas add up."""

Mask = NDArray[np.bool_]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far each element of two surfaces is from the other surface.

    If just one of the masks is empty, the elements of the other are infinitely far: `nsd` is 0,
    `hausdorff_mm` and `mean_mm` are infinite. If both are empty all three are undefined (NaN).

    Args:
        truth_mm: Distances from the elements of the truth to the predicted surface, in mm.
        truth_mm2: Areas of the same elements, in mm².
        predicted_mm: Distances from the elements of the prediction to the true surface, in mm.
        predicted_mm2: Areas of the same elements, in mm².
    """

    truth_mm: Floats
    truth_mm2: Floats
    predicted_mm: Floats
    predicted_mm2: Floats

    def nsd(self, tolerance_mm: float) -> float:
        """Surface Dice (normalised surface distance) at a tolerance.

        The area of both surfaces that is no farther than the tolerance from the other one, over the
        area of both (Nikolov et al. 2021).
        """
        area = self.truth_mm2.sum() + self.predicted_mm2.sum()
        near = self.truth_mm2[self.truth_mm <= tolerance_mm + CLOSE_MM].sum()
        near += self.predicted_mm2[self.predicted_mm <= tolerance_mm + CLOSE_MM].sum()
        return float(near / area) if area else float("nan")

    def hausdorff_mm(self, percent: float = 95) -> float:
        """Hausdorff distance at a percentile of the surface, in mm; 100 is the classical one.

        The larger of the two directed distances, each of which is the smallest distance that
        `percent` of the area of its surface does not exceed. (Some tools take one percentile over
        both surfaces together, which is smaller.)

        Raises:
            ValueError: The percentile is not within 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"`percent` must be 0 to 100, got {percent}")
        if not len(self.truth_mm) and not len(self.predicted_mm):
            return float("nan")
        return max(
            _quantile(self.truth_mm, self.truth_mm2, percent / 100),
            _quantile(self.predicted_mm, self.predicted_mm2, percent / 100),
        )

    @property
    def mean_mm(self) -> float:
        """Average symmetric surface distance, in mm.

        The mean over all elements of both surfaces together, weighted by area: the larger surface
        weighs more. (The mean of the two directed means is another figure, often called MASD.)
        """
        area = self.truth_mm2.sum() + self.predicted_mm2.sum()
        summed = self.truth_mm @ self.truth_mm2 + self.predicted_mm @ self.predicted_mm2
        return float(summed / area) if area else float("nan")


def surface_distances(
    truth: NDArray[Any], predicted: NDArray[Any], spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks.

    Only the box around both masks is looked at. There an exact distance transform of each surface
    is worked out in single precision (package `edt`: Felzenszwalb & Huttenlocher, Theory Comput
    2012;8:415-428), so that time and memory follow the size of the box, however far apart the masks
    are.

    Args:
        truth: Binary mask with three axes, in any order; all above 0 is in it.
        predicted: Another of the same shape.
        spacing_mm: Distance between voxel centres along the same axes, in mm.

    Raises:
        ValueError: The shapes differ, there are not three axes, or a spacing is not above 0.

    Example:
        A voxel, and the next one, 2.5 mm further: four of the eight corners of each are shared.

        >>> truth, predicted = np.zeros((2, 1, 1, 4), bool)
        >>> truth[0, 0, 1] = predicted[0, 0, 2] = True
        >>> distances = surface_distances(truth, predicted, (1, 1, 2.5))
        >>> distances.hausdorff_mm(), distances.nsd(1.0), distances.mean_mm
        (2.5, 0.5, 1.25)
    """
    if truth.shape != predicted.shape or truth.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(
            f"masks must have one shape of three axes, and a spacing each, got {truth.shape}, "
            f"{predicted.shape} and {len(spacing_mm)} spacings"
        )
    if min(spacing_mm) <= 0:
        raise ValueError(f"`spacing_mm` must be above 0, got {tuple(spacing_mm)}")
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    box = mask_box(truth, predicted)
    codes = [corner_codes(np.not_equal(mask[box], 0, order="C")) for mask in (truth, predicted)]
    true_surface, predicted_surface = (_surface(each) for each in codes)
    areas = areas_mm2(spacing)
    return SurfaceDistances(
        truth_mm=_distances(true_surface, predicted_surface, spacing),
        truth_mm2=areas[codes[0][true_surface]],
        predicted_mm=_distances(predicted_surface, true_surface, spacing),
        predicted_mm2=areas[codes[1][predicted_surface]],
    )


def corner_codes(mask: Mask) -> NDArray[np.uint8]:
    """Tell for each corner which of the eight voxels around it are in the mask.

    Args:
        mask: Shape ``(X, Y, Z)``.

    Returns:
        Shape ``(X + 1, Y + 1, Z + 1)``. The voxel on the lower (0) or upper (1) side along each
        axis, ``(i, j, k)``, sets bit ``i + 2 j + 4 k``.
    """
    codes: NDArray[Any] = np.pad(mask, 1).view(np.uint8)
    for axis, bits in enumerate((1, 2, 4)):
        codes = np.moveaxis(codes, axis, 0)
        codes = np.moveaxis(codes[:-1] | (codes[1:] << bits), 0, axis)
    return codes


def areas_mm2(spacing_mm: Floats) -> Floats:
    """Area of the surface element of each of the 256 codes, in mm².

    Args:
        spacing_mm: Three distances between voxel centres.

    Example:
        >>> areas = areas_mm2(np.array([1.0, 1.0, 3.0]))
        >>> areas[0b01010101].item(), areas[0b00001111].item()  # faces across x and across z
        (3.0, 1.0)
    """
    codes, sides = _triangles()
    one, other = np.moveaxis(sides * spacing_mm, 1, 0)
    doubled = np.linalg.norm(np.cross(one, other), axis=1)
    return np.bincount(codes, doubled / 2, minlength=INSIDE + 1).astype(np.float64)


@cache
def _triangles() -> tuple[NDArray[np.intp], Floats]:
    """All triangles of marching cubes on a unit grid: the code of each, and two of its sides.

    Where corners lie diagonally, the voxels that are fewer are kept apart, so that a mask and its
    complement have the same surface, as in the cases that Lorensen and Cline drew.
    """
    codes, sides = [], []
    for code in range(1, INSIDE):
        fewer = code if code.bit_count() <= 4 else INSIDE - code
        voxels = np.zeros((2, 2, 2))
        for i, j, k in product((0, 1), repeat=3):
            voxels[i, j, k] = fewer >> (i + 2 * j + 4 * k) & 1
        points, faces, _, _ = marching_cubes(voxels, 0.5, method="lorensen")
        corners = points.astype(np.float64)[faces]
        codes += [code] * len(faces)
        sides.append(corners[:, 1:] - corners[:, :1])
    return np.array(codes), np.concatenate(sides)


def _surface(codes: NDArray[np.uint8]) -> Mask:
    return (codes != 0) & (codes != INSIDE)


def _distances(surface: Mask, other: Mask, spacing_mm: Floats) -> Floats:
    """From each element of a surface, in the order of the array, to the nearest of the other."""
    if not other.any():
        return np.full(np.count_nonzero(surface), np.inf)
    # A tree of elements is as fast while surfaces are close, and takes minutes where they are not.
    return edt(~other, anisotropy=tuple(spacing_mm.tolist()))[surface].astype(np.float64)


def _quantile(distances_mm: Floats, areas: Floats, share: float) -> float:
    if not len(distances_mm):
        return float("inf")
    share *= 1 - ROUNDING
    return float(np.quantile(distances_mm, share, weights=areas, method="inverted_cdf"))
