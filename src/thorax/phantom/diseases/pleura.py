"""Pleural disease and resected lungs: what is not lung although it is inside the rib cage."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from thorax.phantom.anatomy import SIDES, Habitus, body_outline
from thorax.phantom.diseases.findings import Finding, lost_volume_mm, pushed_mm
from thorax.phantom.diseases.regions import (
    ReshapedLungs,
    Site,
    hilum_centre,
    quantile,
    site_of,
    tissue_gain,
    whole_site,
)
from thorax.phantom.diseases.shift import herniate
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space, coverage, ellipsoid_depth, paint

AIR_HU = -995.0

GAS_HU = -970.0

SOFT_HU = -300.0
"""Density between air and fluid."""

FEWEST_VOXELS = 50
"""Smallest lung in which pleural disease is drawn."""

LARGE_EFFUSION = 0.85
"""Severity from which an effusion fills the whole hemithorax."""


@dataclass(frozen=True, eq=False)
class Pleura:
    """Lungs while pleural disease is drawn; all arrays are changed in place.

    Args:
        site: Both lungs.
        whole: The whole scan.
        compressed: See `ReshapedLungs`.
        line: See `ReshapedLungs`.
    """

    site: Site
    whole: Site
    compressed: Floats
    line: Floats

    def remove(
        self, side: str, depth: Floats, density: float | Floats, *, reach_mm: float, gain: float
    ) -> None:
        """Replace lung by a tissue wherever it is inside a surface, and compress the rest.

        Args:
            side: Lung that is changed.
            depth: Depth inside the tissue, mm.
            density: HU of the tissue.
            reach_mm: Distance over which the neighbouring lung is compressed.
            gain: Compression of all of the lung, 0 to 1, see `tissue_gain`.
        """
        site = self.site
        mine, around = site.lung(side), site.around(side)
        inside = np.minimum(np.where(around, depth, np.float32(-1e3)), site.depth + 2.0)
        paint(site.hu, coverage(inside, 1.0), density)
        # Compressed lung has no dark edge where it touches fluid or the wall.
        dense = around & ((depth <= 0) | (np.asarray(density) > SOFT_HU))
        squeezed = np.clip(1.0 + depth / reach_mm, gain, 1.0) * dense
        np.maximum(self.compressed, squeezed, out=self.compressed)
        removed = mine & (depth > 0)
        site.depth[around] = np.minimum(site.depth, -depth)[around]
        site.sides[removed] = 0


def reshape(
    hu: Floats,
    space: Space,
    habitus: Habitus,
    lungs: Lungs,
    findings: tuple[Finding, ...],
    rng: Generator,
) -> Lungs:
    """Draw pleural disease and resections in place, and return the remaining lungs."""
    drawn = [finding for finding in findings if finding.kind in DRAW]
    lungs = Lungs(lungs.depth.astype(np.float32), lungs.sides.copy())
    site = site_of(hu, space, habitus, lungs, rng) if drawn else None
    if site is None:
        return lungs
    compressed, line = (np.zeros(space.shape, np.float32) for _ in range(2))
    whole = whole_site(hu, space, habitus, lungs, rng)
    pleura = Pleura(site, whole, compressed[site.box], line[site.box])
    before = lungs.sides > 0
    for finding in drawn:
        for side in finding.sides:
            if np.count_nonzero(site.lung(side)) > FEWEST_VOXELS:
                DRAW[finding.kind](pleura, replace(finding, sides=(side,)))
    # The edge, which lung fills partly, is left as it is.
    removed = before & (lungs.sides == 0) & (lungs.depth < -space.pixel_mm)
    return ReshapedLungs(lungs.depth, lungs.sides, compressed, line, removed, hu[removed])


def _other(side: str) -> str:
    return "right" if side == "left" else "left"


def _fluid_hu(site: Site) -> float:
    low, high = (-5.0, 25.0) if site.rng.random() < 0.8 else (25.0, 65.0)
    return site.between(low, high)


def _fluid_depth(site: Site, side: str, share: float) -> Floats:
    """Compute the depth below the surface of free fluid that fills a share of a hemithorax."""
    # Fluid collects at the base, and rises along the pleura.
    height = site.height() + site.between(0.1, 0.5) * (site.at[2] - site.habitus.z(0.3))
    meniscus = site.between(4.0, 22.0) * np.exp(-np.clip(site.depth, 0.0, None) / 9.0)
    height = height - meniscus + 2.5 * site.texture(40.0)
    return quantile(height, site.lung(side), share) - height


def _from_hilum(site: Site, side: str) -> Floats:
    """Compute the distance from the hilum, with half of the distance along z, mm."""
    (right, front, up), (x, y, z) = site.at, hilum_centre(site.habitus, side)
    away: Floats = np.sqrt((right - x) ** 2 + (front - y) ** 2 + (0.5 * (up - z)) ** 2)
    return away + 3.0 * site.texture(25.0)


def _effusion(pleura: Pleura, finding: Finding) -> None:
    (side,), site, severity = finding.sides, pleura.site, finding.severity
    share = 0.01 + 0.85 * severity**2
    if severity > LARGE_EFFUSION:
        share = site.between(0.85, 0.995)
    _tension(pleura, finding)
    reach = site.between(4.0, 12.0) + 30.0 * severity * float(site.rng.random())
    gain = tissue_gain(1.0 - site.between(0.3, 1.0) * share)
    depth = _fluid_depth(site, side, share)
    if share > 0.4:
        # The collapsed lung stays at the hilum.
        depth = np.minimum(depth, _from_hilum(site, side) - site.between(12.0, 48.0))
    pleura.remove(side, depth, _fluid_hu(site), reach_mm=reach, gain=gain)


def _tension(pleura: Pleura, finding: Finding) -> None:
    """Extend a hemithorax across the midline, as the mediastinum is pushed away."""
    if pushed_mm(finding) > 8.0:
        herniate(pleura.site, finding.sides[0], pushed_mm(finding) - 4.0)


def _lens(site: Site, finding: Finding) -> Floats | None:
    centre = site.draw_point(finding.sides[0], level=finding.level, depth_mm=0.0)
    if centre is None:
        return None
    size = 18.0 + 55.0 * finding.severity
    x, y, z = (size * site.between(0.55, 1.1) for _ in range(3))
    thick = 1.0 + 3.0 * float(site.rng.random())
    # Flat along the pleura: a sphere that is cut by a surface parallel to the wall.
    ball = ellipsoid_depth(site.at, centre, (x, y, 1.2 * z))
    return np.minimum(ball, size / thick - site.depth + 0.3 * site.texture(30.0))


def _fissure(site: Site, finding: Finding) -> Floats | None:
    centre = site.draw_point(finding.sides[0], level=0.55)
    if centre is None:
        return None
    x, y, z = site.at
    habitus = site.habitus
    slope = 1.05 * (y + 0.75 * habitus.cage_half_depth)
    off = np.abs((z - habitus.z(0.74) + slope + 0.08 * np.abs(x)) * 0.69)
    size = 25.0 + 40.0 * finding.severity
    across = np.clip(1.0 - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / size**2, -1.0, 1.0)
    return (4.0 + 20.0 * finding.severity) * across - off


def _loculated(pleura: Pleura, finding: Finding) -> None:
    site = pleura.site
    depth = (_fissure if site.rng.random() < 0.25 else _lens)(site, finding)
    if depth is not None:
        reach = site.between(2.0, 14.0)
        pleura.remove(finding.sides[0], depth, _fluid_hu(site), reach_mm=reach, gain=0.0)


def _empyema(pleura: Pleura, finding: Finding) -> None:
    site, side = pleura.site, finding.sides[0]
    depth = _lens(site, replace(finding, severity=0.3 + 0.7 * finding.severity))
    if depth is None:
        return
    height, inside = site.height(), (depth > 0) & site.lung(side)
    if np.count_nonzero(inside) < FEWEST_VOXELS:
        return
    wall = coverage(2.5 - depth, 1.0)
    gas = height > quantile(height, inside, site.between(0.4, 0.9))
    bubbles = site.texture(6.0) > 1.3 if site.rng.random() < 0.3 else gas
    density = np.where(gas | bubbles, AIR_HU, site.between(8.0, 35.0))
    density = density + (55.0 - density) * wall
    pleura.remove(side, depth, density, reach_mm=site.between(3.0, 14.0), gain=0.0)


def _thickening(pleura: Pleura, finding: Finding) -> None:
    site = pleura.site
    extent = site.texture(70.0) + site.between(0.3, 1.2)
    thick = (2.5 + 24.0 * finding.severity**2) * np.clip(extent, 0.0, 1.0)
    density: float | Floats = site.between(25.0, 70.0)
    if site.rng.random() < 0.3:
        shell = coverage(3.0 - np.abs(thick - site.depth - 2.0), 1.0) * (site.texture(15.0) > 0)
        density = density + site.between(150.0, 600.0) * shell
    pleura.remove(finding.sides[0], thick - site.depth, density, reach_mm=4.0, gain=0.0)


def _plaques(pleura: Pleura, finding: Finding) -> None:
    site = pleura.site
    patches = site.texture(22.0) - 0.7
    thick = (5.0 + 7.0 * finding.severity) * np.clip(patches, 0.0, 0.8)
    density = float(site.rng.choice([60.0, 350.0, 700.0]))
    pleura.remove(finding.sides[0], thick - site.depth, density, reach_mm=2.0, gain=0.0)


def _pneumothorax_depth(site: Site, finding: Finding) -> Floats:
    """Compute the depth inside the air: more where it is high, nothing near the hilum."""
    side, severity = finding.sides[0], finding.severity
    mine = site.lung(side)
    height = site.height() + site.between(0.0, 0.4) * (site.at[2] - site.habitus.z(0.5))
    low, high = (quantile(height, mine, share) for share in (0.05, 0.98))
    up = np.clip((height - low) / max(high - low, 1.0), 0.0, 1.0)
    least = 0.1 + 0.8 * severity**2
    most = quantile(site.depth, mine, 0.995)
    retracted = most * (0.06 + 0.95 * severity**1.5) * (least + (1.0 - least) * up)
    retracted = retracted * (1.0 + 0.15 * site.texture(50.0))
    away = _from_hilum(site, side) - site.between(30.0, 58.0)
    return np.minimum(retracted - site.depth, away)


def _draw_pneumothorax(pleura: Pleura, finding: Finding, depth: Floats, hu: float | Floats) -> None:
    site, mine = pleura.site, pleura.site.lung(finding.sides[0])
    air = np.clip(1.0 - np.abs(depth) / site.pixel_mm, 0.0, 1.0) * site.around(finding.sides[0])
    np.maximum(pleura.line, site.between(0.1, 0.35) * air, out=pleura.line)
    share = np.count_nonzero(mine & (depth > 0)) / np.count_nonzero(mine)
    gain = tissue_gain(1.0 - site.between(0.5, 1.0) * share)
    reach = site.between(1.0, 6.0)
    pleura.remove(finding.sides[0], depth, hu, reach_mm=reach, gain=gain)


def _pneumothorax(pleura: Pleura, finding: Finding) -> None:
    _tension(pleura, finding)
    _draw_pneumothorax(pleura, finding, _pneumothorax_depth(pleura.site, finding), AIR_HU)


def _hydropneumothorax(pleura: Pleura, finding: Finding) -> None:
    site = pleura.site
    _tension(pleura, finding)
    finding = replace(finding, severity=0.25 + 0.75 * finding.severity)
    depth = _pneumothorax_depth(site, finding)
    height = site.height()
    level = quantile(height, site.lung(finding.sides[0]), site.between(0.1, 0.5))
    # Fluid is all around the lung, also where air is too little to part it from the wall.
    fluid = np.minimum(level - height, 12.0 + 60.0 * finding.severity - site.depth)
    density = np.where(height < level, _fluid_hu(site), AIR_HU)
    _draw_pneumothorax(pleura, finding, np.maximum(depth, fluid), density)


def _pneumonectomy(pleura: Pleura, finding: Finding) -> None:
    site, side = pleura.site, finding.sides[0]
    density = site.between(5.0, 45.0) + 10.0 * site.texture(20.0)
    if site.rng.random() < 0.25:
        height = site.height()
        level = quantile(height, site.lung(side), site.between(0.3, 0.9))
        density = np.where(height > level, AIR_HU, density)
    gone = np.full(site.depth.shape, 60.0, np.float32)
    pleura.remove(side, gone, density, reach_mm=1.0, gain=0.0)
    herniate(site, _other(side), lost_volume_mm(finding))


def _lost_volume(pleura: Pleura, finding: Finding) -> None:
    reach = lost_volume_mm(finding) - 10.0
    if reach > 0.0:
        herniate(pleura.site, _other(finding.sides[0]), reach)


def _subcutaneous_air(pleura: Pleura, finding: Finding) -> None:
    space, habitus = pleura.site.space, pleura.site.habitus
    corners = [(x, y, habitus.z(0.65)) for x in (-260.0, 260.0) for y in (-220.0, 220.0)]
    wide = space.box_around(*corners, margin_mm=0.4 * habitus.lung_height)
    outline, part = body_outline(space, habitus), pleura.whole.crop(wide)
    layer = np.minimum(outline.skin[wide] - 3.0, -7.0 - outline.cage[wide])
    layer = np.minimum(layer, part.at[0] * SIDES[finding.sides[0]] + 30.0)
    streaks = part.texture(9.0) + 0.8 * part.texture(45.0) - 1.9 + 1.7 * finding.severity
    inside = coverage(np.minimum(layer, 4.0 * streaks), part.pixel_mm)
    paint(part.hu, inside * ((part.hu < 180.0) & (part.hu > -300.0)), GAS_HU)


def _mediastinal_air(pleura: Pleura, finding: Finding) -> None:
    site = pleura.site
    free = (site.sides == 0) & (site.depth < -1.5 * site.pixel_mm) & (np.abs(site.at[0]) < 60.0)
    streaks = site.texture(11.0) - 1.1 + finding.severity
    inside = coverage(np.minimum(5.0 * streaks, site.at[2] - site.habitus.dome), site.pixel_mm)
    paint(site.hu, inside * free * (site.hu < -60.0), GAS_HU)


Draw = Callable[[Pleura, Finding], None]

DRAW: dict[str, Draw] = {
    "pleural effusion": _effusion,
    "loculated effusion": _loculated,
    "empyema with gas": _empyema,
    "pleural thickening": _thickening,
    "pleural plaques": _plaques,
    "pneumothorax": _pneumothorax,
    "hydropneumothorax": _hydropneumothorax,
    "pneumonectomy": _pneumonectomy,
    "lobectomy": _lost_volume,
    "whole-lung collapse": _lost_volume,
    "subcutaneous emphysema": _subcutaneous_air,
    "pneumomediastinum": _mediastinal_air,
}
