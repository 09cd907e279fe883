"""Shape of the lungs, and density of healthy lung."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from thorax.phantom.anatomy import SIDES, Habitus, Outline
from thorax.phantom.mediastinum import (
    AIRWAY_WALL_MM,
    airways,
    aorta,
    great_vessels,
    heart_depth,
    hernia,
    masses,
)
from thorax.phantom.space import (
    Floats,
    Space,
    coverage,
    ellipsoid_depth,
    paint,
    smooth_minimum,
    smoothstep,
    texture,
)
from thorax.phantom.wall import spine_depth

LEFT, RIGHT = 1, 2

PLEURA_MM = 1.5

DIAPHRAGM_SLOPE = 0.75


@dataclass(frozen=True, eq=False)
class Lungs:
    """Both lungs: their depth below the pleura in mm, and 0, `LEFT` or `RIGHT` for each voxel."""

    depth: Floats
    sides: NDArray[np.uint8]


def shape_lungs(space: Space, habitus: Habitus, outline: Outline) -> Lungs:
    """Shape the lungs inside the rib cage."""
    wall = np.minimum(outline.cage - PLEURA_MM, -spine_depth(space, habitus) - PLEURA_MM)
    _indent(wall, space, habitus)
    left = _shape_lung(space, habitus, wall, "left")
    right = _shape_lung(space, habitus, wall, "right")
    sides = np.where(left > 0, LEFT, np.where(right > 0, RIGHT, 0)).astype(np.uint8)
    return Lungs(np.maximum(left, right), sides)


def _indent(wall: Floats, space: Space, habitus: Habitus) -> None:
    box, inside = heart_depth(space, habitus)
    wall[box] = smooth_minimum(wall[box], -inside - 2.5, rounding_mm=10.0)
    solid = [(t, 2.5) for t in aorta(habitus) + great_vessels(habitus)]
    for tube, gap in solid + [(t, AIRWAY_WALL_MM + 1.5) for t in airways(habitus)]:
        box, inside = tube.depth(space, margin_mm=16.0)
        wall[box] = smooth_minimum(wall[box], -inside - gap, rounding_mm=6.0)
    bodies = [(centre, radii) for centre, radii, _ in masses(habitus)]
    bodies += [hernia(habitus)] if habitus.variant.hernia else []
    if habitus.variant.oesophagus:
        size = habitus.variant.oesophagus
        centre = (-6.0 + habitus.spine_x(0.6), habitus.spine_y(0.6) + 24.0, habitus.z(0.6))
        bodies.append((centre, (size, 0.8 * size, 0.32 * habitus.lung_height)))
    for centre, radii in bodies:
        box = space.box_around(centre, margin_mm=max(radii) + 16.0)
        inside = ellipsoid_depth(space.at(box), centre, radii)
        wall[box] = smooth_minimum(wall[box], -inside - 2.5, rounding_mm=6.0)


def _shape_lung(space: Space, habitus: Habitus, wall: Floats, side: str) -> Floats:
    lateral = space.x * SIDES[side]
    floor = (space.z - diaphragm_z(space, habitus, side)) * DIAPHRAGM_SLOPE
    depth = smooth_minimum(wall, _medial_depth(space, habitus, lateral, side), rounding_mm=9.0)
    depth = smooth_minimum(depth, floor, rounding_mm=5.0)
    bulge = ((lateral - 0.42 * habitus.cage_half_width) / 42.0) ** 2
    bulge += ((space.y + 26.0) / 44.0) ** 2
    top = (habitus.z(1.0) - 30.0 * bulge - space.z) * 0.6
    return smooth_minimum(depth, top, rounding_mm=14.0)


def _medial_depth(space: Space, habitus: Habitus, lateral: Floats, side: str) -> Floats:
    spread = (32.0, 26.0, 20.0, 15.0, 17.0, 22.0, 27.0, 30.0)
    middle = habitus.profile(space, spread)
    hilum_y, hilum_z = habitus.hilum(side)[1:]
    bulge = np.exp(-(((space.y - hilum_y) / 26.0) ** 2)) * np.exp(
        -(((space.z - hilum_z) / 30.0) ** 2)
    )
    # In front of the upper half of the heart, the lungs almost touch behind the sternum.
    meeting = habitus.profile(space, (0.0, 0.0, 0.4, 0.75, 0.55, 0.1, 0.0, 0.0))
    ahead = coverage(space.y - 0.55 * habitus.cage_half_depth, 40.0)
    notch = 14.0 if side == "left" else 2.0
    low = habitus.profile(space, (1.0, 1.0, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0))
    edge = middle * (1.0 - ahead * meeting) + 16.0 * bulge + notch * low * ahead
    depth: Floats = lateral - edge
    return depth


def diaphragm_z(space: Space, habitus: Habitus, side: str) -> Floats:
    """Compute the height of one half of the diaphragm at each voxel, shape ``(X, Y, Z)``."""
    lateral = space.x * SIDES[side]
    aside = (lateral - 0.5 * habitus.cage_half_width) / (0.48 * habitus.cage_half_width)
    # The central tendon, below the heart, is almost as high as the domes.
    variant = habitus.variant
    away = np.where(aside > 0, aside, variant.tendon * aside) ** 2
    away += ((space.y - 12.0 - variant.recess) / (0.95 * habitus.cage_half_depth)) ** 2
    drop = habitus.dome_z(side) / (1.45 + variant.flatness * 1.45**2)
    height: Floats = habitus.dome_z(side) - drop * (away + variant.flatness * away * away)
    if variant.recess:
        # Behind, the diaphragm falls steeply to its insertion, and no further.
        height = np.maximum(height, 0.1 * height - 4.0)
    if variant.scallops or variant.bump:
        height += _uneven_diaphragm(space, habitus, side)
    return height


def _uneven_diaphragm(space: Space, habitus: Habitus, side: str) -> Floats:
    """Compute the height of muscle slips and of a local bulge above a smooth diaphragm."""
    variant = habitus.variant
    angle = np.arctan2(space.y - 12.0, np.abs(space.x) - 0.3 * habitus.cage_half_width)
    slips = 0.5 + 0.5 * np.cos(9.0 * angle + 2.0 * np.sin(3.0 * angle) + SIDES[side])
    reach = np.hypot(space.x / habitus.cage_half_width, space.y / habitus.cage_half_depth)
    height: Floats = variant.scallops * slips * smoothstep((reach - 0.45) / 0.4)
    bump_side, x, y = variant.bump_at
    if variant.bump and bump_side == SIDES[side]:
        across = space.x * SIDES[side] / habitus.cage_half_width - x
        along = space.y / habitus.cage_half_depth - y
        height += variant.bump * np.exp(-((across / 0.3) ** 2) - (along / 0.5) ** 2)
    return height


def draw_parenchyma(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, *, rng: Generator
) -> None:
    """Draw lung parenchyma, denser towards the back, in place."""
    lower = _dependent(space, habitus)
    clouds = texture(space.axes, rng, scale_mm=24.0)
    grain = texture(space.axes, rng, scale_mm=4.5)
    density = habitus.lung_hu + habitus.dependent_hu * 0.5 * (lower + 0.4)
    density = density + 12.0 * clouds + 20.0 * grain + 14.0 * np.clip(grain, 0.0, None) ** 2
    density += 0.6 * habitus.dependent_hu * coverage(lower - 0.62, 0.3) * _rim(lungs.depth, 9.0)
    depth = lungs.depth - habitus.variant.rim if habitus.variant.rim else lungs.depth
    paint(hu, coverage(depth, space.pixel_mm), density)


def _dependent(space: Space, habitus: Habitus) -> Floats:
    """Compute the position along gravity, -1 at the upper side of the cage, 1 at the lower."""
    if not space.gravity_rad:
        return -space.y / habitus.cage_half_depth
    right, front = space.down
    size = abs(right) * habitus.cage_half_width + abs(front) * habitus.cage_half_depth
    return (right * space.x + front * space.y) / size


def _rim(depth: Floats, width_mm: float) -> Floats:
    rim: Floats = np.clip(1.0 - depth / width_mm, 0.0, 1.0)
    return rim


def draw_fissures(hu: Floats, space: Space, habitus: Habitus, lungs: Lungs) -> None:
    """Draw the fissures between the lobes as thin, faint sheets, in place."""
    if habitus.variant.azygos:
        _draw_azygos_fissure(hu, space, habitus, lungs)
    for side, label in (("left", LEFT), ("right", RIGHT)):
        slope = 1.05 * (space.y + 0.75 * habitus.cage_half_depth)
        oblique = (space.z - habitus.z(0.74) + slope + 0.08 * np.abs(space.x)) * 0.69
        sheet = np.clip(1.0 - np.abs(oblique) / 2.0, 0.0, 1.0) * (lungs.sides == label)
        hu += 130.0 * sheet
        if side == "right":
            flat = np.abs(space.z - habitus.z(0.52) + 0.1 * space.y)
            above = (oblique > 0) & (lungs.sides == label)
            hu += 60.0 * np.clip(1.0 - flat / 4.0, 0.0, 1.0) * above


def _draw_azygos_fissure(hu: Floats, space: Space, habitus: Habitus, lungs: Lungs) -> None:
    x = 0.42 * habitus.cage_half_width - 0.25 * (habitus.z(0.9) - space.z)
    curved = space.x - x + 0.006 * (space.y + 10.0) ** 2
    sheet = np.clip(1.0 - np.abs(curved) / 2.0, 0.0, 1.0) * (lungs.sides == RIGHT)
    hu += 260.0 * sheet * coverage(space.z - habitus.z(0.75), 4.0)
    centre = (0.42 * habitus.cage_half_width - 0.0375 * habitus.lung_height, -10.0, habitus.z(0.75))
    box = space.box_around(centre, margin_mm=20.0)
    vein = ellipsoid_depth(space.at(box), centre, (5.0, 16.0, 6.0))
    paint(hu[box], coverage(vein, space.pixel_mm), habitus.blood_hu)
