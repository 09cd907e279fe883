"""Diseases that hide vessels: consolidation, collapse, tumours, cavities, bullae."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.anatomy import SIDES, Habitus
from thorax.phantom.diseases.findings import Finding
from thorax.phantom.diseases.regions import (
    Mask,
    height_mm,
    hilum_centre,
    lobe_depth,
    lung_of,
    of_sides,
    quantile,
    random_centre,
)
from thorax.phantom.lungs import Lungs
from thorax.phantom.mediastinum import Tube
from thorax.phantom.space import (
    Floats,
    Point,
    Space,
    coverage,
    ellipsoid_depth,
    paint,
    smoothstep,
    texture,
)

Draw = Callable[[Floats, Space, Habitus, Lungs, Finding, Generator], None]


def _solid_hu(rng: Generator) -> float:
    return float(rng.choice([rng.uniform(15.0, 65.0), rng.uniform(65.0, 120.0)], p=[0.75, 0.25]))


def _edge(lungs: Lungs, space: Space, mask: Mask) -> Floats:
    """Cover a part of the lungs up to their border; a rim of air would separate it from the wall.

    Voxels at the border are covered although they are partly outside the lung.
    """
    near = mask | ((lungs.sides == 0) & (lungs.depth > -1.5 * space.pixel_mm))
    cover: Floats = coverage(lungs.depth + space.pixel_mm, space.pixel_mm) * near
    return cover


def _fill(
    hu: Floats, space: Space, lungs: Lungs, mask: Mask, depth: Floats, density: Floats | float
) -> None:
    paint(hu, _edge(lungs, space, mask) * coverage(depth, space.pixel_mm), density)


def _bronchogram(hu: Floats, space: Space, habitus: Habitus, side: str, rng: Generator) -> None:
    for _ in range(int(rng.integers(0, 9))):
        points: list[Point] = [hilum_centre(habitus, side)]
        for _ in range(3):
            x, y, z = points[-1]
            step = (
                SIDES[side] * float(rng.uniform(2.0, 22.0)),
                float(rng.normal(0.0, 16.0)),
                float(rng.normal(0.0, 26.0)),
            )
            points.append((x + step[0], y + step[1], z + step[2]))
        for number, (start, end) in enumerate(pairwise(points)):
            radius = 3.0 - 0.8 * number
            box, depth = Tube(start, end, (radius, 0.8 * radius)).depth(space, margin_mm=2.0)
            airy = (hu[box] > -300.0) & (hu[box] < 200.0)
            paint(hu[box], 0.9 * coverage(depth, space.pixel_mm) * airy, tissue.AIRWAY_HU)


def _lobar_consolidation(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    side = finding.sides[0]
    lobe = lobe_depth(space, habitus, upper=finding.level > 0.5)
    fray = 6.0 * texture(space.axes, rng, scale_mm=12.0) * (1.0 - finding.severity)
    density = _solid_hu(rng) + 12.0 * texture(space.axes, rng, scale_mm=9.0)
    _fill(
        hu,
        space,
        lungs,
        lung_of(lungs, side),
        lobe - 25.0 * (0.8 - finding.severity) + fray,
        density,
    )
    _bronchogram(hu, space, habitus, side, rng)


def _whole_lung(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    side = finding.sides[0]
    field = texture(space.axes, rng, scale_mm=25.0) + 0.2 + 2.5 * finding.severity
    density = _solid_hu(rng) + 15.0 * texture(space.axes, rng, scale_mm=10.0)
    _fill(hu, space, lungs, lung_of(lungs, side), 5.0 * field, density)
    if finding.kind == "whole-lung consolidation":
        _bronchogram(hu, space, habitus, side, rng)


def _lobar_collapse(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    side = finding.sides[0]
    lateral = space.x * SIDES[side]
    wedge = lobe_depth(space, habitus, upper=finding.level > 0.5) - 12.0
    wedge = np.minimum(wedge, (30.0 + 30.0 * finding.severity - lateral) * 0.8)
    _fill(hu, space, lungs, lung_of(lungs, side), wedge, _solid_hu(rng))


def _plates(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    mask = of_sides(lungs, finding)
    for _ in range(int(1 + 4 * finding.severity)):
        level = habitus.z(float(rng.uniform(0.08, 0.5)))
        sx, sy = rng.normal(0.0, 0.35, 2)
        plane = (space.z - level + sx * space.x + sy * space.y) * 0.9
        thick = float(rng.uniform(1.5, 2.0 + 6.0 * finding.severity))
        extent = 3.0 * texture(space.axes, rng, scale_mm=45.0)
        _fill(hu, space, lungs, mask, np.minimum(thick - np.abs(plane), extent), _solid_hu(rng))


def _dependent(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    height = height_mm(space) + 0.2 * space.z + 4.0 * texture(space.axes, rng, scale_mm=25.0)
    for side in finding.sides:
        mask = lung_of(lungs, side)
        if np.count_nonzero(mask) < 50:
            continue
        level = quantile(height, mask, 0.02 + 0.3 * finding.severity)
        soft_mm = float(rng.uniform(3.0, 25.0))
        cover = _edge(lungs, space, mask) * smoothstep((level - height) / soft_mm)
        paint(hu, cover, float(rng.uniform(-350.0, 50.0)))


def _lump(
    space: Space, centre: Point, radius: float, rng: Generator
) -> tuple[tuple[slice, slice, slice], Floats]:
    """Compute a box and the depth inside an irregular ellipsoid in it."""
    rx, ry, rz = (radius * float(s) for s in rng.uniform(0.7, 1.3, 3))
    box = space.box_around(centre, margin_mm=1.6 * max(rx, ry, rz) + 4.0)
    depth = ellipsoid_depth(space.at(box), centre, (rx, ry, max(rz, 3.0)))
    axes = (space.axes[0][box[0]], space.axes[1][box[1]], space.axes[2][box[2]])
    if min(len(axis) for axis in axes):
        rough = float(rng.uniform(0.0, 0.25)) * radius
        depth = depth + rough * texture(axes, rng, scale_mm=max(4.0, 0.5 * radius))
    return box, depth


def _in_lung(
    hu: Floats, space: Space, lungs: Lungs, box: tuple[slice, ...], depth: Floats
) -> Floats:
    near = lungs.depth[box] > -1.2 * space.pixel_mm
    cover: Floats = coverage(depth, space.pixel_mm) * near
    return cover


def _masses(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    many = finding.kind == "nodules"
    for _ in range(int(2 + 28 * finding.severity) if many else 1):
        centre = random_centre(space, habitus, lungs, finding, rng)
        if centre is None:
            return
        size = rng.uniform(2.5, 12.0) if many else 8.0 + 45.0 * finding.severity
        box, depth = _lump(space, centre, float(size), rng)
        cover = _in_lung(hu, space, lungs, box, depth)
        calcified = rng.random() < 0.12
        paint(hu[box], cover, float(rng.uniform(200.0, 700.0)) if calcified else _solid_hu(rng))
        if rng.random() < 0.3:
            halo = _in_lung(hu, space, lungs, box, depth + float(rng.uniform(3.0, 10.0)))
            paint(hu[box], 0.4 * (halo - cover).clip(0.0), -500.0)


def _hilar_mass(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    x, y, z = hilum_centre(habitus, finding.sides[0])
    size = 15.0 + 40.0 * finding.severity
    centre = (x + SIDES[finding.sides[0]] * 0.7 * size, y, z + float(rng.normal(0.0, 15.0)))
    box, depth = _lump(space, centre, size, rng)
    paint(hu[box], _in_lung(hu, space, lungs, box, depth), _solid_hu(rng))


def _cavities(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    for _ in range(1 + int(rng.integers(0, 3))):
        centre = random_centre(space, habitus, lungs, finding, rng)
        if centre is None:
            return
        box, depth = _lump(space, centre, 9.0 + 35.0 * finding.severity, rng)
        paint(hu[box], _in_lung(hu, space, lungs, box, depth), _solid_hu(rng))
        cavity = np.minimum(depth - float(rng.uniform(2.0, 10.0)), lungs.depth[box])
        density: Floats | float = -985.0
        if rng.random() < 0.4:
            height = height_mm(space)[box]
            level = -(space.down[0] * centre[0] + space.down[1] * centre[1])
            density = np.where(height > level, -985.0, 15.0)
        paint(hu[box], coverage(cavity, space.pixel_mm), density)


def _bullae(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    for _ in range(int(2 + 12 * finding.severity)):
        centre = random_centre(space, habitus, lungs, finding, rng)
        if centre is None:
            return
        box, depth = _lump(space, centre, float(rng.uniform(7.0, 30.0)), rng)
        depth = np.minimum(depth, lungs.depth[box] - 0.5)
        paint(hu[box], 0.7 * coverage(depth + 1.5, space.pixel_mm), float(rng.uniform(-700, -200)))
        paint(hu[box], coverage(depth, space.pixel_mm), float(rng.uniform(-1000.0, -970.0)))


def _giant_bulla(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    side = finding.sides[0]
    mask = lung_of(lungs, side)
    if np.count_nonzero(mask) < 50:
        return
    # A smooth surface divides the lung: from the apex, the base or the lateral wall.
    along = rng.normal(0.0, 1.0, 2)
    field = float(rng.choice([1.0, -0.8])) * (space.z - habitus.z(0.5))
    field = field + 0.5 * along[0] * SIDES[side] * space.x + 0.5 * along[1] * space.y
    field = field + 14.0 * texture(space.axes, rng, scale_mm=60.0)
    border = quantile(field, mask, 1.0 - (0.2 + 0.7 * finding.severity))
    inside = np.minimum(0.7 * (field - border), lungs.depth - 0.5)
    soft = space.pixel_mm
    compressed = np.clip(1.0 + (field - border) / 35.0, 0.0, 1.0) * mask
    paint(hu, (0.5 * compressed).astype(np.float32), float(rng.uniform(-700.0, -150.0)))
    paint(hu, 0.7 * coverage(inside + 1.5, soft) * mask, float(rng.uniform(-600.0, -50.0)))
    paint(hu, coverage(inside, soft) * mask, float(rng.uniform(-1000.0, -965.0)))
    if rng.random() < 0.5:
        septa = np.clip(1.0 - np.abs(texture(space.axes, rng, scale_mm=35.0)) / 0.06, 0.0, 1.0)
        paint(hu, 0.5 * septa * coverage(inside, soft) * mask, -500.0)


def _subcutaneous(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, finding: Finding, rng: Generator
) -> None:
    sheets = np.clip(1.0 - np.abs(texture(space.axes, rng, scale_mm=16.0)) / 0.18, 0.0, 1.0)
    patches = smoothstep(texture(space.axes, rng, scale_mm=50.0) + finding.severity)
    outside = np.abs(space.x) > 0.97 * habitus.cage_half_width
    outside |= np.abs(space.y) > 0.97 * habitus.cage_half_depth
    wall = outside & (lungs.depth < -4.0) & (hu > -250.0) & (hu < 150.0)
    paint(hu, 0.9 * sheets * patches * wall, tissue.GAS_HU)


DRAW: dict[str, Draw] = {
    "lobar consolidation": _lobar_consolidation,
    "whole-lung consolidation": _whole_lung,
    "whole-lung collapse": _whole_lung,
    "lobar collapse": _lobar_collapse,
    "plate atelectasis": _plates,
    "dependent atelectasis": _dependent,
    "mass": _masses,
    "nodules": _masses,
    "hilar mass": _hilar_mass,
    "cavity": _cavities,
    "bullae": _bullae,
    "giant bulla": _giant_bulla,
    "subcutaneous emphysema": _subcutaneous,
}
