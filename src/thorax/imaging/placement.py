"""Placement of axial planes on the canvas, and the way back. See `thorax.imaging.grid` for axes.

A `Placement` holds a transform and its inverse, so that both use the same offsets. Both directions
are linear: one small matrix per axis, applied from the left and from the right of every plane.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.imaging.grid import Box

Floats = NDArray[np.float32]

FULL_COVERAGE = 255
"""Value of a canvas pixel that a region covers completely."""


@dataclass(frozen=True)
class AxisPlacement:
    """Placement of one in-plane axis of a scan on the canvas.

    The crop ``start:stop`` is centred in a window of ``side`` voxels, and that window is scaled to
    the ``canvas``. The scan is padded where the window is wider than the crop.

    Args:
        size: Voxels along this axis of the scan.
        start: First voxel of the crop.
        stop: One past its last voxel.
        side: Width of the window in voxels; a fraction where voxels are not square.
        canvas: Pixels along this axis of the canvas.
    """

    size: int
    start: int
    stop: int
    side: float
    canvas: int

    @cached_property
    def _edges(self) -> Floats:
        """Edges of the canvas pixels, in voxels from the edge of voxel 0; shape ``(canvas+1,)``."""
        pixels = np.arange(self.canvas + 1, dtype=np.float64)
        return self.start - self._pad + pixels * (self.side / self.canvas)

    @property
    def _pad(self) -> Any:
        """Voxels of padding before the crop."""
        return np.floor((self.side - (self.stop - self.start)) / 2)

    @cached_property
    def placing(self) -> Floats:
        """Weights of the voxels of the crop, shape ``(canvas, stop - start)``: area interpolation.

        Rows sum to less than 1 over padding.
        """
        low = np.maximum(self._edges[:-1, None], np.arange(self.start, self.stop))
        high = np.minimum(self._edges[1:, None], np.arange(self.start, self.stop) + 1.0)
        return (np.maximum(high - low, 0.0) / (self.side / self.canvas)).astype(np.float32)

    @cached_property
    def restoring(self) -> Floats:
        """Weights from the canvas to the voxels of the crop, shape ``(stop - start, canvas)``.

        Cubic interpolation where the canvas is coarser than the scan, area averages where it is
        finer.
        """
        voxels = np.arange(self.start, self.stop, dtype=np.float64)
        scale = self.canvas / self.side
        low_edges = (voxels - self._edges[0]) * scale
        kernel = _cubic if scale <= 1.0 else _area
        return kernel(low_edges, scale, self.canvas).astype(np.float32)

    def reached_by(self, pixels: NDArray[np.bool_]) -> slice:
        """Return the voxels of the crop that any of these canvas pixels contributes to."""
        return _span((self.restoring[:, pixels] != 0.0).any(axis=1))

    @cached_property
    def pixels(self) -> NDArray[np.intp]:
        """Canvas pixel that contains the centre of each voxel of the crop."""
        centres = np.arange(self.stop - self.start) + 0.5 + self._pad
        pixels = np.floor(centres * self.canvas / self.side).astype(np.intp)
        return np.clip(pixels, 0, self.canvas - 1)


@dataclass(frozen=True)
class Placement:
    """Placement of the axial planes of a scan on the square canvas, and its inverse.

    Args:
        x: The axis towards the patient's right; H of the canvas.
        y: The axis towards the front; W of the canvas.

    Example:
        >>> planes = np.arange(6).reshape(1, 2, 3)
        >>> placement = place_whole((2, 3), canvas=3)
        >>> placement.place(planes, fill=9)[0].tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [9.0, 9.0, 9.0]]
        >>> placement.restore(placement.place(planes, fill=9))[0].tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """

    x: AxisPlacement
    y: AxisPlacement

    @property
    def crop(self) -> tuple[slice, slice]:
        """Voxels of the crop along x and y."""
        return slice(self.x.start, self.x.stop), slice(self.y.start, self.y.stop)

    @property
    def voxels(self) -> tuple[slice, slice]:
        """All voxels of the crop, counted from its first one."""
        return slice(0, self.x.stop - self.x.start), slice(0, self.y.stop - self.y.start)

    def voxels_near(self, pixels: NDArray[np.bool_]) -> tuple[slice, slice]:
        """Return the voxels of the crop that pixels of a canvas ``(H, W)`` contribute to."""
        rows, columns = np.any(pixels, axis=1), np.any(pixels, axis=0)
        return self.x.reached_by(rows), self.y.reached_by(columns)

    def place(self, planes: NDArray[Any], *, fill: float) -> Floats:
        """Put planes on the canvas by area interpolation.

        Args:
            planes: Canonical axial planes, shape ``(N, X, Y)``.
            fill: Value of the padding, for instance -1024 (air).

        Returns:
            Shape ``(N, canvas, canvas)``.
        """
        return self.place_crop(planes[:, *self.crop], fill=fill)

    def place_crop(self, crops: NDArray[Any], *, fill: float) -> Floats:
        """Put crops ``(N, x, y)`` on the canvas; see `place`."""
        raised = crops.astype(np.float32)
        raised -= np.float32(fill)
        placed: Floats = np.matmul(self.x.placing @ raised, self.y.placing.T)
        placed += np.float32(fill)
        return placed

    def place_mask(self, planes: NDArray[Any]) -> NDArray[np.uint8]:
        """Put binary planes on the canvas as the area fraction that they cover, 0..255."""
        return np.rint(self.place(planes, fill=0.0) * FULL_COVERAGE).astype(np.uint8)

    def restore(self, canvases: NDArray[Any]) -> Floats:
        """Restore canvases to whole planes: shape ``(N, X, Y)``, 0 outside the crop.

        Cubic interpolation may overshoot the range of the values a little.
        """
        return self.uncrop(self.restore_crop(canvases))

    def restore_crop(self, canvases: NDArray[Any]) -> Floats:
        """Restore canvases ``(N, H, W)`` to the crop alone: shape ``(N, x, y)``.

        A chest fills a third of its planes, so this saves time and memory where `uncrop` can wait.
        """
        return self.restore_part(canvases, self.voxels)

    def restore_part(self, canvases: NDArray[Any], voxels: tuple[slice, slice]) -> Floats:
        """Restore canvases ``(N, H, W)`` to some voxels of the crop, along x and y."""
        x, y = self.x.restoring[voxels[0]], self.y.restoring[voxels[1]]
        rows, columns = _span(np.any(x, axis=0)), _span(np.any(y, axis=0))
        maps = canvases[:, rows, columns].astype(np.float32, copy=False)
        return np.matmul(x[:, rows], np.matmul(maps, y[:, columns].T))

    def restore_labels(self, canvases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore label maps ``(N, H, W)`` by nearest neighbour: ``(N, X, Y)``, 0 outside the crop.

        Each voxel of the crop gets the label of the pixel that contains its centre.
        """
        return self.uncrop(self.restore_label_part(canvases, self.voxels))

    def restore_label_part(
        self, canvases: NDArray[np.uint8], voxels: tuple[slice, slice]
    ) -> NDArray[np.uint8]:
        """Restore label maps ``(N, H, W)`` to some voxels of the crop, along x and y."""
        return canvases.take(self.x.pixels[voxels[0]], axis=1).take(
            self.y.pixels[voxels[1]], axis=2
        )

    def uncrop(self, crops: NDArray[Any]) -> NDArray[Any]:
        """Put crops ``(…, x, y)`` into whole planes of zeros ``(…, X, Y)``."""
        planes = np.zeros((*crops.shape[:-2], self.x.size, self.y.size), dtype=crops.dtype)
        planes[..., *self.crop] = crops
        return planes


def place_box(
    plane_shape: tuple[int, int],
    box: Box,
    *,
    canvas: int,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> Placement:
    """Place the smallest square, in mm, that contains a box of the plane.

    Args:
        plane_shape: ``(X, Y)`` of the scan.
        box: The part of the plane to show on the canvas.
        canvas: Pixels per side.
        spacing_mm: In-plane voxel spacing along x and y.

    Raises:
        ValueError: The box is empty or leaves the plane, or the canvas has no pixel.
    """
    if canvas < 1:
        raise ValueError(f"`canvas` must be at least 1, got {canvas}")
    for size, (start, stop) in zip(plane_shape, box, strict=True):
        if not 0 <= start < stop <= size:
            raise ValueError(f"`box` must be within {plane_shape} and not empty, got {box}")
    side_mm = max(
        (stop - start) * step for (start, stop), step in zip(box, spacing_mm, strict=True)
    )
    x, y = (
        AxisPlacement(size, start, stop, _snap_to_integer(side_mm / step), canvas)
        for size, (start, stop), step in zip(plane_shape, box, spacing_mm, strict=True)
    )
    return Placement(x, y)


def place_whole(
    plane_shape: tuple[int, int],
    *,
    canvas: int,
    spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> Placement:
    """Place the whole plane: pad it to a square, then scale."""
    whole = ((0, plane_shape[0]), (0, plane_shape[1]))
    return place_box(plane_shape, whole, canvas=canvas, spacing_mm=spacing_mm)


def _span(chosen: NDArray[np.bool_]) -> slice:
    """Return the positions from the first to the last chosen one."""
    positions = np.flatnonzero(chosen)
    return slice(int(positions[0]), int(positions[-1]) + 1) if positions.size else slice(0, 0)


def _snap_to_integer(side: float) -> float:
    """Remove the rounding error of a division in mm from a whole number of voxels."""
    return float(round(side)) if abs(side - round(side)) < 1e-4 * side else side


def _cubic(low_edges: NDArray[np.float64], scale: float, canvas: int) -> NDArray[np.float64]:
    """Cubic convolution (Keys 1981) at voxel centres; the end pixel is repeated.

    The slope parameter -3/4 is slightly sharper than Keys' -1/2. It compensates for the blur of
    area interpolation: on real lungs the round-trip Dice rises from 0.994 to 0.996.
    """
    centres = low_edges + scale / 2 - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((len(centres), canvas))
    rows = np.arange(len(centres))
    for tap in range(4):
        distance = np.abs(centres - (first + tap))
        near = (1.25 * distance - 2.25) * distance**2 + 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        pixel = np.clip(first + tap, 0, canvas - 1)
        np.add.at(weights, (rows, pixel), np.where(distance <= 1, near, far))
    return weights


def _area(low_edges: NDArray[np.float64], scale: float, canvas: int) -> NDArray[np.float64]:
    """Average of the canvas pixels that a voxel covers."""
    pixels = np.arange(canvas, dtype=np.float64)
    low = np.maximum(low_edges[:, None], pixels)
    high = np.minimum(low_edges[:, None] + scale, pixels + 1)
    return np.maximum(high - low, 0.0) / scale
