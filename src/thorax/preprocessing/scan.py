"""Preprocess a scan: read it once, detect its intensity scale, put it on the canvas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.machine import cores
from thorax.common.params import Crop
from thorax.imaging.body import coarse_planes
from thorax.imaging.grid import Grid
from thorax.imaging.intensity import IntensityScale, whole_hu
from thorax.imaging.intensity_detection import DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.patient_orientation import PatientOrientation, find_orientation
from thorax.imaging.placement import Placement
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan
from thorax.preprocessing.canvas import place_scan, placement_of


@dataclass(frozen=True, eq=False)
class PreprocessedScan:
    """A scan on the canvas.

    Args:
        cached: The scan, cached in memory if it is small.
        intensity: Meaning of its voxel values.
        placement: Position of its planes on the canvas.
        planes: HU on the canvas, shape ``(N, H, W)``.
        orientation: Axes of the patient as anatomy shows them.
    """

    cached: CachedScan
    intensity: DetectedIntensity
    placement: Placement
    planes: NDArray[np.int16]
    orientation: PatientOrientation

    @property
    def scan(self) -> Scan:
        """The scan file."""
        return self.cached.scan

    @property
    def grid(self) -> Grid:
        """Native grid of the scan."""
        return self.cached.grid

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about reading the file and detecting its intensity scale."""
        return (*self.scan.notes, *self.intensity.notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to review the result: those of the file, and an implausible orientation."""
        orientation = self.orientation.warning
        return (*self.scan.warnings, orientation) if orientation else self.scan.warnings

    @property
    def pixel_mm(self) -> tuple[float, float, float]:
        """Size of a canvas pixel along x and y, and distance between planes."""
        x_mm, y_mm, z_mm = self.grid.spacing_mm
        x, y = self.placement.x, self.placement.y
        return x_mm * x.side / x.canvas, y_mm * y.side / y.canvas, z_mm

    @property
    def pixel_ml(self) -> float:
        """Volume of a canvas pixel; correct for sheared scans, too."""
        x, y = self.placement.x, self.placement.y
        return self.grid.voxel_ml * (x.side / x.canvas) * (y.side / y.canvas)


def preprocess_scan(
    scan: Scan, *, canvas: int, crop: Crop, intensity: IntensityScale | None = None
) -> PreprocessedScan:
    """Read a scan and put it on the canvas.

    Args:
        scan: The scan.
        canvas: Pixels per side.
        crop: Crop of the planes.
        intensity: Conversion of its voxel values to HU; detected if None.

    Raises:
        InputError: The scan cannot be read, or is not a CT that can be segmented.
    """
    cached = CachedScan(scan)
    coarse = coarse_planes(cached)
    detected = (
        detect_intensity_of_scan(coarse)
        if intensity is None
        else DetectedIntensity(intensity, str(intensity), ())
    )
    coarse_hu = whole_hu(detected.scale.to_hu(coarse))
    placement = placement_of(coarse_hu, scan.grid, canvas=canvas, crop=crop)
    planes = place_scan(cached, detected.scale, placement, threads=cores())
    return PreprocessedScan(cached, detected, placement, planes, find_orientation(coarse_hu))
