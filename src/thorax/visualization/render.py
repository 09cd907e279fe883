"""Surfaces of masks, and pictures of them in three dimensions, without a display or OpenGL.

A mask becomes a closed mesh of triangles by marching cubes (Lorensen & Cline 1987) on its smoothed
field. The picture is drawn in NumPy: triangles are cut into rows, rows into pixels, and the pieces
of each pixel are laid over each other from front to back, so that disease shows through lungs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.visualization.mesh import Floats, Integers, Mesh, _unit

SUPERSAMPLING = 2
"""Pixels are drawn so many times finer along both sides, and averaged."""

MARGIN = 0.03
"""Share of the picture that stays free on each side."""

LIGHT = np.array([-0.35, 0.5, 0.8]) / np.linalg.norm([-0.35, 0.5, 0.8])
"""From above the viewer's left shoulder: right, up, towards the viewer."""

AMBIENT, DIFFUSE, SHINE, GLOSS = 0.32, 0.72, 0.16, 24.0

LAYERS = 16
"""Surfaces one behind the other that are drawn; what lies deeper is hardly seen."""

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0..1."""


def render(
    meshes: Sequence[Mesh],
    *,
    colours: Sequence[Colour],
    size: tuple[int, int],
    azimuth: float = 0.0,
    elevation: float = 0.0,
) -> NDArray[np.uint8]:
    """Draw surfaces from the front, parallel projection: the patient's right is on the left.

    An opacity below 1 is that of a surface seen face on; seen at a slant, its light has further
    to go through it, and it is denser: ``1 - (1 - opacity) ** (1 / cos)``.

    Args:
        meshes: Surfaces in one system of coordinates.
        colours: One a mesh.
        size: Height and width in pixels.
        azimuth: Degrees that the viewer walks from the front to the patient's left.
        elevation: Degrees that the viewer rises above the patient.

    Returns:
        Red, green, blue and opacity, shape ``(height, width, 4)``; transparent where nothing is.
    """
    fine = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    turn = _camera(azimuth, elevation)
    drawn = [
        (mesh, colour) for mesh, colour in zip(meshes, colours, strict=True) if mesh.faces.size
    ]
    if not drawn:
        return np.zeros((*size, 4), np.uint8)
    turned = [mesh.vertices_mm @ turn.T for mesh, _ in drawn]
    places = _fit(turned, fine)
    pieces = [
        _pieces(place, mesh.faces, _shade(mesh.normals @ turn.T, colour), fine)
        for place, (mesh, colour) in zip(places, drawn, strict=True)
    ]
    pixels, depths, shades = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return _average(_lay_over(pixels, depths, shades, fine[0] * fine[1]).reshape(*fine, 4))


def _camera(azimuth: float, elevation: float) -> Floats:
    """Rows: the directions right, up and towards the viewer, in RAS+."""
    turn, rise = np.deg2rad([azimuth, elevation])
    right = np.array([-np.cos(turn), -np.sin(turn), 0.0])
    level = np.array([-np.sin(turn), np.cos(turn), 0.0])
    top = np.array([0.0, 0.0, 1.0])
    up = np.cos(rise) * top - np.sin(rise) * level
    return np.stack([right, up, np.cos(rise) * level + np.sin(rise) * top])


def _fit(turned: Sequence[Floats], fine: tuple[int, int]) -> list[Floats]:
    """Column, row (both in pixels) and depth (0 in front, 1 behind) of all vertices."""
    low = np.min([vertices.min(axis=0) for vertices in turned], axis=0)
    high = np.max([vertices.max(axis=0) for vertices in turned], axis=0)
    height, width = fine
    free = (1 - 2 * MARGIN) * np.array([width, height])
    scale = float((free / np.maximum(high - low, 1e-6)[:2]).min())
    middle = (low + high) / 2
    factors = np.array([scale, -scale, -1 / max(float(high[2] - low[2]), 1e-6)])
    centre = np.array([width / 2, height / 2, 0.5])
    return [(vertices - middle) * factors + centre for vertices in turned]


def _shade(normals: Floats, colour: Colour) -> NDArray[np.float32]:
    """Blinn and Phong's light on both sides of a surface: colour times opacity, and opacity."""
    facing = np.where(normals[:, 2:] < 0, -normals, normals)
    half = _unit(LIGHT + np.array([0.0, 0.0, 1.0]))
    lit = AMBIENT + DIFFUSE * np.clip(facing @ LIGHT, 0, None)
    shine = SHINE * np.clip(facing @ half, 0, None) ** GLOSS
    opacity = 1 - (1 - colour[3]) ** (1 / np.clip(facing[:, 2], 0.1, None))
    shades = np.clip(np.outer(lit, colour[:3]) + shine[:, None], 0, 1)
    return np.column_stack([shades * opacity[:, None], opacity]).astype(np.float32)


def _pieces(
    places: Floats, faces: Integers, shades: NDArray[np.float32], fine: tuple[int, int]
) -> tuple[Integers, NDArray[np.float32], NDArray[np.float32]]:
    """Cut triangles into pixels: number of the pixel, depth and shade of each piece.

    A pixel belongs to the triangle that its centre lies in, so that neighbours share none.
    """
    triangle, row, left, right = _rows(places[faces][..., :2])
    first, counts = _between(left, right)
    line = np.repeat(np.arange(len(row)), counts)
    step = _ramp(counts)
    carried = np.column_stack([places[:, 2], shades]).astype(np.float32)
    start, slope = _along(places[faces][triangle], carried[faces][triangle], first, row)
    values = start[line] + step[:, None].astype(np.float32) * slope[line]
    pixels = row[line] * fine[1] + first[line] + step
    return pixels, values[:, 0], np.clip(values[:, 1:], 0, 1)


def _rows(corners: Floats) -> tuple[Integers, Integers, Floats, Floats]:
    """Cut triangles into rows of pixels: triangle, row, left and right end of each."""
    x, y = corners[..., 0], corners[..., 1]
    first, counts = _between(y.min(axis=1), y.max(axis=1))
    triangle = np.repeat(np.arange(len(corners)), counts)
    row = first[triangle] + _ramp(counts)
    centre = row + 0.5
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        low, high = y[triangle, one], y[triangle, other]
        crossed = (low <= centre) != (high <= centre)
        share = (centre - low) / np.where(crossed, high - low, 1.0)
        cut = x[triangle, one] + share * (x[triangle, other] - x[triangle, one])
        left = np.where(crossed, np.minimum(left, cut), left)
        right = np.where(crossed, np.maximum(right, cut), right)
    # Rounding may leave a row without ends.
    kept = np.isfinite(left) & np.isfinite(right)
    return triangle[kept], row[kept], left[kept], right[kept]


def _between(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """The first pixel whose centre lies in ``low..high``, and how many do."""
    first = np.ceil(low - 0.5).astype(np.int64)
    return first, np.ceil(high - 0.5).astype(np.int64) - first


def _ramp(counts: Integers) -> Integers:
    """0, 1, 2… for each count: [2, 3] gives 0, 1, 0, 1, 2."""
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(starts, counts)


def _along(
    corners: Floats, carried: NDArray[np.float32], column: Integers, row: Integers
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the corners carry, at the first pixel of a row, and how it grows from pixel to pixel."""
    origin, one, other = (corners[:, corner, :2] for corner in range(3))
    along, across = one - origin, other - origin
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.inf, area)
    x, y = column + 0.5 - origin[:, 0], row + 0.5 - origin[:, 1]
    second = np.clip((x * across[:, 1] - y * across[:, 0]) / area, 0, 1)
    third = np.clip((y * along[:, 0] - x * along[:, 1]) / area, 0, 1)
    weights = np.stack([1 - second - third, second, third], axis=1).astype(np.float32)
    slopes = np.stack([along[:, 1] - across[:, 1], across[:, 1], -along[:, 1]], axis=1)
    growth = (slopes / area[:, None]).astype(np.float32)
    return np.einsum("pc,pcv->pv", weights, carried), np.einsum("pc,pcv->pv", growth, carried)


def _lay_over(
    pixels: Integers, depths: NDArray[np.float32], shades: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Lay the pieces of each pixel over each other, the nearest on top; shape ``(count, 4)``."""
    nearness = np.clip(depths * 65535, 0, 65535).astype(np.int64)
    order = np.argsort(pixels * 65536 + nearness, kind="stable")
    own = pixels[order]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    held, counts = own[starts], np.diff(starts, append=len(own))
    seen = np.zeros((count, 4), np.float32)
    for layer in range(min(int(counts.max(initial=0)), LAYERS)):
        deep = counts > layer
        below = shades[order[starts[deep] + layer]]
        seen[held[deep]] += (1 - seen[held[deep], 3:]) * below
    return seen


def _average(fine: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Average the fine pixels, and take the opacity out of the colours."""
    height, width = fine.shape[0] // SUPERSAMPLING, fine.shape[1] // SUPERSAMPLING
    split = fine.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 4)
    seen = split.mean(axis=(1, 3))
    seen[..., :3] /= np.maximum(seen[..., 3:], 1e-6)
    return np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8)
