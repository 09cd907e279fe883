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
    liver: Floats = np.minimum(right, cage) - 2.0
    if habitus.variant.complete:
        edge = (below.z - habitus.z(-0.35)) * 0.8 + 0.35 * (below.x - 40.0)
        liver = smooth_minimum(liver, edge, rounding_mm=14.0)
    _draw_liver(hu[:, :, :planes], below, liver, grain)
    _draw_spleen(hu[:, :, :planes], below, inside - 5.0, habitus)
    if habitus.gas:
        _draw_colon(hu[:, :, :planes], below, inside - 6.0, rng)
    _draw_stomach(hu[:, :, :planes], below, inside - 4.0, habitus)
    variant = habitus.variant
    if variant.interposition:
        _draw_interposed_colon(hu[:, :, :planes], below, inside - 4.0, habitus)
    if variant.free_gas:
        _draw_free_gas(hu[:, :, :planes], below, inside - 3.5, habitus)
    if variant.complete and len(below.axes[2]) and below.axes[2][0] < habitus.z(-0.25):
        _draw_lower_abdomen(hu[:, :, :planes], below, habitus, outline.skin[:, :, :planes], rng)


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
    size = (0.98 + 0.12 * habitus.gas) * habitus.variant.stomach
    centre: Point = (-50.0, 14.0, habitus.dome - 40.0)
    radii = (44.0 * size, 50.0 * size, 50.0 * size)
    depth = ellipsoid_depth((space.x, space.y, space.z), centre, radii)
    depth = smooth_minimum(depth, inside, rounding_mm=5.0)
    paint(hu, coverage(depth, space.pixel_mm), tissue.WALL_HU + 15.0)
    paint(hu, coverage(depth - 4.0, space.pixel_mm), tissue.WATER_HU + 10.0)
    if habitus.gas:
        # Gas rises: the patient is supine, so the gas-fluid level is a coronal plane.
        level = centre[1] + radii[1] * (0.55 - 0.8 * habitus.gas)
        height = space.y - level
        if space.gravity_rad:
            right, front = space.down
            height = -(right * (space.x - centre[0]) + front * (space.y - centre[1]))
            height -= radii[1] * (0.55 - 0.8 * habitus.gas)
        gas = np.minimum(depth - 4.0, height)
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


def _draw_interposed_colon(hu: Floats, space: Space, inside: Floats, habitus: Habitus) -> None:
    """Draw colon between liver and diaphragm (Chilaiditi's sign), in place."""
    half, top = habitus.cage_half_width, habitus.dome_z("right")
    for n in range(5):
        x, radius = (0.75 - 0.14 * n) * half, 17.0 + 3.0 * (n % 2)
        centre: Point = (x, 0.42 * habitus.cage_half_depth, top - radius - 4.0 - 9.0 * abs(n - 3))
        depth = ellipsoid_depth((space.x, space.y, space.z), centre, (radius, radius, 1.3 * radius))
        depth = np.minimum(depth, inside)
        paint(hu, coverage(depth, space.pixel_mm), tissue.WALL_HU + 10.0)
        paint(hu, coverage(depth - 2.5, space.pixel_mm), tissue.GAS_HU)


def _draw_free_gas(hu: Floats, space: Space, inside: Floats, habitus: Habitus) -> None:
    """Draw free gas at the highest place under the diaphragm, in place."""
    right, front = space.down
    height = -(
        right * space.x / habitus.cage_half_width + front * space.y / habitus.cage_half_depth
    )
    near = habitus.variant.free_gas - inside + 25.0 * (height - 0.45)
    gas = np.minimum(np.minimum(inside, near), (height - 0.1) * 60.0)
    paint(hu, coverage(gas, space.pixel_mm), tissue.GAS_HU)


def _draw_lower_abdomen(
    hu: Floats, space: Space, habitus: Habitus, skin: Floats, rng: Generator
) -> None:
    """Draw bowel, kidneys and pelvis below the liver, in place."""
    planes = int(np.searchsorted(space.axes[2], habitus.z(-0.05)))
    low, hu = _below(space, planes), hu[:, :, :planes]
    wall = habitus.wall + habitus.fat
    cavity = skin[:, :, :planes] - 0.75 * wall
    cavity = np.minimum(cavity, low.y + 0.25 * habitus.cage_half_depth)
    bowel = cavity * coverage(habitus.z(-0.22) - low.z, 20.0)
    loops = texture(low.axes, rng, scale_mm=24.0)
    filling = texture(low.axes, rng, scale_mm=45.0)
    paint(hu, coverage(loops * 12.0, 5.0) * coverage(bowel - 4.0, 6.0), tissue.WALL_HU + 10.0)
    gas = np.minimum(loops * 12.0 - 5.0, filling * 12.0 - 3.0)
    paint(hu, coverage(gas, 3.0) * coverage(bowel - 8.0, 3.0), tissue.GAS_HU)
    at = (low.x, low.y, low.z)
    y = -0.35 * habitus.cage_half_depth
    for side in (-1.0, 1.0):
        kidney = ellipsoid_depth(at, (side * 62.0, y, habitus.z(-0.38)), (27.0, 24.0, 55.0))
        paint(hu, coverage(kidney, low.pixel_mm), tissue.MUSCLE_HU - 20.0)
        psoas = ellipsoid_depth(at, (side * 38.0, y - 6.0, habitus.z(-0.9)), (20.0, 20.0, 130.0))
        paint(hu, coverage(psoas, low.pixel_mm), tissue.MUSCLE_HU)
        wing = ellipsoid_depth(at, (side * 85.0, y, habitus.z(-1.35)), (42.0, 62.0, 75.0))
        shell = np.minimum(np.minimum(wing, 9.0 - wing), side * low.x - 55.0)
        paint(hu, coverage(np.minimum(shell, skin[:, :, :planes] - 9.0), low.pixel_mm), 380.0)
        hip = ellipsoid_depth(at, (side * 92.0, 0.0, habitus.z(-1.75)), (24.0, 24.0, 24.0))
        paint(hu, coverage(hip, low.pixel_mm), tissue.MARROW_HU + 120.0)
