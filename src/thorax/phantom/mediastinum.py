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

OESOPHAGUS_RADIUS_MM = 6.5

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
    shift = habitus.variant.trachea_shift
    neck: Point = (2.0, habitus.spine_y(1.2) + 34.0, habitus.z(1.35))
    inlet: Point = (2.0 + shift, habitus.spine_y(0.95) + 32.0, habitus.z(0.95))
    carina: Point = (3.0 + 0.4 * shift, habitus.spine_y(0.63) + 38.0, habitus.z(0.63))
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
    bent = habitus.spine_x(0.5)
    down: list[Point] = [(-25.0 + bent, back, arch - 8.0), (-27.0 + bent, back - 2.0, arch - 30.0)]
    low: Point = (-22.0 + habitus.spine_x(0.25), habitus.spine_y(0.25) + 20.0, habitus.z(0.25))
    end: Point = (-8.0 + habitus.spine_x(-0.3), habitus.spine_y(-0.2) + 30.0, habitus.z(-0.35))
    return chain([*rise, *bend], 1.08 * radius) + chain([bend[1], *down, low, end], 0.88 * radius)


def great_vessels(habitus: Habitus) -> list[Tube]:
    """Build pulmonary trunk and arteries, caval veins and the branches of the aortic arch."""
    _, y, z = habitus.heart_centre
    aside = 0.5 * habitus.variant.heart_shift[0]
    fork: Point = (-12.0, y + 2.0, habitus.z(0.57))
    tubes = [Tube((-18.0 + aside, y + 22.0, z + 25.0), fork, (13.0, 12.0))]
    tubes += [Tube(fork, habitus.hilum(side), (11.0, 8.5)) for side in SIDES]
    cava: list[Point] = [(27.0 + aside, y - 2.0, z + 15.0), (26.0, y + 2.0, habitus.z(0.78))]
    tubes += chain([*cava, (30.0, 4.0, habitus.z(0.95))], 9.0)
    tubes += chain([(20.0 + aside, y - 18.0, z - 10.0), (26.0, y - 22.0, habitus.z(-0.3))], 12.0)
    tubes += chain([(26.0, y + 4.0, habitus.z(0.8)), (-28.0, 14.0, habitus.z(0.9))], 6.0)
    for foot, head in ((10.0, 22.0), (-4.0, -16.0), (-16.0, -30.0)):
        start = (foot, 0.3 * y, habitus.z(0.73))
        tubes += chain(
            [start, (head, -8.0, habitus.z(1.0)), (1.7 * head, -8.0, habitus.z(1.3))], 5.0
        )
    return tubes


def oesophagus_axis(habitus: Habitus) -> list[Point]:
    """Return the axis of the oesophagus from the neck to the stomach, body coordinates in mm."""
    points: list[Point] = [
        (-5.0 + habitus.spine_x(level), habitus.spine_y(level) + gap, habitus.z(level))
        for level, gap in ((1.3, 19.0), (0.9, 20.0), (0.65, 22.0), (0.3, 25.0))
    ]
    return [*points, (-22.0, points[-1][1] + 12.0, habitus.z(0.1))]


def heart_depth(space: Space, habitus: Habitus) -> tuple[tuple[slice, slice, slice], Floats]:
    """Compute a box around the heart, and the depth inside the pericardium in this box."""
    centre, size = habitus.heart_centre, habitus.heart
    fluid = habitus.variant.pericardium
    box = space.box_around(centre, margin_mm=1.35 * size + fluid)
    x, y, z = (c - m for c, m in zip(space.at(box), centre, strict=True))
    # The long axis points to the left, forward and down.
    x = -x if habitus.variant.dextrocardia else x
    cosine, sine = float(np.cos(HEART_TILT)), float(np.sin(HEART_TILT))
    long_axis = -cosine * x + sine * y - 0.25 * z
    # The heart narrows towards its apex.
    short_axis = (sine * x + cosine * y) / (1.0 - 0.24 * np.clip(long_axis / size, -1.0, 1.0))
    radii = (1.12 * size, 0.82 * size, 0.92 * size)
    return box, ellipsoid_depth((long_axis, short_axis, z), (0.0, 0.0, 0.0), radii) + fluid


def draw_mediastinum(hu: Floats, space: Space, habitus: Habitus, rng: Generator) -> None:
    """Draw heart, vessels, oesophagus and airways into the fat between the lungs, in place."""
    _draw_nodes(hu, space, habitus, rng)
    _draw_heart(hu, space, habitus, rng)
    for tube in great_vessels(habitus) + aorta(habitus):
        box, inside = tube.depth(space, margin_mm=4.0)
        paint(hu[box], coverage(inside, space.pixel_mm), habitus.blood_hu)
    for tube in chain(oesophagus_axis(habitus), OESOPHAGUS_RADIUS_MM):
        box, inside = tube.depth(space, margin_mm=4.0)
        paint(hu[box], coverage(inside, space.pixel_mm), tissue.WALL_HU + 10.0)
    if rng.random() < 0.5:
        _draw_oesophageal_air(hu, space, habitus, float(rng.uniform(0.5, 1.0)))
    draw_mediastinal_variants(hu, space, habitus)
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
    if habitus.variant.pericardium:
        paint(hu[box], coverage(inside - 2.0, space.pixel_mm), tissue.WATER_HU + 8.0)
        inside = inside - habitus.variant.pericardium
        paint(hu[box], coverage(inside, space.pixel_mm), tissue.FAT_HU)
    axes = (space.axes[0][box[0]], space.axes[1][box[1]], space.axes[2][box[2]])
    lumps = texture(axes, rng, scale_mm=28.0)
    paint(hu[box], coverage(inside - 4.0 - 2.0 * lumps, space.pixel_mm), tissue.HEART_HU)
    for (dx, dy, dz), radius in CHAMBERS_MM:
        centre = (x - dx if habitus.variant.dextrocardia else x + dx, y + dy, z + dz)
        cavity = ellipsoid_depth(space.at(box), centre, (radius, 0.9 * radius, 1.2 * radius))
        inner = coverage(np.minimum(cavity, inside - 8.0), 5.0)
        paint(hu[box], inner, habitus.blood_hu)


def masses(habitus: Habitus) -> list[tuple[Point, Point, float]]:
    """List solid masses of the mediastinum: centre, radii and density."""
    variant, z = habitus.variant, habitus.z
    bodies: list[tuple[Point, Point, float]] = []
    if variant.thymus:
        size = variant.thymus
        front = 0.62 * habitus.cage_half_depth
        bodies.append(((-8.0, front - 8.0, z(0.68)), (1.5 * size, 0.7 * size, 1.8 * size), 45.0))
    if variant.goitre:
        size = variant.goitre
        y = habitus.spine_y(1.0) + 34.0
        bodies += [
            ((side * 0.9 * size, y, z(1.08)), (0.8 * size, 0.8 * size, 1.7 * size), 95.0)
            for side in (-1.0, 1.0)
        ]
        bodies.append(((0.4 * size, y + 4.0, z(0.93)), (0.8 * size, 0.8 * size, 1.3 * size), 80.0))
    if variant.nodes:
        size = variant.nodes
        places = ((18.0, 6.0, 0.7), (-16.0, 16.0, 0.68), (4.0, -14.0, 0.57), (22.0, 20.0, 0.78))
        bodies += [((x, y, z(v)), (size, 0.9 * size, 1.3 * size), 50.0) for x, y, v in places]
        bodies += [
            ((0.95 * habitus.hilum(side)[0], -2.0, z(0.5)), (size, size, 1.2 * size), 50.0)
            for side in SIDES
        ]
    return bodies


def hernia(habitus: Habitus) -> tuple[Point, Point]:
    """Locate a hiatal hernia, the stomach behind the heart: centre and radii."""
    size = habitus.variant.hernia
    y = habitus.spine_y(0.3) + habitus.vertebra + 10.0 + 0.8 * size
    return (-6.0 + habitus.spine_x(0.3), y, habitus.dome + 0.5 * size), (
        1.2 * size,
        0.9 * size,
        1.2 * size,
    )


def draw_mediastinal_variants(hu: Floats, space: Space, habitus: Habitus) -> None:
    """Draw masses, hiatal hernia, wide oesophagus and tracheal diverticulum, in place."""
    variant = habitus.variant
    for centre, radii, density in masses(habitus):
        box = space.box_around(centre, margin_mm=max(radii) + 4.0)
        inside = ellipsoid_depth(space.at(box), centre, radii)
        paint(hu[box], coverage(inside, space.pixel_mm), density)
    if variant.hernia:
        centre, radii = hernia(habitus)
        _draw_hollow(hu, space, centre, radii, level=0.1)
    if variant.oesophagus:
        y, size = habitus.spine_y(0.6) + 24.0, variant.oesophagus
        centre = (-6.0 + habitus.spine_x(0.6), y, habitus.z(0.6))
        _draw_hollow(hu, space, centre, (size, 0.8 * size, 0.32 * habitus.lung_height), level=-0.2)
    if variant.diverticulum:
        size = variant.diverticulum
        x = 2.0 + variant.trachea_shift + habitus.trachea + 0.8 * size
        centre = (x, habitus.spine_y(0.97) + 24.0, habitus.z(0.97))
        box = space.box_around(centre, margin_mm=2.0 * size + 4.0)
        inside = ellipsoid_depth(space.at(box), centre, (size, size, 1.6 * size))
        paint(hu[box], coverage(inside, space.pixel_mm), tissue.AIRWAY_HU)


def _draw_hollow(hu: Floats, space: Space, centre: Point, radii: Point, *, level: float) -> None:
    """Draw a hollow organ with gas above fluid; the level is relative to its size."""
    box = space.box_around(centre, margin_mm=max(radii) + 6.0)
    at = space.at(box)
    inside = ellipsoid_depth(at, centre, radii)
    paint(hu[box], coverage(inside, space.pixel_mm), tissue.WALL_HU + 15.0)
    paint(hu[box], coverage(inside - 3.0, space.pixel_mm), tissue.WATER_HU + 12.0)
    right, front = space.down
    height = -((at[0] - centre[0]) * right + (at[1] - centre[1]) * front)
    gas = np.minimum(inside - 3.0, height - level * min(radii))
    paint(hu[box], coverage(gas, space.pixel_mm), tissue.GAS_HU)


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
