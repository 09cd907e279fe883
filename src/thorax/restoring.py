"""Taking maps off the canvas where they can be anything but 0: inside the crop."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.geometry import AxisPlacement, Placement


class Restorer:
    """Restores maps as `thorax.geometry.Placement.restore` does, but only inside the crop.

    A chest fills a third of its planes; what lies around it is 0 anyway.

    Args:
        placement: How the planes lie on the canvas.
    """

    def __init__(self, placement: Placement) -> None:
        self._x, self._y = placement.x, placement.y
        self.box = slice(self._x.start, self._x.stop), slice(self._y.start, self._y.stop)
        self._rows: Any = np.ascontiguousarray(self._x.restoring[self.box[0]])
        self._columns = np.ascontiguousarray(self._y.restoring[self.box[1]].T)

    def restore(self, canvases: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate maps ``(n, H, W)`` to the voxels of the crop, ``(n, x, y)``."""
        return np.matmul(np.matmul(self._rows, canvases), self._columns)

    def nearest(self, canvases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Give each voxel of the crop the label of the pixel that it lies in: ``(n, x, y)``."""
        rows, columns = self._pixels
        return canvases[:, rows[:, None], columns]

    def whole(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Put crops ``(…, x, y)`` into whole planes of zeros."""
        planes = np.zeros((*boxes.shape[:-2], self._x.size, self._y.size), dtype=boxes.dtype)
        planes[..., self.box[0], self.box[1]] = boxes
        return planes

    @cached_property
    def _pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return _pixels(self._x), _pixels(self._y)


def _pixels(axis: AxisPlacement) -> NDArray[np.intp]:
    """The pixel in which each voxel of the crop has its centre, as `AxisPlacement` puts them."""
    pad = np.floor((axis.side - (axis.stop - axis.start)) / 2)
    centres = np.arange(axis.stop - axis.start) + 0.5 + pad
    found = np.floor(centres * axis.canvas / axis.side).astype(np.intp)
    return np.clip(found, 0, axis.canvas - 1)
