"""Surroundings of a patient in a scanner: gravity, contact with the couch, points on the skin."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from scipy import interpolate

from thorax.phantom.anatomy import Outline
from thorax.phantom.space import Box, Floats, Point, Space, capsule_depth, coverage, paint

ADULT_HALF_WIDTH_MM = 165.0

APEX_NARROWING = 0.6
"""Depth of the rib cage at the apex of the lungs, relative to its deepest plane."""

UPRIGHT_RAD = 0.2
"""A couch within this angle of the scanner axes is parallel to them."""


class RandomDrawing:
    """Random sizes and sides of objects."""

    rng: Generator

    def between(self, low: float, high: float) -> float:
        """Draw a number from a uniform distribution."""
        return float(self.rng.uniform(low, high))

    def side(self, right: float = 0.5) -> float:
        """Draw the sign of a side; `right` is the chance of the right side."""
        return 1.0 if self.rng.random() < right else -1.0


@dataclass(frozen=True, eq=False)
class Scene(RandomDrawing):
    """Patient and couch in a scanner.

    Args:
        hu: Densities that are drawn, shape ``(X, Y, Z)``.
        space: Body coordinates.
        envelope: Depth below the skin of body and arms, shape ``(X, Y, Z)``.
        across: Horizontal position of each voxel, shape ``(X, Y, 1)``.
        height: Vertical position of each voxel, against gravity, shape ``(X, Y, 1)``.
        up: Unit vector against gravity along the scanner axes.
        half_width: Half of the width of the body from right to left, in mm.
        reach: Half of the horizontal width of the body, in mm.
        apex_z: Body z of the apex of the lungs, nearly.
        rng: Source of sizes and positions.
    """

    hu: Floats
    space: Space
    envelope: Floats
    across: Floats
    height: Floats
    up: tuple[float, float]
    half_width: float
    reach: float
    apex_z: float
    rng: Generator

    @property
    def unit(self) -> float:
        """Size of the patient relative to a typical adult."""
        return self.half_width / ADULT_HALF_WIDTH_MM

    @property
    def lateral(self) -> bool:
        """True if the patient lies on one side."""
        return abs(self.space.down[0]) > 0.5

    def point(self, across: float, height: float, z: float) -> Point:
        """Convert a horizontal and a vertical position to a body point, without the warp."""
        ux, uy = self.up
        x, y = uy * across + ux * height, uy * height - ux * across
        cosine, sine = np.cos(self.space.roll_rad), np.sin(self.space.roll_rad)
        return float(cosine * x - sine * y), float(sine * x + cosine * y), z

    def plane(self, z: float) -> int:
        """Find the plane nearest to a body z."""
        return int(np.abs(self.space.axes[2] - z).argmin())

    def planes(self, low: float, high: float) -> slice:
        """Find the planes between two body z."""
        first, last = np.searchsorted(self.space.axes[2], np.array([low, high], dtype=np.float32))
        return slice(int(first), int(last))

    def contact(self, rise: Floats) -> float:
        """Compute the lowest height of the body above a curved surface.

        Args:
            rise: Height of the surface above its middle at each voxel, shape ``(X, Y, 1)``.
        """
        occupied = (self.envelope > -1.0).any(axis=2)
        heights = (self.height - rise)[:, :, 0][occupied]
        return float(heights.min()) if heights.size else float(self.height.min())

    def top(self, across: float, z: float, *, gap_mm: float = 0.0) -> float:
        """Compute the height of the upper surface of the patient with a gap, in one plane."""
        column = np.abs(self.across[:, :, 0] - across) < 0.8 * self.space.pixel_mm
        column &= self.envelope[:, :, self.plane(z)] > -gap_mm
        heights = self.height[:, :, 0][column]
        return float(heights.max()) if heights.size else 0.0

    def width_at(self, z: float) -> float:
        """Compute half of the width of the patient from right to left in one plane."""
        plane = self.plane(z)
        x = self.space.x[:, :, plane][self.envelope[:, :, plane] > 0]
        return 0.5 * float(np.ptp(x)) if x.size else self.half_width

    def surface_path(
        self, start: tuple[float, float], end: tuple[float, float], *, gap_mm: float, wander: float
    ) -> list[Point]:
        """Draw a random path on the upper surface between two pairs of horizontal position and z.

        Args:
            start: Horizontal position and z of the start.
            end: Horizontal position and z of the end.
            gap_mm: Distance of the path to the skin.
            wander: Standard deviation of the bends, in mm.
        """
        steps = np.linspace(0.0, 1.0, 8)
        middle = np.sin(np.pi * steps)
        across = start[0] + (end[0] - start[0]) * steps
        across = across + wander * middle * np.cumsum(self.rng.normal(0.0, 0.5, 8))
        z = start[1] + (end[1] - start[1]) * steps
        return [
            self.point(float(a), self.top(float(a), float(k), gap_mm=gap_mm), float(k))
            for a, k in zip(across, z, strict=True)
        ]


def make_scene(hu: Floats, space: Space, outline: Outline, rng: Generator) -> Scene:
    """Find the directions of the couch and the size of the patient."""
    up = _up(space)
    x, y = space.axes[0][:, None, None], space.axes[1][None, :, None]
    across, height = up[1] * x - up[0] * y, up[0] * x + up[1] * y
    middle = space.x[:, :, space.shape[2] // 2]
    occupied = (outline.skin[:, :, ::3] > 0).any(axis=2)
    half_width, reach = (
        0.5 * float(np.ptp(position[occupied])) if occupied.any() else ADULT_HALF_WIDTH_MM
        for position in (middle, across[:, :, 0])
    )
    envelope, apex_z = outline.skin.copy(), _apex_z(space, outline)
    return Scene(hu, space, envelope, across, height, up, half_width, reach, apex_z, rng)


def _up(space: Space) -> tuple[float, float]:
    cosine, sine = np.cos(space.roll_rad), np.sin(space.roll_rad)
    dx, dy = space.down
    angle = float(np.arctan2(sine * dx - cosine * dy, -cosine * dx - sine * dy))
    straight = round(angle / (0.5 * np.pi)) * 0.5 * np.pi
    if abs(angle - straight) < UPRIGHT_RAD:
        angle = straight
    return float(np.cos(angle)), float(np.sin(angle))


def _apex_z(space: Space, outline: Outline) -> float:
    deepest = outline.cage.max(axis=(0, 1))
    widest = int(deepest.argmax())
    narrow = np.flatnonzero(deepest[widest:] < APEX_NARROWING * deepest[widest])
    plane = widest + int(narrow[0]) if narrow.size else len(deepest) - 1
    return float(space.axes[2][plane])


def crop(space: Space, box: Box) -> Space:
    """Return the body coordinates of a box."""
    axes = (space.axes[0][box[0]], space.axes[1][box[1]], space.axes[2][box[2]])
    x, y, z = space.at(box)
    return replace(space, axes=axes, x=x, y=y, z=z)


def smooth_path(points: list[Point], pieces: int = 10) -> list[Point]:
    """Interpolate a path with a spline through its points."""
    if len(points) < 3:
        return points
    spline = interpolate.make_interp_spline(
        np.arange(len(points)), np.array(points), k=min(3, len(points) - 1)
    )
    path = spline(np.linspace(0.0, len(points) - 1.0, pieces))
    return [(float(x), float(y), float(z)) for x, y, z in path]


def draw_tube(
    hu: Floats,
    space: Space,
    points: list[Point],
    *,
    radius: float,
    wall_hu: float,
    lumen: tuple[float, float] | None = None,
    spared: Floats | None = None,
) -> None:
    """Draw a tube along a path, in place.

    Args:
        hu: Densities, shape ``(X, Y, Z)``.
        space: Body coordinates.
        points: Path of the axis, in body mm.
        radius: Outer radius, in mm.
        wall_hu: Density of the wall, or of the whole if there is no lumen.
        lumen: Radius and density of the lumen.
        spared: Depth inside an organ that the tube does not enter, shape ``(X, Y, Z)``.
    """
    layers = [(radius, wall_hu)] if lumen is None else [(radius, wall_hu), lumen]
    for size, density in layers:
        filled = min(1.0, 2.2 * size / space.pixel_mm)
        for start, end in pairwise(points):
            margin_mm = max(size + space.pixel_mm, space.slice_mm)
            box = space.box_around(start, end, margin_mm=margin_mm)
            inside, share = _tube_depth(space, box, (start, end), size)
            if spared is not None:
                inside = np.minimum(inside, -spared[box])
            paint(hu[box], share * filled * coverage(inside, space.pixel_mm), density)


def thin_share(space: Space, half_mm: float) -> float:
    """Compute the share of a slice that something of a half thickness fills, at most 1."""
    return min(1.0, 2.0 * half_mm / space.slice_mm)


def _tube_depth(
    space: Space, box: Box, ends: tuple[Point, Point], radius: float
) -> tuple[Floats, float]:
    # A thin horizontal tube fills only a part of a slice, but does not fall between two slices.
    share = thin_share(space, radius)
    x, y, z = space.at(box)
    start, end = ((a, b, c * share) for a, b, c in ends)
    inside = capsule_depth((x, y, z * share), start, end, (radius, radius))
    length = float(np.linalg.norm(np.subtract(*ends))) + 1e-6
    flat = np.hypot(ends[0][0] - ends[1][0], ends[0][1] - ends[1][1]) / length
    return inside, 1.0 - float(flat) * (1.0 - share)
