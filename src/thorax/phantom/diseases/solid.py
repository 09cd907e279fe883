"""Diseases that replace lung and hide vessels: tumours, cavities, bullae, collapse."""

from collections.abc import Callable

import numpy as np

from thorax.phantom.anatomy import SIDES
from thorax.phantom.diseases.findings import Finding
from thorax.phantom.diseases.regions import Site, hilum_centre, lobe_depth, quantile, tissue_gain
from thorax.phantom.mediastinum import Tube
from thorax.phantom.space import Floats, Point, capsule_depth, coverage, ellipsoid_depth, paint

LARGEST_MM = 50.0
"""Largest radius of a mass."""


def draw(site: Site, finding: Finding) -> None:
    """Draw one disease, in place, if it hides vessels."""
    if change := DRAW.get(finding.kind):
        for side in finding.sides:
            if site.lung(side).any():
                change(site, finding, side)


def _lump(site: Site, centre: Point, radius: float, *, lobulated: float) -> tuple[Site, Floats]:
    """Return the surroundings of a lump, and the depth inside it, mm."""
    part = site.near(centre, margin_mm=1.5 * radius + 6.0)
    x, y, z = (radius * site.between(0.8, 1.2) for _ in range(3))
    depth = ellipsoid_depth(part.at, centre, (x, y, z))
    return part, depth + lobulated * radius * part.texture(max(0.7 * radius, 4.0))


def _tissue_hu(part: Site, radius: float) -> Floats:
    enhanced = part.between(20.0, 60.0) + (40.0 if part.rng.random() < 0.3 else 0.0)
    return enhanced + 12.0 * part.texture(max(0.4 * radius, 4.0))


def _tumour(site: Site, centre: Point, radius: float) -> None:
    lobulated = site.between(0.03, 0.25)
    part, depth = _lump(site, centre, radius, lobulated=lobulated)
    density = _tissue_hu(part, radius)
    if radius > 15.0 and site.rng.random() < 0.4:
        density = density - 25.0 * coverage(depth - 0.4 * radius, 0.2 * radius)
    if site.rng.random() < 0.2:
        density = density + site.between(150.0, 600.0) * coverage(part.texture(5.0) - 1.0, 0.4)
    soft = site.between(4.0, 14.0) if site.rng.random() < 0.2 else 0.0
    part.fill(depth, density, soft_mm=soft)
    if site.rng.random() < 0.4:
        _spicules(site, centre, radius)


def _spicules(site: Site, centre: Point, radius: float) -> None:
    for _ in range(int(site.rng.integers(6, 20))):
        way = site.rng.standard_normal(3)
        way *= radius * site.between(1.3, 2.2) / float(np.linalg.norm(way))
        end = (centre[0] + way[0], centre[1] + way[1], centre[2] + way[2])
        _tube(site, Tube(centre, end, (1.8, 0.4)), -50.0)


def _tube(site: Site, tube: Tube, density: float) -> None:
    part = site.near(tube.start, tube.end, margin_mm=max(tube.radii) + site.pixel_mm)
    part.fill(capsule_depth(part.at, tube.start, tube.end, tube.radii), density)


def _mass(site: Site, finding: Finding, side: str) -> None:
    depth_mm = (0.0, 4.0, 30.0)[int(site.rng.integers(3))]
    level = 1.0 if site.rng.random() < 0.2 else finding.level
    centre = site.draw_point(side, level=level, depth_mm=depth_mm)
    if centre is not None:
        _tumour(site, centre, 12.0 + (LARGEST_MM - 12.0) * finding.severity**1.3)


def _hilar_mass(site: Site, finding: Finding, side: str) -> None:
    x, y, z = hilum_centre(site.habitus, side)
    radius = 12.0 + 34.0 * finding.severity
    x += SIDES[side] * 0.2 * radius
    _tumour(site, (x, y + site.between(-8.0, 8.0), z + site.between(-25.0, 15.0)), radius)


def _nodules(site: Site, finding: Finding, side: str) -> None:
    calcified = site.rng.random() < 0.2
    for _ in range(int(2 + 24.0 * finding.severity**2 * float(site.rng.random()))):
        centre = site.draw_point(side)
        if centre is None:
            return
        radius = float(np.exp(site.between(np.log(2.0), np.log(15.0))))
        part, depth = _lump(site, centre, radius, lobulated=0.05)
        density = site.between(200.0, 800.0) if calcified else _tissue_hu(part, radius)
        part.fill(depth, density)


def _cavity(site: Site, finding: Finding, side: str) -> None:
    centre = site.draw_point(side, level=finding.level, depth_mm=site.between(2.0, 30.0))
    if centre is None:
        return
    radius = 7.0 + 38.0 * finding.severity
    part, depth = _lump(site, centre, radius, lobulated=0.06)
    part.fill(depth, _tissue_hu(part, radius))
    hollow = depth - radius * site.between(0.12, 0.5)
    if radius > 10.0 and site.rng.random() < 0.4:
        level = site.between(-0.6, 0.4) * radius
        right, front = site.space.down
        height = -(right * (part.at[0] - centre[0]) + front * (part.at[1] - centre[1]))
        hollow = np.minimum(hollow, height - level)
    part.open(hollow, site.between(-995.0, -930.0))


def _bullae(site: Site, finding: Finding, side: str) -> None:
    for _ in range(int(1 + 9.0 * finding.severity * float(site.rng.random()))):
        level = site.between(0.6, 1.0) if site.rng.random() < 0.7 else None
        centre = site.draw_point(side, level=level, depth_mm=site.between(0.0, 10.0))
        if centre is None:
            return
        radius = site.between(6.0, 12.0 + 30.0 * finding.severity)
        part, depth = _lump(site, centre, radius, lobulated=0.05)
        _hollow(part, depth, side)


def _hollow(part: Site, depth: Floats, side: str) -> None:
    """Draw a thin wall and the air inside it."""
    wall = np.clip(1.0 - np.abs(depth) / part.pixel_mm, 0.0, 1.0) * part.lung(side)
    part.open(depth, part.between(-1000.0, -972.0))
    paint(part.hu, part.between(0.1, 0.3) * wall, 0.0)


def _giant_bulla(site: Site, finding: Finding, side: str) -> None:
    mine = site.lung(side)
    level = 0.95 if site.rng.random() < 0.65 else site.between(0.1, 0.6)
    centre = site.draw_point(side, level=level, depth_mm=8.0)
    if centre is None:
        return
    sizes = [60.0 * site.between(0.8, 1.3) for _ in range(3)]
    square = sum(((c - m) / s) ** 2 for c, m, s in zip(site.at, centre, sizes, strict=True))
    away = 60.0 * np.sqrt(square) + 3.0 * site.texture(40.0)
    share = 0.34 + 0.6 * finding.severity
    depth = quantile(away, mine, share) - away
    gain = tissue_gain(1.0 - site.between(0.3, 0.9) * share)
    squeezed = np.clip(1.0 + depth / site.between(3.0, 14.0), gain, 1.0)
    paint(site.hu, squeezed * (site.around(side) & (site.depth > -site.pixel_mm)), 10.0)
    _hollow(site, np.where(site.around(side), depth, np.float32(-100.0)), side)
    septa = np.clip(1.0 - np.abs(site.texture(55.0)) / 0.06, 0.0, 1.0) * (depth > 0) * mine
    paint(site.hu, site.between(0.0, 0.25) * septa, 0.0)


def _lobar_collapse(site: Site, finding: Finding, side: str) -> None:
    lobe = lobe_depth(site, "upper" if site.rng.random() < 0.5 else "lower")
    # The fissure moves towards the collapsed lobe, and the hilum stays where it is.
    x, y, z = hilum_centre(site.habitus, side)
    away = np.sqrt((site.at[0] - x) ** 2 + (site.at[1] - y) ** 2 + (0.6 * (site.at[2] - z)) ** 2)
    inside = lobe - (10.0 + 40.0 * finding.severity) * np.clip(away / 90.0, 0.0, 1.2)
    inside = inside + 2.0 * site.texture(30.0)
    part = np.where(site.around(side), inside, np.float32(-100.0))
    site.fill(part, site.between(15.0, 75.0) + 10.0 * site.texture(9.0))


def _plates(site: Site, finding: Finding, side: str) -> None:
    for _ in range(1 + int(3.0 * finding.severity)):
        centre = site.draw_point(side, level=site.between(0.1, 0.5), depth_mm=12.0)
        if centre is None:
            return
        tilt = site.rng.normal(0.0, 0.35, 2)
        size = site.between(20.0, 60.0)
        part = site.near(centre, margin_mm=size)
        x, y, z = (c - m for c, m in zip(part.at, centre, strict=True))
        off = np.abs(z + tilt[0] * x + tilt[1] * y + 1.5 * part.texture(20.0))
        thick = 1.5 + 5.0 * finding.severity
        edge = 0.3 * (size - np.sqrt(x**2 + y**2 + z**2))
        inside = np.minimum(thick - off, edge)
        part.fill(np.where(part.around(side), inside, np.float32(-100.0)), 20.0)


def _round_atelectasis(site: Site, finding: Finding, side: str) -> None:
    centre = site.draw_point(side, level=site.between(0.1, 0.5), depth_mm=4.0)
    if centre is None:
        return
    radius = 12.0 + 22.0 * finding.severity
    part, depth = _lump(site, centre, radius, lobulated=0.03)
    part.fill(depth, _tissue_hu(part, radius))
    hilum = hilum_centre(site.habitus, side)
    for _ in range(6):
        # Vessels and bronchi curve into it like the tail of a comet.
        shift = site.rng.normal(0.0, 0.6 * radius, 3)
        middle = tuple(
            float(0.6 * c + 0.4 * h + s) for c, h, s in zip(centre, hilum, shift, strict=True)
        )
        bend = (middle[0], middle[1], middle[2])
        _tube(site, Tube(centre, bend, (3.0, 2.0)), 30.0)
        _tube(site, Tube(bend, hilum, (2.0, 3.0)), 30.0)


def _bronchiectasis(site: Site, finding: Finding, side: str) -> None:
    hilum = hilum_centre(site.habitus, side)
    mucus = site.between(0.0, 0.4)
    for _ in range(int(6 + 30.0 * finding.severity)):
        level = site.between(0.05, 0.5) if site.rng.random() < 0.7 else None
        end = site.draw_point(side, level=level, depth_mm=site.between(4.0, 30.0))
        if end is None:
            return
        share = site.between(0.15, 0.6)
        x, y, z = (share * h + (1.0 - share) * e for h, e in zip(hilum, end, strict=True))
        radius = 1.5 + (1.0 + 5.0 * finding.severity) * float(site.rng.random())
        tube = Tube((x, y, z), end, (radius, radius * site.between(0.7, 1.4)))
        _bronchus(site, tube, filled=site.rng.random() < mucus)


def _bronchus(site: Site, tube: Tube, *, filled: bool) -> None:
    wall = site.between(1.0, 2.5)
    part = site.near(tube.start, tube.end, margin_mm=max(tube.radii) + wall + site.pixel_mm)
    depth = capsule_depth(part.at, tube.start, tube.end, tube.radii)
    part.fill(depth + wall, -20.0)
    if not filled:
        part.open(depth, -970.0)


Draw = Callable[[Site, Finding, str], None]

DRAW: dict[str, Draw] = {
    "giant bulla": _giant_bulla,
    "bullae": _bullae,
    "bronchiectasis": _bronchiectasis,
    "lobar collapse": _lobar_collapse,
    "plate atelectasis": _plates,
    "round atelectasis": _round_atelectasis,
    "mass": _mass,
    "hilar mass": _hilar_mass,
    "nodules": _nodules,
    "cavity": _cavity,
}
