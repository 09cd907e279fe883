"""Displacement of the mediastinum, and of the lung that follows it across the midline."""

from dataclasses import replace

import numpy as np

from thorax.phantom.anatomy import SIDES, Habitus, body_outline
from thorax.phantom.diseases.regions import LABELS, Site
from thorax.phantom.lungs import DIAPHRAGM_SLOPE, PLEURA_MM, diaphragm_z
from thorax.phantom.mediastinum import (
    AIRWAY_WALL_MM,
    airways,
    aorta,
    great_vessels,
    heart_depth,
    masses,
)
from thorax.phantom.space import Floats, ellipsoid_depth, smooth_minimum
from thorax.phantom.wall import spine_depth

LOWEST_DOME_MM = 8.0


def shift_mediastinum(
    habitus: Habitus, side: str, *, towards_mm: float, raise_mm: float
) -> Habitus:
    """Move heart and trachea towards a side, and raise the diaphragm of this side.

    Args:
        habitus: The patient.
        side: ``left`` or ``right``.
        towards_mm: Displacement; away from the side if negative.
        raise_mm: Rise of the diaphragm; lowered if negative.
    """
    moved = SIDES[side] * towards_mm
    x, y, z = habitus.variant.heart_shift
    # The heart would follow the left dome.
    sink = 0.6 * raise_mm if side == "left" else 0.0
    variant = replace(
        habitus.variant,
        heart_shift=(x + moved, y, z - sink),
        trachea_shift=habitus.variant.trachea_shift + 0.4 * moved,
    )
    left, right = habitus.dome_z("left"), habitus.dome_z("right")
    left += raise_mm if side == "left" else 0.0
    right += raise_mm if side == "right" else 0.0
    left, right = max(left, LOWEST_DOME_MM), max(right, LOWEST_DOME_MM)
    return replace(habitus, variant=variant, dome=left, dome_asymmetry=right - left)


def herniate(site: Site, side: str, reach_mm: float) -> None:
    """Extend a lung in front of the heart across the midline, in place.

    Args:
        site: Both lungs.
        side: The lung that is extended.
        reach_mm: Distance of its new medial edge beyond the midline.
    """
    candidate = _free_space(site, side, reach_mm)
    _keep_off_mediastinum(candidate, site)
    other = LABELS["right" if side == "left" else "left"]
    gained = (candidate > site.depth) & (site.sides != other)
    site.depth[gained] = candidate[gained]
    site.sides[gained & (candidate > 0)] = LABELS[side]


def _free_space(site: Site, side: str, reach_mm: float) -> Floats:
    space, habitus = site.space, site.habitus
    x, y, z = site.at
    outline = body_outline(space, habitus)
    cage = outline.cage[site.box] - PLEURA_MM
    depth = np.minimum(cage, -spine_depth(space, habitus)[site.box] - PLEURA_MM)
    floor = (z - diaphragm_z(space, habitus, side)[site.box]) * DIAPHRAGM_SLOPE
    depth = smooth_minimum(depth, floor, rounding_mm=8.0)
    # Behind the front of the heart, the edge turns back to the midline.
    bend = 0.012 * (x * SIDES[side] - 10.0) ** 2
    ahead = y - habitus.heart_centre[1] + 14.0 - np.minimum(bend, 60.0)
    edge = x * SIDES[side] + reach_mm + 3.0 * site.texture(30.0)
    edge = smooth_minimum(edge, ahead + 3.0 * site.texture(30.0), rounding_mm=24.0)
    levels = (z - habitus.z(0.3), 0.7 * (habitus.z(0.92) - z))
    edge = smooth_minimum(edge, np.minimum(*levels) + 0.0 * edge, rounding_mm=20.0)
    return smooth_minimum(depth, edge, rounding_mm=10.0)


def _keep_off_mediastinum(depth: Floats, site: Site) -> None:
    space, habitus = site.space, site.habitus
    whole = np.full(space.shape, 1e3, dtype=np.float32)
    box, inside = heart_depth(space, habitus)
    whole[box] = np.minimum(whole[box], -inside - 3.0)
    solid = [(tube, 3.0) for tube in aorta(habitus) + great_vessels(habitus)]
    for tube, gap in solid + [(tube, AIRWAY_WALL_MM + 2.0) for tube in airways(habitus)]:
        box, inside = tube.depth(space, margin_mm=16.0)
        whole[box] = np.minimum(whole[box], -inside - gap)
    for centre, radii, _ in masses(habitus):
        box = space.box_around(centre, margin_mm=max(radii) + 16.0)
        inside = ellipsoid_depth(space.at(box), centre, radii)
        whole[box] = np.minimum(whole[box], -inside - 3.0)
    depth[...] = smooth_minimum(depth, whole[site.box], rounding_mm=6.0)
