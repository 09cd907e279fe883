"""Fill contours, and trace the contours of a mask, on one slice.

Coordinates are ``(column, row)``; pixel centres have integer coordinates.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Polygon = NDArray[np.float64]
"""Vertices, shape ``(V, 2)``; the last one is connected to the first."""

INSET = 0.02
"""Distance of traced contours from the edges of the border pixels, inward, in pixels.

Rounded to whole pixels, as some readers do, the contours go through the centres of the border
pixels.
"""

_BRIDGE = 0.25
"""Position of a keyhole within the pixel next to a hole; no vertex has it."""

_ON_CONTOUR = 1e-3
"""Largest distance of a pixel centre on a contour, in pixels; coordinates in files are rounded."""

_Loop = list[tuple[float, float]]

_Corner = tuple[int, int]

_Edges = dict[_Corner, set[tuple[int, int]]]
"""Directions of the boundary edges that begin at each corner of a pixel."""

_Step = tuple[_Corner, tuple[int, int]]


def fill(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill contours by the even-odd rule; a contour inside another one is a hole.

    A pixel belongs to the region if its centre is inside an odd number of contours, or on one.
    So keyhole contours, which walk into a hole and back, are right, too. Contours of the border
    pixels' centres, as OpenCV traces them, give back their mask.

    Args:
        polygons: All contours of the slice.
        shape: Columns and rows.

    Example:
        >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.5], [0.5, 1.5]])
        >>> fill([square], (4, 3)).T.astype(int).tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    columns, rows = shape
    crossings = np.zeros((columns + 1, rows), dtype=np.int64)
    mask = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        start, stop = polygon, np.roll(polygon, -1, axis=0)
        column, row = _crossings(start, stop, rows)
        np.add.at(crossings, (np.clip(np.ceil(column), 0, columns).astype(int), row), 1)
        _mark_contour(mask, start, stop)
    return mask | (np.cumsum(crossings[:-1], axis=0) % 2 == 1)


def overlapping(polygons: Sequence[Polygon], shape: tuple[int, int]) -> int:
    """Count the pairs of contours that overlap without one containing the other.

    `fill` leaves out what they have in common, as if it were a hole.

    Args:
        polygons: All contours of the slice.
        shape: Columns and rows.

    Example:
        >>> square = np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 4.5], [0.5, 4.5]])
        >>> overlapping([square, square + 2, square / 2 + 0.4], (9, 9))
        1
    """
    if len(polygons) < 2:
        return 0
    low = np.array([np.ceil(polygon.min(axis=0)) for polygon in polygons])
    stop = np.array([np.floor(polygon.max(axis=0)) + 1 for polygon in polygons])
    low, stop = np.clip(low, 0, shape).astype(int), np.clip(stop, 0, shape).astype(int)
    touching = ((low[:, None] < stop) & (low < stop[:, None])).all(axis=2)
    count = 0
    for one, other in np.argwhere(np.triu(touching, 1)).tolist():
        first, last = np.maximum(low[one], low[other]), np.minimum(stop[one], stop[other])
        size = (int(last[0] - first[0]), int(last[1] - first[1]))
        pair = polygons[one] - first, polygons[other] - first
        in_one, in_other = (fill([polygon], size) for polygon in pair)
        if (in_one & in_other & ~fill(pair, size)).any():
            one_leaves = (in_one & ~in_other).any() or not _is_in(one, other, low, stop)
            other_leaves = (in_other & ~in_one).any() or not _is_in(other, one, low, stop)
            count += bool(one_leaves and other_leaves)
    return count


def _is_in(inner: int, outer: int, low: NDArray[np.int64], stop: NDArray[np.int64]) -> bool:
    """Return True if the box of a contour is in that of another."""
    return bool((low[inner] >= low[outer]).all() and (stop[inner] <= stop[outer]).all())


def _crossings(
    start: Polygon, stop: Polygon, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Columns where edges cross the centre lines of rows, and these rows."""
    low, high = np.minimum(start, stop)[:, 1], np.maximum(start, stop)[:, 1]
    first = np.clip(np.ceil(low), 0, rows).astype(int)
    last = np.clip(np.ceil(high), 0, rows).astype(int)
    edge, row = _ranges(first, last)
    (x0, y0), (x1, y1) = start[edge].T, stop[edge].T
    return x0 + (row - y0) * (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0), row


def _mark_contour(mask: NDArray[np.bool_], start: Polygon, stop: Polygon) -> None:
    """Set the pixels whose centre is on an edge."""
    steep = np.abs(stop - start)[:, 1] >= np.abs(stop - start)[:, 0]
    for major, edges in ((1, steep), (0, ~steep)):
        a, b = start[edges], stop[edges]
        low, high = np.minimum(a, b)[:, major], np.maximum(a, b)[:, major]
        size = mask.shape[major]
        first = np.clip(np.ceil(low - _ON_CONTOUR), 0, size).astype(int)
        last = np.clip(np.floor(high + _ON_CONTOUR) + 1, 0, size).astype(int)
        edge, at = _ranges(first, last)
        length = (b - a)[edge, major]
        share = np.clip((at - a[edge, major]) / np.where(length == 0, 1.0, length), 0, 1)
        minor = a[edge, 1 - major] + share * (b - a)[edge, 1 - major]
        nearest = np.rint(minor).astype(int)
        on = (np.abs(minor - nearest) <= _ON_CONTOUR) & (nearest >= 0)
        on &= nearest < mask.shape[1 - major]
        pixels = (nearest[on], at[on]) if major == 1 else (at[on], nearest[on])
        mask[pixels] = True


def _ranges(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the ranges ``first..last-1``, and their values, one after the other."""
    counts = np.maximum(last - first, 0)
    index = np.repeat(np.arange(len(first)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return index, first[index] + offsets


def trace(mask: NDArray[np.bool_]) -> Iterator[Polygon]:
    """Trace the contours of a mask along its pixel edges; holes become keyholes.

    Pixels that touch only at a corner are in separate contours. `fill` gives back the same mask.

    Args:
        mask: Shape ``(columns, rows)``.

    Example:
        >>> (polygon,) = trace(np.array([[False, False], [True, True]]))
        >>> polygon.tolist()
        [[0.52, -0.48], [1.48, -0.48], [1.48, 1.48], [0.52, 1.48]]
    """
    components, _ = ndimage.label(mask)
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        loops = _loops(components[box] == number)
        # The vertices of an outer contour run clockwise, those of a hole counterclockwise.
        (outer,) = (loop for loop in loops if _area(loop) > 0)
        holes = [loop for loop in loops if _area(loop) < 0]
        for hole in sorted(holes, key=lambda hole: min(y for _, y in hole)):
            outer = _join(outer, hole)
        first_pixel = np.array([box[0].start, box[1].start])
        yield np.round(np.array(outer) - 0.5, 6) + first_pixel


def _loops(mask: NDArray[np.bool_]) -> list[_Loop]:
    """Boundaries of a region, with the region on the right; pixel ``(x, y)`` begins there."""
    edges = _boundary_edges(mask)
    loops = []
    while edges:
        loops.append(_inset(list(_walk(edges))))
    return loops


def _boundary_edges(mask: NDArray[np.bool_]) -> _Edges:
    """Directions of the boundary edges that begin at each corner of a pixel."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: _Edges = {}
    sides = (
        (padded[1:-1, :-2], (0, 0), (1, 0)),
        (padded[2:, 1:-1], (1, 0), (0, 1)),
        (padded[1:-1, 2:], (1, 1), (-1, 0)),
        (padded[:-2, 1:-1], (0, 1), (0, -1)),
    )
    for neighbour, (dx, dy), direction in sides:
        for x, y in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((x + dx, y + dy), set()).add(direction)
    return edges


def _walk(edges: _Edges) -> Iterator[_Step]:
    """Remove one loop of edges; yield each corner and the direction of the edge after it."""
    start = corner = next(iter(edges))
    direction = min(edges[start])
    while True:
        edges[corner].remove(direction)
        if not edges[corner]:
            del edges[corner]
        yield corner, direction
        corner = (corner[0] + direction[0], corner[1] + direction[1])
        directions = edges.get(corner, set())
        # A right turn separates pixels that touch at this corner.
        right = (-direction[1], direction[0])
        if right in directions:
            direction = right
        elif corner == start:
            return
        else:
            direction = min(directions)


def _inset(steps: list[_Step]) -> _Loop:
    """Keep the corners where the direction changes, moved into the region."""
    loop = []
    for (_, before), ((x, y), after) in zip([steps[-1], *steps[:-1]], steps, strict=True):
        if before != after:
            shift_x, shift_y = -before[1] - after[1], before[0] + after[0]
            loop.append((x + INSET * shift_x, y + INSET * shift_y))
    return loop


def _area(loop: _Loop) -> float:
    x, y = np.array(loop).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _join(outer: _Loop, hole: _Loop) -> _Loop:
    """Connect a hole with the boundary above it by a keyhole of no width."""
    top = min(y for _, y in hole)
    at = next(index for index, (x, y) in enumerate(hole) if y == top and hole[index - 1][1] == top)
    left = min(hole[at - 1][0], hole[at][0])
    x = round(left) + _BRIDGE
    edges = (
        (outer[index][1], index)
        for index in range(len(outer))
        if outer[index][1] == outer[index - 1][1] < top
        and min(outer[index - 1][0], outer[index][0])
        < x
        < max(outer[index - 1][0], outer[index][0])
    )
    above, index = max(edges)
    around = [*hole[at:], *hole[:at]]
    bridge = [(x, above), (x, top), *around, (x, top), (x, above)]
    return [*outer[:index], *bridge, *outer[index:]]
