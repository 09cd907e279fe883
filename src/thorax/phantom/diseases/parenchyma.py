"""Diseases that vessels run through: emphysema, fibrosis, ground glass, consolidation."""

from collections.abc import Callable

import numpy as np

from thorax.phantom.diseases.findings import Finding
from thorax.phantom.diseases.regions import ReshapedLungs, Site, lobe_depth, quantile
from thorax.phantom.space import Floats, coverage, paint, smoothstep


def draw(site: Site, finding: Finding) -> None:
    """Draw one disease, in place, if vessels run through it."""
    if change := DRAW.get(finding.kind):
        for side in finding.sides:
            if site.lung(side).any():
                change(site, finding, side)


def draw_compression(site: Site, lungs: ReshapedLungs) -> None:
    """Draw lung that fluid or air compresses, and the pleura between lung and air, in place."""
    solid = lungs.compressed[site.box] * (site.depth > -site.pixel_mm)
    enhanced = site.between(20.0, 60.0) if site.rng.random() < 0.35 else 0.0
    paint(site.hu, solid, site.between(10.0, 60.0) + enhanced + 15.0 * site.texture(9.0))
    paint(site.hu, lungs.line[site.box], 20.0)


def _apply(site: Site, weight: Floats, side: str, density: float | Floats) -> None:
    """Paint a weight from 0 to 1 on one lung, with the voxels at its edge."""
    paint(site.hu, weight * (site.around(side) & (site.depth > -site.pixel_mm)), density)


def _open(site: Site, weight: Floats, side: str, density: float | Floats) -> None:
    paint(site.hu, weight * (site.lung(side) & (site.depth > site.habitus.variant.rim)), density)


def _lines(field: Floats, width: float) -> Floats:
    lines: Floats = np.clip(1.0 - np.abs(field) / width, 0.0, 1.0)
    return lines


def _centrilobular(site: Site, finding: Finding, side: str) -> None:
    holes = site.texture(site.between(4.0, 8.0)) + 0.4 * site.texture(40.0)
    # Upper lobes have more holes than lower ones.
    holes = holes + site.between(0.0, 1.8) * (site.level() - 0.6)
    mine = site.lung(side)
    least = quantile(holes, mine, 1.0 - (0.04 + 0.5 * finding.severity))
    _open(site, coverage(holes - least, 0.5), side, site.between(-995.0, -955.0))


def _paraseptal(site: Site, finding: Finding, side: str) -> None:
    size = site.between(7.0, 15.0)
    cells = site.texture(size)
    band = coverage(size * (0.7 + 1.6 * finding.severity) - site.depth, 3.0)
    band = band * coverage(site.level() + 0.25 * site.texture(40.0) - 0.75 + finding.severity, 0.15)
    _open(site, band * coverage(np.abs(cells) - 0.15, 0.25), side, site.between(-995.0, -960.0))
    _open(site, 0.5 * band * _lines(cells, 0.25), side, -650.0)


def _panlobular(site: Site, finding: Finding, side: str) -> None:
    patches = coverage(site.texture(25.0) + 1.6 * finding.severity - 0.6, 0.8)
    _open(site, 0.7 * patches, side, site.between(-985.0, -960.0))
    _open(site, 0.25 * _lines(site.texture(28.0), 0.08), side, -500.0)


def _at_risk(site: Site, finding: Finding, side: str) -> Floats:
    """Compute where fibrosis is: at the pleura and at the base, the more severe the farther."""
    farther = 8.0 * site.texture(22.0)
    reach = 8.0 + 60.0 * finding.severity**1.5 + farther
    edge = coverage(reach * (1.25 - 0.8 * site.level()) - site.depth, 8.0)
    return edge * site.lung(side)


def _fibrosis(site: Site, finding: Finding, side: str) -> None:
    weight = _at_risk(site, finding, side)
    glass = site.between(-720.0, -480.0) + 60.0 * site.texture(9.0)
    _apply(site, site.between(0.3, 0.9) * weight, side, glass)
    network = np.maximum(_lines(site.texture(6.0), 0.25), 0.8 * _lines(site.texture(10.0), 0.15))
    _apply(site, weight * network, side, site.between(-450.0, -100.0))
    tubes = coverage(site.texture(5.0) - 1.5, 0.4)
    _open(site, weight * tubes, side, -930.0)


def _honeycombing(site: Site, finding: Finding, side: str) -> None:
    weight = _at_risk(site, finding, side)
    _apply(site, 0.9 * weight, side, site.between(-420.0, -80.0))
    cells = site.texture(site.between(4.5, 9.0))
    holes = coverage(np.abs(cells) - site.between(0.25, 0.5), 0.35)
    _open(site, 0.95 * weight * holes, side, site.between(-970.0, -880.0))


def _extent(site: Site, finding: Finding, side: str) -> Floats:
    """Draw large areas with a sharp or a blurred edge that fill a share of a lung."""
    field = site.texture(40.0) + 0.5 * site.texture(12.0)
    field = field + site.between(-0.08, 0.08) * site.depth
    field = field - site.between(0.0, 0.02) * site.height()
    least = quantile(field, site.lung(side), 1.0 - (0.06 + 0.92 * finding.severity))
    return smoothstep((field - least) / site.between(0.1, 1.0) + 0.5)


def _ground_glass(site: Site, finding: Finding, side: str) -> None:
    density = site.between(-720.0, -330.0) + 40.0 * site.texture(10.0)
    _apply(site, _extent(site, finding, side), side, density)


def _crazy_paving(site: Site, finding: Finding, side: str) -> None:
    weight = _extent(site, finding, side)
    _apply(site, weight, side, site.between(-680.0, -420.0))
    network = np.maximum(_lines(site.texture(8.0), 0.18), _lines(site.texture(11.0), 0.14))
    _apply(site, weight * network, side, site.between(-300.0, -50.0))


def _mosaic(site: Site, finding: Finding, side: str) -> None:
    mine = site.lung(side) & (site.depth > 0.5 * site.pixel_mm)
    areas = coverage(site.texture(site.between(14.0, 30.0)) + 0.3 * site.texture(6.0), 0.15)
    contrast = 50.0 + 170.0 * finding.severity
    np.add(site.hu, contrast * (areas - 0.3) * mine, out=site.hu)


def _miliary(site: Site, finding: Finding, side: str) -> None:
    dots = site.texture(site.between(3.0, 4.5))
    least = 2.35 - 0.9 * finding.severity
    _apply(site, coverage(dots - least, 0.5), side, site.between(-300.0, 60.0))


def _lobar_consolidation(site: Site, finding: Finding, side: str) -> None:
    lobes = ("upper", "middle", "lower") if side == "right" else ("upper", "lower")
    lobe = lobe_depth(site, str(site.rng.choice(lobes)))
    fray = 0.0 if finding.severity > 0.6 else 14.0 * (1.0 - finding.severity)
    inside = lobe + fray * site.texture(18.0)
    whole = lobe[site.lung(side)]
    if finding.severity < 0.6 and (whole > 0).any():
        # A part of the lobe, next to the pleura.
        inside = np.minimum(inside, 12.0 + 90.0 * finding.severity - site.depth)
    _consolidate(site, coverage(inside, 3.0), side)


def _consolidate(site: Site, weight: Floats, side: str) -> None:
    density = site.between(-10.0, 70.0) + 14.0 * site.texture(9.0)
    aerated = 0.6 * coverage(site.texture(14.0) - site.between(0.8, 3.0), 0.6)
    _apply(site, weight * (1.0 - aerated), side, density)


def _whole_consolidation(site: Site, finding: Finding, side: str) -> None:
    field = 0.6 * site.texture(30.0) + 0.3 * site.texture(10.0)
    mine = site.lung(side)
    least = quantile(field, mine, 0.5 * (1.0 - finding.severity)) - 0.5 * finding.severity
    _consolidate(site, coverage(field - least, 0.25), side)


def _whole_collapse(site: Site, finding: Finding, side: str) -> None:
    _consolidate(site, np.ones_like(site.depth), side)


def _dependent_atelectasis(site: Site, finding: Finding, side: str) -> None:
    height, mine = site.height() + 3.0 * site.texture(25.0), site.lung(side)
    thick = 4.0 + 75.0 * finding.severity**1.5
    top = quantile(height, mine, 0.01) + thick
    soft = site.between(4.0, 40.0)
    weight = smoothstep((top - height) / soft + 0.3)
    _apply(site, weight, side, site.between(-150.0, 50.0))


Draw = Callable[[Site, Finding, str], None]

DRAW: dict[str, Draw] = {
    "centrilobular emphysema": _centrilobular,
    "paraseptal emphysema": _paraseptal,
    "panlobular emphysema": _panlobular,
    "fibrosis": _fibrosis,
    "honeycombing": _honeycombing,
    "ground glass": _ground_glass,
    "crazy paving": _crazy_paving,
    "mosaic attenuation": _mosaic,
    "miliary nodules": _miliary,
    "lobar consolidation": _lobar_consolidation,
    "whole-lung consolidation": _whole_consolidation,
    "whole-lung collapse": _whole_collapse,
    "dependent atelectasis": _dependent_atelectasis,
}
