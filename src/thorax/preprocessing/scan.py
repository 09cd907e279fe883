"""A scan made ready for a network: read once, its intensities recognised, on the canvas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.params import Crop
from thorax.imaging.body import coarse_planes
from thorax.imaging.intensity import IntensityScale, whole_hu
from thorax.imaging.intensity_detection import DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.placement import Placement
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan
from thorax.preprocessing.canvas import place_scan, placement_of


@dataclass(frozen=True, eq=False)
class PreprocessedScan:
    """A scan on the canvas, and how it came there.

    Args:
        held: The scan itself.
        recognised: What its voxel values mean.
        placement: How its planes lie on the canvas.
        planes: HU on the canvas, shape ``(N, H, W)``.
    """

    held: CachedScan
    recognised: DetectedIntensity
    placement: Placement
    planes: NDArray[np.int16]

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the scan."""
        return (*self.held.scan.notes, *self.recognised.notes)

    @property
    def pixel_mm(self) -> tuple[float, float, float]:
        """Size of a canvas pixel: along x, along y, and from plane to plane."""
        x_mm, y_mm, z_mm = self.held.grid.spacing_mm
        x, y = self.placement.x, self.placement.y
        return x_mm * x.side / x.canvas, y_mm * y.side / y.canvas, z_mm

    @property
    def pixel_ml(self) -> float:
        """Volume of a canvas pixel, also where the planes of a scan are sheared."""
        x, y = self.placement.x, self.placement.y
        return self.held.grid.voxel_ml * (x.side / x.canvas) * (y.side / y.canvas)


def preprocess_scan(
    scan: Scan, *, canvas: int, crop: Crop, domain: IntensityScale | None = None
) -> PreprocessedScan:
    """Read a scan and put it on the canvas.

    Args:
        scan: The scan.
        canvas: Pixels a side.
        crop: How planes are cropped.
        domain: What the voxel values mean; None: find out.

    Raises:
        InputError: The scan cannot be read, or is none that can be segmented.
    """
    held = CachedScan(scan)
    coarse = coarse_planes(held)
    known = (
        detect_intensity_of_scan(coarse)
        if domain is None
        else DetectedIntensity(domain, str(domain), ())
    )
    placement = placement_of(
        whole_hu(known.domain.to_hu(coarse)), scan.grid, canvas=canvas, crop=crop
    )
    return PreprocessedScan(held, known, placement, place_scan(held, known.domain, placement))
