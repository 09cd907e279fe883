"""Mediastinum: heart, great vessels, airways, oesophagus."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.anatomy import SIDES, Habitus
from thorax.phantom.space import (
    Floats,
    Point,
    Space,
    capsule_depth,
    coverage,
    ellipsoid_depth,
    paint,
    texture,
)

AIRWAY_WALL_MM = 1.8

HEART_TILT = 0.55

CHAMBERS_MM = (
    ((-26.0, 14.0, -14.0), 21.0),
    ((12.0, 18.0, -6.0), 20.0),
    ((26.0, -4.0, 6.0), 19.0),
    ((2.0, -24.0, 12.0), 20.0),
)
"""Ventricles and atria: position relative to the centre of the heart, and radius."""


@dataclass(frozen=True)
class Tube:
    """A straight piece of vessel or airway, radii in mm at both ends."""

    start: Point
    end: Point
    radii: tuple[float, float]

    def depth(self, space: Space, *, margin_mm: float) -> tuple[tuple[slice, slice, slice], Floats]:
        """Compute a box around the tube, and the depth inside the tube in this box."""
        box = space.box_around(self.start, self.end, margin_mm=max(self.radii) + margin_mm)
        return box, capsule_depth(space.at(box), self.start, self.end, self.radii)


def chain(points: list[Point], radius: float) -> list[Tube]:
    """Connect points by tubes of one radius."""
    return [Tube(a, b, (radius, radius)) for a, b in pairwise(points)]


def airways(habitus: Habitus) -> list[Tube]:
    """Build trachea and main bronchi."""
    radius = habitus.trachea
    neck: Point = (2.0, habitus.spine_y(1.2) + 34.0, habitus.z(1.35))
    inlet: Point = (2.0, habitus.spine_y(0.95) + 32.0, habitus.z(0.95))
    carina: Point = (3.0, habitus.spine_y(0.63) + 38.0, habitus.z(0.63))
    tubes = chain([neck, inlet, carina], radius)
    for side in SIDES:
        x, y, z = habitus.hilum(side)
        end = (0.95 * x, y, z + 4.0)
        tubes.append(Tube(carina, end, (0.85 * radius, 0.6 * radius)))
    return tubes


def aorta(habitus: Habitus) -> list[Tube]:
    """Build ascending aorta, arch and descending aorta."""
    radius = habitus.aorta
    _, y, z = habitus.heart_centre
    arch = habitus.z(0.73)
    back = habitus.spine_y(0.68) + 20.0
    rise: list[Point] = [(12.0, y + 8.0, z + 25.0), (16.0, y + 12.0, arch - 18.0)]
    bend: list[Point] = [(8.0, y + 4.0, arch), (-12.0, 0.5 * (y + back), arch + 3.0)]
    down: list[Point] = [(-25.0, back, arch - 8.0), (-27.0, back - 2.0, arch - 30.0)]
    low: Point = (-22.0, habitus.spine_y(0.25) + 20.0, habitus.z(0.25))
    end: Point = (-8.0, habitus.spine_y(-0.2) + 30.0, habitus.z(-0.35))
    return chain([*rise, *bend], 1.08 * radius) + chain([bend[1], *down, low, end], 0.88 * radius)


def great_vessels(habitus: Habitus) -> list[Tube]:
    """Build pulmonary trunk and arteries, caval veins and the branches of the aortic arch."""
    _, y, z = habitus.heart_centre
    fork: Point = (-12.0, y + 2.0, habitus.z(0.57))
    tubes = [Tube((-18.0, y + 22.0, z + 25.0), fork, (13.0, 12.0))]
    tubes += [Tube(fork, habitus.hilum(side), (11.0, 8.5)) for side in SIDES]
    cava: list[Point] = [(27.0, y - 2.0, z + 15.0), (26.0, y + 2.0, habitus.z(0.78))]
    tubes += chain([*cava, (30.0, 4.0, habitus.z(0.95))], 9.0)
    tubes += chain([(20.0, y - 18.0, z - 10.0), (26.0, y - 22.0, habitus.z(-0.3))], 12.0)
    tubes += chain([(26.0, y + 4.0, habitus.z(0.8)), (-28.0, 14.0, habitus.z(0.9))], 6.0)
    for foot, head in ((10.0, 22.0), (-4.0, -16.0), (-16.0, -30.0)):
        start = (foot, 0.3 * y, habitus.z(0.73))
        tubes += chain(
            [start, (head, -8.0, habitus.z(1.0)), (1.7 * head, -8.0, habitus.z(1.3))], 5.0
        )
    return tubes


def _oesophagus(habitus: Habitus) -> list[Tube]:
    points: list[Point] = [
        (-5.0, habitus.spine_y(level) + gap, habitus.z(level))
        for level, gap in ((1.3, 19.0), (0.9, 20.0), (0.65, 22.0), (0.3, 25.0))
    ]
    y = points[-1][1]
    return chain([*points, (-22.0, y + 12.0, habitus.z(0.1))], 6.5)


def heart_depth(space: Space, habitus: Habitus) -> tuple[tuple[slice, slice, slice], Floats]:
    """Compute a box around the heart, and the depth inside the pericardium in this box."""
    centre, size = habitus.heart_centre, habitus.heart
    box = space.box_around(centre, margin_mm=1.35 * size)
    x, y, z = (c - m for c, m in zip(space.at(box), centre, strict=True))
    # The long axis points to the left, forward and down.
    cosine, sine = float(np.cos(HEART_TILT)), float(np.sin(HEART_TILT))
    long_axis = -cosine * x + sine * y - 0.25 * z
    # The heart narrows towards its apex.
    short_axis = (sine * x + cosine * y) / (1.0 - 0.24 * np.clip(long_axis / size, -1.0, 1.0))
    radii = (1.12 * size, 0.82 * size, 0.92 * size)
    return box, ellipsoid_depth((long_axis, short_axis, z), (0.0, 0.0, 0.0), radii)


def draw_mediastinum(hu: Floats, space: Space, habitus: Habitus, rng: Generator) -> None:
    """Draw heart, vessels, oesophagus and airways into the fat between the lungs, in place."""
    _draw_nodes(hu, space, habitus, rng)
    _draw_heart(hu, space, habitus, rng)
    for tube in great_vessels(habitus) + aorta(habitus):
        box, inside = tube.depth(space, margin_mm=4.0)
        paint(hu[box], coverage(inside, space.pixel_mm), habitus.blood_hu)
    for tube in _oesophagus(habitus):
        box, inside = tube.depth(space, margin_mm=4.0)
        paint(hu[box], coverage(inside, space.pixel_mm), tissue.WALL_HU + 10.0)
    if rng.random() < 0.5:
        _draw_oesophageal_air(hu, space, habitus, float(rng.uniform(0.5, 1.0)))
    _draw_airways(hu, space, habitus)


def _draw_oesophageal_air(hu: Floats, space: Space, habitus: Habitus, level: float) -> None:
    y, z = habitus.spine_y(level) + 21.5, habitus.z(level)
    tube = Tube((-5.0, y, z - 9.0), (-5.0, y, z + 9.0), (3.0, 2.5))
    box, inside = tube.depth(space, margin_mm=4.0)
    paint(hu[box], coverage(inside, space.pixel_mm), tissue.GAS_HU)


def _draw_heart(hu: Floats, space: Space, habitus: Habitus, rng: Generator) -> None:
    box, inside = heart_depth(space, habitus)
    x, y, z = habitus.heart_centre
    paint(hu[box], coverage(inside, space.pixel_mm), tissue.FAT_HU)
    axes = (space.axes[0][box[0]], space.axes[1][box[1]], space.axes[2][box[2]])
    lumps = texture(axes, rng, scale_mm=28.0)
    paint(hu[box], coverage(inside - 4.0 - 2.0 * lumps, space.pixel_mm), tissue.HEART_HU)
    for (dx, dy, dz), radius in CHAMBERS_MM:
        centre = (x + dx, y + dy, z + dz)
        cavity = ellipsoid_depth(space.at(box), centre, (radius, 0.9 * radius, 1.2 * radius))
        inner = coverage(np.minimum(cavity, inside - 8.0), 5.0)
        paint(hu[box], inner, habitus.blood_hu)


def _draw_nodes(hu: Floats, space: Space, habitus: Habitus, rng: Generator) -> None:
    for _ in range(int(rng.integers(4, 12))):
        centre = (
            float(rng.normal(0.0, 14.0)),
            float(rng.uniform(-25.0, 25.0)),
            habitus.z(float(rng.uniform(0.5, 0.85))),
        )
        box = space.box_around(centre, margin_mm=8.0)
        node = ellipsoid_depth(space.at(box), centre, (3.5, 4.5, 6.0))
        paint(hu[box], coverage(node, space.pixel_mm), tissue.MUSCLE_HU)


def _draw_airways(hu: Floats, space: Space, habitus: Habitus) -> None:
    depths = [tube.depth(space, margin_mm=AIRWAY_WALL_MM + 4.0) for tube in airways(habitus)]
    for box, inside in depths:
        paint(hu[box], coverage(inside + AIRWAY_WALL_MM, space.pixel_mm), tissue.WALL_HU)
    for box, inside in depths:
        paint(hu[box], coverage(inside, space.pixel_mm), tissue.AIRWAY_HU)
