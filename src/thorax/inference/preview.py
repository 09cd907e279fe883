"""What a preview needs of a scan, gathered while its slabs pass by."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.intensity import LOWEST_HU
from thorax.inference.measurements import volumes_ml
from thorax.inference.segmenter import Prediction
from thorax.visualization.preview import PreviewData, SliceView, busiest_pixel, preview, scan_voxel


class PreviewCollector:
    """Three cuts through a scan and its masks.

    Args:
        found: What was found; tells where to cut.
    """

    def __init__(self, found: Prediction) -> None:
        self._found = found
        self._canvases = np.moveaxis(found.probabilities >= found.threshold, -1, 0)
        self._at = scan_voxel(found.placement, busiest_pixel(self._canvases))
        x, y, z = found.opened.held.grid.shape
        planes = (x, y), (x, z), (y, z)
        regions = len(self._canvases)
        self._hu = [np.full(plane, LOWEST_HU, dtype=np.int16) for plane in planes]
        self._masks = [np.zeros((regions, *plane), dtype=bool) for plane in planes]

    def add(self, start: int, hu: NDArray[np.int16], masks: NDArray[np.bool_]) -> None:
        """Take what the cuts show of some planes.

        Args:
            start: Index of the lowest plane.
            hu: Shape ``(n, X, Y)``.
            masks: Shape ``(R, n, X, Y)``.
        """
        x, y, z = self._at
        stop = start + len(hu)
        if start <= z < stop:
            self._hu[0][:] = hu[z - start]
            self._masks[0][:] = masks[:, z - start]
        self._hu[1][:, start:stop] = hu[:, :, y].T
        self._masks[1][:, :, start:stop] = masks[..., y].transpose(0, 2, 1)
        self._hu[2][:, start:stop] = hu[:, x].T
        self._masks[2][:, :, start:stop] = masks[:, :, x].transpose(0, 2, 1)

    def draw(self, path: Path, statistics: dict[str, Any]) -> None:
        """Draw the preview into a PNG, whole or not at all.

        Args:
            path: Where it goes.
            statistics: As `thorax.inference.measurements.RegionMeasurements` gives them.
        """
        from thorax.visualization.drawing import save_png

        opened = self._found.opened
        grid = opened.held.grid
        figures = statistics["regions"]
        axial, coronal, sagittal = map(SliceView, self._hu, self._masks)
        at_mm = grid.affine @ [*self._at, 1.0]
        shown = PreviewData(
            cuts=(axial, coronal, sagittal),
            at=self._at,
            at_mm=(float(at_mm[0]), float(at_mm[1]), float(at_mm[2])),
            spacing_mm=grid.spacing_mm,
            regions=self._found.regions.names,
            canvases=self._canvases,
            canvas_spacing_mm=opened.pixel_mm,
            volumes_ml=volumes_ml(statistics),
            sides_ml={
                name: (figures[name]["right"]["volume_ml"], figures[name]["left"]["volume_ml"])
                for name in figures
                if "right" in figures[name]
            },
            title=opened.held.scan.path.name,
            warnings=(*self._found.warnings(statistics), *opened.notes),
        )
        save_png(preview(shown), path)
