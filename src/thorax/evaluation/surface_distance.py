"""Distances between the surfaces of two masks, in mm.

The definition is that of DeepMind's surface-distance (Nikolov et al., J Med Internet Res
2021;23:e26151), because the published results of the COVID-19 lung and infection benchmark use it
(Ma et al., Med Phys 2021;48:1197-1210: surface Dice at 1 mm for lungs and 3 mm for infection). This
is a separate implementation of it. Other tools (MONAI, MetricsReloaded, medpy) use the outermost
voxels of a mask and give each the same weight, even if voxels are longer along one axis. Results of
the two definitions differ and must not be compared.

* A surface element is at each corner shared by eight voxels of which some, but not all, are inside
  the mask. Everything outside the scan is outside the mask.
* Its area, in mm², is that of the marching-cubes triangles between these eight voxel centres
  (Lorensen & Cline, Computer Graphics 1987;21:163-169). A sheet is weighted by its area, not by its
  number of voxels, on every grid.
* Its distance is the distance to the nearest element of the other surface, in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from edt import edt
from numpy.typing import NDArray

from thorax.imaging.grid import mask_box
from thorax.imaging.marching_cubes import cube_codes, edge_starts, triangle_edges

_INSIDE = 255
"""Code of a corner with all eight voxels inside the mask; 0 is the code with none inside."""

_TOLERANCE_MARGIN_MM = 1e-4
"""Added to the tolerance: affines are stored in single precision, and slices 3.0000001 mm apart
must count as 3 mm."""

_ROUNDING = 1e-9
"""Relative: a percentile between two elements must not depend on the rounding of summed areas."""

Mask = NDArray[np.bool_]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceScores:
    """Metrics of two surfaces, as `SurfaceDistances.scores` returns them.

    Args:
        nsd: Surface Dice at a tolerance.
        hd95_mm: Hausdorff distance at the 95th percentile, in mm.
        mean_distance_mm: Average symmetric surface distance, in mm.
    """

    nsd: float
    hd95_mm: float
    mean_distance_mm: float


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of each element of two surfaces to the other surface.

    If only one mask is empty, the distances of the other are infinite: `nsd` is 0, `hausdorff_mm`
    and `mean_mm` are infinite. If both masks are empty, all three are undefined (NaN).

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

        The area of both surfaces within the tolerance of the other surface, divided by the area of
        both (Nikolov et al. 2021; `compute_surface_dice_at_tolerance` in surface-distance).
        """
        area = self.truth_mm2.sum() + self.predicted_mm2.sum()
        near = self.truth_mm2[self.truth_mm <= tolerance_mm + _TOLERANCE_MARGIN_MM].sum()
        near += self.predicted_mm2[self.predicted_mm <= tolerance_mm + _TOLERANCE_MARGIN_MM].sum()
        return float(near / area) if area else float("nan")

    def hausdorff_mm(self, percent: float = 95) -> float:
        """Hausdorff distance at a percentile of the surface, in mm; 100 is the maximum.

        The larger of two directed distances (`compute_robust_hausdorff` in surface-distance). A
        directed distance is the smallest distance that `percent` of the surface's area does not
        exceed. Some tools use one percentile over both surfaces together, which is smaller.

        Raises:
            ValueError: `percent` is not 0 to 100.
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

        The mean over all elements of both surfaces together, weighted by area, so that the larger
        surface has more weight. The mean of the two directed means is another metric, MASD.
        """
        area = self.truth_mm2.sum() + self.predicted_mm2.sum()
        summed = self.truth_mm @ self.truth_mm2 + self.predicted_mm @ self.predicted_mm2
        return float(summed / area) if area else float("nan")

    def scores(self, tolerance_mm: float) -> SurfaceScores:
        """Compute the three metrics; they need no distances of single elements any more."""
        return SurfaceScores(self.nsd(tolerance_mm), self.hausdorff_mm(), self.mean_mm)


def surface_distances(
    truth: NDArray[Any], predicted: NDArray[Any], spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks.

    The exact distance transform of each surface is computed in single precision (package `edt`:
    Felzenszwalb & Huttenlocher, Theory Comput 2012;8:415-428), inside the box around both masks.
    Time and memory depend on the size of this box alone.

    Args:
        truth: Binary mask with three axes, in any order; values above 0 are inside.
        predicted: Binary mask of the same shape.
        spacing_mm: Distance between voxel centres along the same axes, in mm.

    Raises:
        ValueError: The shapes differ, there are not three axes, or a spacing is not above 0.

    Example:
        Two neighbouring voxels, 2.5 mm apart: they share four of their eight corners.

        >>> truth, predicted = np.zeros((2, 1, 1, 4), bool)
        >>> truth[0, 0, 1] = predicted[0, 0, 2] = True
        >>> distances = surface_distances(truth, predicted, (1, 1, 2.5))
        >>> distances.hausdorff_mm(), distances.nsd(1.0), distances.mean_mm
        (2.5, 0.5, 1.25)
    """
    if truth.shape != predicted.shape or truth.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(
            f"masks must have the same three axes, and a spacing for each, got {truth.shape}, "
            f"{predicted.shape} and {len(spacing_mm)} spacings"
        )
    if min(spacing_mm) <= 0:
        raise ValueError(f"`spacing_mm` must be above 0, got {tuple(spacing_mm)}")
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    box = mask_box(truth, predicted)
    codes = [corner_codes(np.not_equal(mask[box], 0, order="C")) for mask in (truth, predicted)]
    true_surface, predicted_surface = map(_surface, codes)
    areas = areas_mm2(spacing)
    return SurfaceDistances(
        truth_mm=_distances(true_surface, predicted_surface, spacing),
        truth_mm2=areas[codes[0][true_surface]],
        predicted_mm=_distances(predicted_surface, true_surface, spacing),
        predicted_mm2=areas[codes[1][predicted_surface]],
    )


def corner_codes(mask: Mask) -> NDArray[np.uint8]:
    """Encode, for each corner, the voxels around it that are inside the mask.

    Args:
        mask: Shape ``(X, Y, Z)``.

    Returns:
        Shape ``(X + 1, Y + 1, Z + 1)``. A voxel ``(i, j, k)``, on the lower (0) or upper (1) side
        along each axis, sets bit ``i + 2 j + 4 k``.
    """
    return cube_codes(np.pad(mask, 1))


def areas_mm2(spacing_mm: Floats) -> Floats:
    """Compute the area of the surface element of each of the 256 codes, in mm².

    Args:
        spacing_mm: Three distances between voxel centres.

    Example:
        >>> areas = areas_mm2(np.array([1.0, 1.0, 3.0]))
        >>> areas[0b01010101].item(), areas[0b00001111].item()  # faces across x and across z
        (3.0, 1.0)
    """
    codes, sides = _triangles()
    first_side, second_side = np.moveaxis(sides * spacing_mm, 1, 0)
    parallelograms = np.linalg.norm(np.cross(first_side, second_side), axis=1)
    return np.bincount(codes, parallelograms / 2, minlength=_INSIDE + 1).astype(np.float64)


@cache
def _triangles() -> tuple[NDArray[np.intp], Floats]:
    """Return the code and two sides of all marching-cubes triangles on a unit grid.

    Diagonal corners are separated on the side with fewer voxels, as in the figures of Lorensen and
    Cline, so that a mask and its complement have the same surface.
    """
    codes, sides = [], []
    for code in range(1, _INSIDE):
        fewer = code if code.bit_count() <= 4 else _INSIDE - code
        edges = triangle_edges()[fewer]
        edges = edges[edges[:, 0] >= 0]
        corners = edge_starts(edges) + np.eye(3)[edges // 4] / 2
        codes += [code] * len(edges)
        sides.append(corners[:, 1:] - corners[:, :1])
    return np.array(codes), np.concatenate(sides)


def _surface(codes: NDArray[np.uint8]) -> Mask:
    return (codes != 0) & (codes != _INSIDE)


def _distances(surface: Mask, other: Mask, spacing_mm: Floats) -> Floats:
    """Distance of each surface element, in array order, to the nearest element of the other."""
    if not other.any():
        return np.full(np.count_nonzero(surface), np.inf)
    # A search tree of elements takes minutes if the surfaces are far apart.
    return edt(~other, anisotropy=tuple(spacing_mm.tolist()))[surface].astype(np.float64)


def _quantile(distances_mm: Floats, areas: Floats, share: float) -> float:
    if not len(distances_mm):
        return float("inf")
    share *= 1 - _ROUNDING
    return float(np.quantile(distances_mm, share, weights=areas, method="inverted_cdf"))
