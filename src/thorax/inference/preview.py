"""Collect the content of the preview picture while the slabs of a scan are written."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thorax.imaging.intensity import LOWEST_HU, whole_hu
from thorax.inference.segmenter import Prediction
from thorax.inference.statistics import ScanStatistics
from thorax.visualization.mesh import Mesh, surface
from thorax.visualization.preview import (
    PreviewData,
    SliceView,
    busiest_pixel,
    draw_preview,
    scan_voxel,
)

if TYPE_CHECKING:
    from thorax.inference.outputs import RestoredSlab


class PreviewCollector:
    """Collects an axial, a coronal and a sagittal slice of a scan and its masks, and surfaces.

    The surfaces are computed in a thread of their own while the slabs are written.

    Args:
        prediction: The segmentation; it determines the positions of the slices.
    """

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        self._masks_on_canvas = np.moveaxis(prediction.probabilities >= prediction.threshold, -1, 0)
        self._voxel = scan_voxel(prediction.placement, busiest_pixel(self._masks_on_canvas))
        x, y, z = prediction.grid.shape
        shapes = (x, y), (x, z), (y, z)
        regions = len(self._masks_on_canvas)
        self._hu = [np.full(shape, LOWEST_HU, dtype=np.int16) for shape in shapes]
        self._masks = [np.zeros((regions, *shape), dtype=bool) for shape in shapes]
        pool = ThreadPoolExecutor(1)
        self._surfaces = pool.submit(self._compute_surfaces)
        pool.shutdown(wait=False)

    def add(self, slab: "RestoredSlab") -> None:
        """Add a slab."""
        x, y, z = self._voxel
        start, stop = slab.start, slab.start + len(slab.planes)
        scale = self._prediction.preprocessed.intensity.scale
        if start <= z < stop:
            self._hu[0][:] = whole_hu(scale.to_hu(slab.planes[z - start]))
            self._masks[0][:, *slab.box] = slab.masks[:, z - start]
        columns, rows = slab.box
        self._hu[1][:, start:stop] = whole_hu(scale.to_hu(slab.planes[:, :, y])).T
        self._hu[2][:, start:stop] = whole_hu(scale.to_hu(slab.planes[:, x])).T
        if rows.start <= y < rows.stop:
            part = slab.masks[..., y - rows.start].transpose(0, 2, 1)
            self._masks[1][:, columns, start:stop] = part
        if columns.start <= x < columns.stop:
            part = slab.masks[:, :, x - columns.start].transpose(0, 2, 1)
            self._masks[2][:, rows, start:stop] = part

    def draw(self, path: Path, statistics: ScanStatistics) -> None:
        """Write the preview as PNG to a file of any name, not atomically."""
        from thorax.visualization.drawing import write_png

        write_png(draw_preview(self._data(statistics)), path)

    def _compute_surfaces(self) -> tuple[Mesh, ...]:
        spacing_mm = self._prediction.preprocessed.pixel_mm
        return tuple(surface(mask, spacing_mm=spacing_mm) for mask in self._masks_on_canvas)

    def _data(self, statistics: ScanStatistics) -> PreviewData:
        prediction = self._prediction
        axial, coronal, sagittal = map(SliceView, self._hu, self._masks)
        x_mm, y_mm, z_mm, _ = (prediction.grid.affine @ [*self._voxel, 1.0]).tolist()
        return PreviewData(
            slices=(axial, coronal, sagittal),
            at=self._voxel,
            at_mm=(x_mm, y_mm, z_mm),
            spacing_mm=prediction.grid.spacing_mm,
            regions=prediction.regions.names,
            canvases=self._masks_on_canvas,
            surfaces=self._surfaces.result(),
            volumes_ml=statistics.volumes_ml,
            sides_ml={
                name: (region.sides["right"].volume_ml, region.sides["left"].volume_ml)
                for name, region in statistics.regions.items()
                if region.sides
            },
            title=prediction.scan.path.name,
            warnings=(
                *statistics.quality_warnings,
                *statistics.notes,
                *prediction.preprocessed.notes,
            ),
        )
