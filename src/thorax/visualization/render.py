"""Render surfaces in NumPy, without a display or OpenGL.

Triangles are split into rows and rows into pixels. The fragments of each pixel are composited from
front to back, so that lesions are visible through lungs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.visualization.mesh import Floats, Integers, Mesh, unit_vectors

SUPERSAMPLING = 2
"""Fine pixels per pixel along each side; they are averaged."""

MARGIN = 0.03
"""Empty margin on each side, as a share of the picture."""

LIGHT = np.array([-0.35, 0.5, 0.8]) / np.linalg.norm([-0.35, 0.5, 0.8])
"""Direction of the light, above the left shoulder of the viewer: right, up, to the viewer."""

AMBIENT, DIFFUSE, SHINE, GLOSS = 0.32, 0.72, 0.16, 24.0

MAX_LAYERS = 16
"""Maximal number of surfaces behind each other; deeper ones are hardly visible."""

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0..1."""


def render_surfaces(
    meshes: Sequence[Mesh],
    *,
    colours: Sequence[Colour],
    size: tuple[int, int],
    azimuth: float = 0.0,
    elevation: float = 0.0,
) -> NDArray[np.uint8]:
    """Render surfaces from the front in parallel projection; the patient's right is on the left.

    The opacity is that of a surface seen head-on. At an angle, light passes through more of the
    surface, so its opacity is ``1 - (1 - opacity) ** (1 / cos)``.

    Args:
        meshes: Surfaces in one coordinate system.
        colours: One colour per mesh.
        size: Height and width in pixels.
        azimuth: Viewing angle in degrees from the front to the patient's left.
        elevation: Viewing angle in degrees upwards.

    Returns:
        Red, green, blue and opacity, shape ``(height, width, 4)``; the background is transparent.
    """
    fine = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    camera = _camera(azimuth, elevation)
    drawn = [
        (mesh, colour) for mesh, colour in zip(meshes, colours, strict=True) if mesh.faces.size
    ]
    if not drawn:
        return np.zeros((*size, 4), np.uint8)
    rotated = [mesh.vertices_mm @ camera.T for mesh, _ in drawn]
    projected = _project(rotated, fine)
    fragments = []
    for vertices, (mesh, colour) in zip(projected, drawn, strict=True):
        normals = mesh.normals @ camera.T
        faces = mesh.faces
        if colour[3] == 1:
            faces = faces[_in_front(vertices, normals, faces)]
        fragments.append(_fragments(vertices, faces, _shade(normals, colour), fine))
    pixels, depths, shades = (np.concatenate(parts) for parts in zip(*fragments, strict=True))
    return _downsample(_composite(pixels, depths, shades, fine[0] * fine[1]).reshape(*fine, 4))


def _in_front(vertices: Floats, normals: Floats, faces: Integers) -> NDArray[np.bool_]:
    """Return the triangles that face the viewer; those at the back of a closed surface are hidden.

    Args:
        vertices: Column, row and depth of the vertices.
        normals: Their normals: right, up, to the viewer.
        faces: Triangles, either all clockwise from outside or all counterclockwise.
    """
    first, second, third = (vertices[faces[:, corner], :2] for corner in range(3))
    along, across = second - first, third - first
    turns = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    # The normals tell which turn is that of the front.
    clockwise = np.vdot(turns, normals[faces[:, 0], 2]) > 0
    return turns > 0 if clockwise else turns < 0


def _camera(azimuth: float, elevation: float) -> Floats:
    """Directions right, up and to the viewer as rows, in RAS+."""
    turn, rise = np.deg2rad([azimuth, elevation])
    right = np.array([-np.cos(turn), -np.sin(turn), 0.0])
    level = np.array([-np.sin(turn), np.cos(turn), 0.0])
    top = np.array([0.0, 0.0, 1.0])
    up = np.cos(rise) * top - np.sin(rise) * level
    return np.stack([right, up, np.cos(rise) * level + np.sin(rise) * top])


def _project(rotated: Sequence[Floats], fine: tuple[int, int]) -> list[Floats]:
    """Column and row in pixels, and depth (0 in front, 1 behind), of all vertices."""
    low = np.min([vertices.min(axis=0) for vertices in rotated], axis=0)
    high = np.max([vertices.max(axis=0) for vertices in rotated], axis=0)
    height, width = fine
    free = (1 - 2 * MARGIN) * np.array([width, height])
    scale = float((free / np.maximum(high - low, 1e-6)[:2]).min())
    middle = (low + high) / 2
    factors = np.array([scale, -scale, -1 / max(float(high[2] - low[2]), 1e-6)])
    centre = np.array([width / 2, height / 2, 0.5])
    return [(vertices - middle) * factors + centre for vertices in rotated]


def _shade(normals: Floats, colour: Colour) -> NDArray[np.float32]:
    """Blinn-Phong shading of both sides of a surface: colour times opacity, and opacity."""
    facing = np.where(normals[:, 2:] < 0, -normals, normals)
    half = unit_vectors(LIGHT + np.array([0.0, 0.0, 1.0]))
    lit = AMBIENT + DIFFUSE * np.clip(facing @ LIGHT, 0, None)
    shine = SHINE * np.clip(facing @ half, 0, None) ** GLOSS
    opacity = 1 - (1 - colour[3]) ** (1 / np.clip(facing[:, 2], 0.1, None))
    shades = np.clip(np.outer(lit, colour[:3]) + shine[:, None], 0, 1)
    return np.column_stack([shades * opacity[:, None], opacity]).astype(np.float32)


def _fragments(
    vertices: Floats, faces: Integers, shades: NDArray[np.float32], fine: tuple[int, int]
) -> tuple[Integers, NDArray[np.float32], NDArray[np.float32]]:
    """Split triangles into pixels: index of the pixel, depth and shade of each fragment.

    A pixel belongs to the triangle that contains its centre, so neighbours share no pixel.
    """
    triangle, row, left, right = _rows(vertices[faces][..., :2])
    first, counts = _pixel_range(left, right)
    line = np.repeat(np.arange(len(row)), counts)
    step = _counters(counts)
    attributes = np.column_stack([vertices[:, 2], shades]).astype(np.float32)
    corners = faces.take(triangle, axis=0)
    start, slope = _interpolate(
        vertices.take(corners, axis=0), attributes.take(corners, axis=0), first, row
    )
    values = slope.take(line, axis=0)
    values *= step[:, None].astype(np.float32)
    values += start.take(line, axis=0)
    pixels = (row * fine[1] + first).take(line) + step
    shade = values[:, 1:]
    return pixels, values[:, 0], np.clip(shade, 0, 1, out=shade)


def _rows(corners: Floats) -> tuple[Integers, Integers, Floats, Floats]:
    """Split triangles into rows of pixels: triangle, row, left and right end of each."""
    x, y = corners[..., 0], corners[..., 1]
    first, counts = _pixel_range(y.min(axis=1), y.max(axis=1))
    triangle = np.repeat(np.arange(len(corners)), counts)
    row = first[triangle] + _counters(counts)
    centre = row + 0.5
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for begin, end in ((0, 1), (1, 2), (2, 0)):
        low, high = y[triangle, begin], y[triangle, end]
        crossed = (low <= centre) != (high <= centre)
        share = (centre - low) / np.where(crossed, high - low, 1.0)
        column = x[triangle, begin] + share * (x[triangle, end] - x[triangle, begin])
        left = np.where(crossed, np.minimum(left, column), left)
        right = np.where(crossed, np.maximum(right, column), right)
    # Rounding may leave a row without ends.
    kept = np.isfinite(left) & np.isfinite(right)
    return triangle[kept], row[kept], left[kept], right[kept]


def _pixel_range(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """First pixel with its centre in ``low..high``, and number of such pixels."""
    first = np.ceil(low - 0.5).astype(np.int64)
    return first, np.ceil(high - 0.5).astype(np.int64) - first


def _counters(counts: Integers) -> Integers:
    """0, 1, 2… for each count: [2, 3] gives 0, 1, 0, 1, 2."""
    starts = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(starts, counts)


def _interpolate(
    corners: Floats, attributes: NDArray[np.float32], column: Integers, row: Integers
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Attributes of the corners at the first pixel of a row, and their change per pixel."""
    origin, second_corner, third_corner = (corners[:, corner, :2] for corner in range(3))
    along, across = second_corner - origin, third_corner - origin
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.inf, area)
    x, y = column + 0.5 - origin[:, 0], row + 0.5 - origin[:, 1]
    second = np.clip((x * across[:, 1] - y * across[:, 0]) / area, 0, 1)
    third = np.clip((y * along[:, 0] - x * along[:, 1]) / area, 0, 1)
    weights = np.stack([1 - second - third, second, third], axis=1).astype(np.float32)
    slopes = np.stack([along[:, 1] - across[:, 1], across[:, 1], -along[:, 1]], axis=1)
    growth = (slopes / area[:, None]).astype(np.float32)
    return np.einsum("pc,pcv->pv", weights, attributes), np.einsum("pc,pcv->pv", growth, attributes)


def _composite(
    pixels: Integers, depths: NDArray[np.float32], shades: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Composite the fragments of each pixel, the nearest on top; shape ``(count, 4)``."""
    nearness = np.clip(depths * 65535, 0, 65535).astype(np.int64)
    order = np.argsort(pixels * 65536 + nearness, kind="stable")
    sorted_pixels = pixels[order]
    starts = np.flatnonzero(np.diff(sorted_pixels, prepend=-1))
    covered, counts = sorted_pixels[starts], np.diff(starts, append=len(sorted_pixels))
    stacked = np.zeros((len(covered), 4), np.float32)
    open_pixels = np.arange(len(covered))
    for layer in range(MAX_LAYERS):
        if not len(open_pixels):
            break
        below = shades.take(order.take(starts.take(open_pixels) + layer), axis=0)
        above = stacked.take(open_pixels, axis=0)
        above += (1 - above[:, 3:]) * below
        stacked[open_pixels] = above
        deeper = (counts.take(open_pixels) > layer + 1) & (above[:, 3] < 1)
        open_pixels = open_pixels[deeper]
    image = np.zeros((count, 4), np.float32)
    image[covered] = stacked
    return image


def _downsample(fine: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Average the fine pixels, and divide the colours by the opacity."""
    height, width = fine.shape[0] // SUPERSAMPLING, fine.shape[1] // SUPERSAMPLING
    split = fine.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 4)
    image = np.zeros((height, width, 4), np.float32)
    for row, column in np.ndindex(SUPERSAMPLING, SUPERSAMPLING):
        image += split[:, row, :, column]
    image /= SUPERSAMPLING**2
    image[..., :3] /= np.maximum(image[..., 3:], 1e-6)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
