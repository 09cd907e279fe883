"""Examine a scan: detect its intensity scale, locate the lungs, check its orientation.

None of this depends on a model, so that it may run while one is loaded.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from thorax.common.machine import return_freed_memory
from thorax.imaging.body import coarse_planes, lung_box
from thorax.imaging.grid import Box
from thorax.imaging.intensity import HU, IntensityScale, whole_hu
from thorax.imaging.intensity_detection import DetectedIntensity, detect_intensity_of_scan
from thorax.imaging.patient_orientation import PatientOrientation, find_orientation
from thorax.io.cached_scan import CachedScan


@dataclass(frozen=True, eq=False)
class ExaminedScan:
    """A scan of which the coarse planes were examined.

    Args:
        cached: The scan, cached in memory if it is small.
        coarse_hu: Its coarse planes, see `thorax.imaging.body.coarse_planes`.
        intensity: Meaning of its voxel values.
        lungs: Box around the lungs.
        orientation: Axes of the patient as anatomy shows them.
    """

    cached: CachedScan
    coarse_hu: NDArray[np.int16]
    intensity: DetectedIntensity
    lungs: Box
    orientation: PatientOrientation


def examine_scan(cached: CachedScan, intensity: IntensityScale | None = None) -> ExaminedScan:
    """Read a scan and examine its coarse planes.

    Args:
        cached: The scan.
        intensity: Conversion of its voxel values to HU; detected if None.

    Raises:
        InputError: The scan cannot be read, or is not a CT that can be segmented.
    """
    coarse = coarse_planes(cached)
    find_lungs = partial(lung_box, plane_shape=cached.grid.shape[:2])
    with ThreadPoolExecutor(1) as pool:
        # Most scans are in HU, so the lungs are located while the intensity scale is detected.
        expected = intensity or HU
        coarse_hu = whole_hu(expected.to_hu(coarse))
        lungs = pool.submit(find_lungs, coarse_hu, calibrated=expected.calibrated)
        detected = (
            detect_intensity_of_scan(coarse)
            if intensity is None
            else DetectedIntensity(intensity, str(intensity), ())
        )
        if detected.scale != expected:
            coarse_hu = whole_hu(detected.scale.to_hu(coarse))
            lungs = pool.submit(find_lungs, coarse_hu, calibrated=detected.scale.calibrated)
        orientation = find_orientation(coarse_hu)
        examined = ExaminedScan(cached, coarse_hu, detected, lungs.result(), orientation)
    return_freed_memory()
    return examined
