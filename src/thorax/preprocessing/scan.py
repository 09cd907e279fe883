"""Put a scan on the canvas, as the network receives it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.common.crop import Crop
from thorax.common.machine import cores
from thorax.imaging.grid import Grid
from thorax.imaging.intensity_detection import DetectedIntensity
from thorax.imaging.patient_orientation import PatientOrientation
from thorax.imaging.placement import Placement
from thorax.io import Scan
from thorax.io.cached_scan import CachedScan, Slab
from thorax.preprocessing.canvas import place_crops, placement_around, placement_of
from thorax.preprocessing.examination import ExaminedScan


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


def crops_of(cached: CachedScan, placement: Placement) -> Iterator[Slab]:
    """Read the voxels of a scan within the crop, slab by slab."""
    for start, planes in cached.slabs():
        yield start, planes if cached.crop else planes[:, *placement.crop]


def preprocess_scan(
    examined: ExaminedScan, *, canvas: int, crop: Crop, whole: bool = True
) -> PreprocessedScan:
    """Put a scan on the canvas.

    Args:
        examined: The scan.
        canvas: Pixels per side.
        crop: Crop of the planes.
        whole: Keep whole slices for a preview. Masks and measurements need the crop only.

    Raises:
        InputError: The scan cannot be read.
    """
    cached, scale = examined.cached, examined.intensity.scale
    placement = (
        placement_around(examined.lungs, cached.grid, canvas=canvas)
        if crop == "lungs"
        else placement_of(examined.coarse_hu, scale, cached.grid, canvas=canvas, crop=crop)
    )
    if not whole:
        cached.crop_to(placement.crop)
    planes = place_crops(
        crops_of(cached, placement), scale, placement, depth=cached.grid.shape[2], threads=cores()
    )
    return PreprocessedScan(cached, examined.intensity, placement, planes, examined.orientation)
