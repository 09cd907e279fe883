"""Upper abdomen: liver, spleen, stomach and bowel, with gas."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.anatomy import Habitus, Outline
from thorax.phantom.lungs import diaphragm_z
from thorax.phantom.space import (
    Floats,
    Point,
    Space,
    coverage,
    ellipsoid_depth,
    paint,
    smooth_minimum,
    texture,
)

DIAPHRAGM_MM = 3.5


def draw_abdomen(
    hu: Floats, space: Space, habitus: Habitus, outline: Outline, *, rng: Generator
) -> None:
    """Draw the upper abdomen into the fat below the diaphragm, in place."""
    planes = int(np.searchsorted(space.axes[2], habitus.dome_z("right") + 10.0))
    below = _below(space, planes)
    cage = outline.cage[:, :, :planes]
    right = (diaphragm_z(below, habitus, "right") - below.z) * 0.75
    left = (diaphragm_z(below, habitus, "left") - below.z) * 0.75
    inside = np.minimum(np.where(below.x > 0, right, left), cage)
    muscle = np.clip(1.0 - np.abs(inside - DIAPHRAGM_MM) / DIAPHRAGM_MM, 0.0, 1.0)
    paint(hu[:, :, :planes], muscle * (inside > 0), tissue.MUSCLE_HU)
    grain = texture(below.axes, rng, scale_mm=7.0)
    strands = np.clip(texture(below.axes, rng, scale_mm=15.0) - 0.9, 0.0, 1.0)
    paint(hu[:, :, :planes], strands * (inside > 6.0), tissue.WALL_HU)
    _draw_liver(hu[:, :, :planes], below, np.minimum(right, cage) - 2.0, grain)
    _draw_spleen(hu[:, :, :planes], below, inside - 5.0, habitus)
    if habitus.gas:
        _draw_colon(hu[:, :, :planes], below, inside - 6.0, rng)
    _draw_stomach(hu[:, :, :planes], below, inside - 4.0, habitus)


def _below(space: Space, planes: int) -> Space:
    axes = (space.axes[0], space.axes[1], space.axes[2][:planes])
    return replace(
        space,
        axes=axes,
        x=space.x[:, :, :planes],
        y=space.y[:, :, :planes],
        z=space.z[:, :, :planes],
    )


def _draw_liver(hu: Floats, space: Space, inside: Floats, grain: Floats) -> None:
    # The left lobe extends over the midline and becomes thin.
    edge = (space.x + 22.0 + 0.55 * space.y) * 0.85
    behind = space.y + 78.0 - 0.5 * np.clip(60.0 - space.x, 0.0, None)
    depth = smooth_minimum(smooth_minimum(inside, edge, rounding_mm=14.0), behind, rounding_mm=14.0)
    paint(hu, coverage(depth, space.pixel_mm), tissue.LIVER_HU + 5.0 * grain)


def _draw_spleen(hu: Floats, space: Space, inside: Floats, habitus: Habitus) -> None:
    centre: Point = (-0.66 * habitus.cage_half_width, -0.45 * habitus.cage_half_depth, 8.0)
    depth = ellipsoid_depth((space.x, space.y, space.z), centre, (30.0, 40.0, 52.0))
    depth = smooth_minimum(depth, inside, rounding_mm=6.0)
    paint(hu, coverage(depth, space.pixel_mm), tissue.SPLEEN_HU)


def _draw_stomach(hu: Floats, space: Space, inside: Floats, habitus: Habitus) -> None:
    size = 0.98 + 0.12 * habitus.gas
    centre: Point = (-50.0, 14.0, habitus.dome - 40.0)
    radii = (44.0 * size, 50.0 * size, 50.0 * size)
    depth = ellipsoid_depth((space.x, space.y, space.z), centre, radii)
    depth = smooth_minimum(depth, inside, rounding_mm=5.0)
    paint(hu, coverage(depth, space.pixel_mm), tissue.WALL_HU + 15.0)
    paint(hu, coverage(depth - 4.0, space.pixel_mm), tissue.WATER_HU + 10.0)
    if habitus.gas:
        # Gas rises: the patient is supine, so the gas-fluid level is a coronal plane.
        level = centre[1] + radii[1] * (0.55 - 0.8 * habitus.gas)
        gas = np.minimum(depth - 4.0, space.y - level)
        paint(hu, coverage(gas, space.pixel_mm), tissue.GAS_HU)


def _draw_colon(hu: Floats, space: Space, inside: Floats, rng: Generator) -> None:
    start = np.array([-88.0, 10.0, -5.0]) + rng.normal(0.0, 5.0, 3)
    for _ in range(int(rng.integers(2, 6))):
        radius = float(rng.uniform(11.0, 18.0))
        centre: Point = (float(start[0]), float(start[1]), float(start[2]))
        depth = ellipsoid_depth((space.x, space.y, space.z), centre, (radius, radius, radius))
        depth = np.minimum(depth, inside)
        paint(hu, coverage(depth, space.pixel_mm), tissue.WALL_HU + 10.0)
        paint(hu, coverage(depth - 2.5, space.pixel_mm), tissue.GAS_HU)
        start += rng.normal((6.0, 9.0, -6.0), 6.0)
