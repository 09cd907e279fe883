"""Diseases that vessels run through: emphysema, fibrosis, ground glass and others."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.anatomy import SIDES, Habitus
from thorax.phantom.diseases.findings import Finding
from thorax.phantom.diseases.regions import (
    ReshapedLungs,
    hilum_centre,
    of_sides,
)
from thorax.phantom.lungs import Lungs
from thorax.phantom.mediastinum import Tube
from thorax.phantom.space import Floats, Space, coverage, paint, smoothstep, texture

Draw = Callable[[Floats, Space, Habitus, Lungs, Finding, Generator], None]


def draw_compressed(hu: Floats, space: Space, lungs: Lungs, rng: Generator) -> None:
    """Draw the denser lung next to fluid or air in the pleural space, in place."""
    if not isinstance(lungs, ReshapedLungs):
        return
    strength = float(rng.uniform(0.1, 1.0))
    dense = smoothstep(lungs.compressed) * strength * (lungs.sides > 0)
    paint(hu, dense.astype(np.float32), float(rng.uniform(-250.0, 55.0)))


def _inside(lungs: Lungs, space: Space, finding: Finding) -> Floats:
    inside: Floats = coverage(lungs.depth, space.pixel_mm) * of_sides(lungs, finding)
    return inside


def _lines(space: Space, rng: Generator, *, scale_mm: float, width: float) -> Floats:
    """Draw a network of lines: the zero set of a random field, 0 to 1."""
    field = texture(space.axes, rng, scale_mm=scale_mm)
    lines: Floats = np.clip(1.0 - np.abs(field) / width, 0.0, 1.0)
    return lines


def _holes(
    hu: Floats, space: Space, finding: Finding, where: Floats, rng: Generator, *, scale_mm: float
) -> None:
    field = texture(space.axes, rng, scale_mm=scale_mm)
    cover = smoothstep((field - 1.3 + 1.5 * finding.severity) / 0.35) * where
    paint(hu, cover, float(rng.uniform(-1000.0, -950.0)))


def _centrilobular(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    upper = np.clip(space.z / habitus.lung_height + 0.2, 0.0, 1.0)
    where = _inside(lungs, space, finding) * upper
    _holes(hu, space, finding, where, rng, scale_mm=float(rng.uniform(5.0, 10.0)))


def _paraseptal(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    rim = np.clip(2.0 - lungs.depth / (6.0 + 10.0 * finding.severity), 0.0, 1.0)
    where = _inside(lungs, space, finding) * rim
    _holes(hu, space, finding, where, rng, scale_mm=float(rng.uniform(8.0, 14.0)))


def _panlobular(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    # The density of the whole lung is in the habitus.
    _holes(hu, space, finding, _inside(lungs, space, finding), rng, scale_mm=18.0)


def _basal_rim(
    space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> Floats:
    """Compute where fibrosis is: below the pleura and at the base, more if severe; 0 to 1."""
    reach_mm = 8.0 + 50.0 * finding.severity**1.5
    low = 1.3 - space.z / habitus.lung_height
    field = 1.2 - lungs.depth / (reach_mm * np.clip(low, 0.3, 1.3))
    field = field + 0.35 * texture(space.axes, rng, scale_mm=25.0)
    rim: Floats = smoothstep(field) * _inside(lungs, space, finding)
    return rim


def _fibrosis(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    rim = _basal_rim(space, habitus, lungs, finding, rng)
    paint(hu, 0.8 * rim, float(rng.uniform(-720.0, -450.0)))
    lines = _lines(space, rng, scale_mm=float(rng.uniform(5.0, 8.0)), width=0.3)
    paint(hu, 0.7 * rim * lines, float(rng.uniform(-300.0, 20.0)))


def _honeycombing(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    rim = _basal_rim(space, habitus, lungs, finding, rng)
    cells = texture(space.axes, rng, scale_mm=float(rng.uniform(5.0, 11.0)))
    paint(hu, rim, float(rng.uniform(-350.0, 10.0)))
    paint(hu, rim * smoothstep((cells + 0.3) / 0.4), float(rng.uniform(-985.0, -900.0)))


def _patches(
    space: Space, lungs: Lungs, finding: Finding, rng: Generator, *, scale_mm: float
) -> Floats:
    field = texture(space.axes, rng, scale_mm=scale_mm) + 2.4 * finding.severity - 1.0
    patches: Floats = smoothstep(field / 0.5) * _inside(lungs, space, finding)
    return patches


def _ground_glass(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    patches = _patches(space, lungs, finding, rng, scale_mm=float(rng.uniform(20.0, 70.0)))
    paint(hu, 0.9 * patches, float(rng.uniform(-720.0, -250.0)))


def _crazy_paving(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    patches = _patches(space, lungs, finding, rng, scale_mm=float(rng.uniform(25.0, 60.0)))
    paint(hu, 0.9 * patches, float(rng.uniform(-680.0, -450.0)))
    lines = _lines(space, rng, scale_mm=float(rng.uniform(6.0, 10.0)), width=0.25)
    paint(hu, 0.8 * patches * lines, float(rng.uniform(-250.0, 30.0)))


def _mosaic(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    field = texture(space.axes, rng, scale_mm=float(rng.uniform(14.0, 35.0)))
    change_hu = (30.0 + 110.0 * finding.severity) * np.tanh(2.0 * field)
    hu += change_hu * _inside(lungs, space, finding)


def _miliary(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    field = texture(space.axes, rng, scale_mm=4.0)
    dots = smoothstep((field - 1.7 + finding.severity) / 0.4)
    paint(hu, dots * _inside(lungs, space, finding), float(rng.uniform(-350.0, 40.0)))


def _bronchiectasis(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    for side in finding.sides:
        start = hilum_centre(habitus, side)
        for _ in range(int(4 + 22 * finding.severity)):
            end = (
                start[0] + SIDES[side] * float(rng.uniform(10.0, 75.0)),
                start[1] + float(rng.uniform(-60.0, 50.0)),
                habitus.z(float(rng.uniform(0.05, 0.9))),
            )
            share = float(rng.uniform(0.2, 0.6))
            inner = tuple(s + (e - s) * share for s, e in zip(start, end, strict=True))
            radius = float(rng.uniform(2.0, 3.5 + 6.0 * finding.severity))
            tube = Tube((inner[0], inner[1], inner[2]), end, (radius, radius))
            box, depth = tube.depth(space, margin_mm=5.0)
            depth = np.minimum(depth, lungs.depth[box] - 1.0)
            wall_mm = float(rng.uniform(1.0, 2.5))
            paint(hu[box], 0.8 * coverage(depth + wall_mm, space.pixel_mm), tissue.WALL_HU)
            paint(hu[box], coverage(depth, space.pixel_mm), tissue.AIRWAY_HU)


DRAW: dict[str, Draw] = {
    "centrilobular emphysema": _centrilobular,
    "paraseptal emphysema": _paraseptal,
    "panlobular emphysema": _panlobular,
    "bronchiectasis": _bronchiectasis,
    "fibrosis": _fibrosis,
    "honeycombing": _honeycombing,
    "ground glass": _ground_glass,
    "crazy paving": _crazy_paving,
    "mosaic attenuation": _mosaic,
    "miliary nodules": _miliary,
}
