"""Ground-glass and consolidation: diffuse patches, mostly low, dorsal and at the pleura."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from thorax.phantom.anatomy import Habitus
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Box, Floats, Point, Space, paint, smoothstep, texture

SHARES = ((0.0, 0.0), (0.015, 0.045), (0.05, 0.14), (0.15, 0.34))
"""Infected share of the lungs: without disease, in mild, moderate and severe disease."""

SHARE_CHANCES = (0.12, 0.2, 0.45, 0.23)

MOST_LESIONS = 60

SMALLEST_PATCH_ML = 0.8

VISIBLE_COVERAGE = 0.4
"""Smallest coverage of ground-glass that a reader would outline."""

_IN_PLANE = ndimage.generate_binary_structure(2, 1)[:, :, None]


@dataclass(frozen=True)
class Burden:
    """Severity of the disease of a patient.

    Args:
        share: Share of the lungs to be infected, 0 for a healthy case.
        size_mm: Typical radius of a lesion.
        consolidated: Mean consolidated share of a lesion, 0 to 1.
        glass_hu: Density of pure ground-glass.
        solid_hu: Density of consolidation.
    """

    share: float
    size_mm: float
    consolidated: float
    glass_hu: float
    solid_hu: float


@dataclass(frozen=True)
class Lesion:
    """One lesion: position, size, depth below the pleura, and consolidated share."""

    centre: Point
    radii: Point
    reach_mm: float
    solid: float


@dataclass(frozen=True, eq=False)
class Infection:
    """Coverage of ground-glass and of consolidation, and the mask that a reader would draw."""

    glass: Floats
    solid: Floats
    mask: NDArray[np.bool_]

    @property
    def consolidated(self) -> NDArray[np.bool_]:
        """Voxels of the mask that are visibly consolidated; the others are ground-glass."""
        return self.mask & (self.solid > VISIBLE_COVERAGE)


def draw_burden(rng: Generator) -> Burden:
    """Draw a random severity: none, mild, moderate or severe."""
    low, high = SHARES[int(rng.choice(len(SHARES), p=SHARE_CHANCES))]
    share = float(rng.uniform(low, high))
    return Burden(
        share=share,
        size_mm=float(rng.uniform(13.0, 22.0) + 30.0 * share),
        consolidated=float(rng.beta(1.8, 2.0)),
        glass_hu=float(rng.uniform(-600.0, -440.0)),
        solid_hu=float(rng.uniform(-25.0, 45.0)),
    )


def place_lesions(
    space: Space, habitus: Habitus, lungs: Lungs, burden: Burden, *, rng: Generator
) -> Infection:
    """Place lesions until the share of infected lung is reached."""
    glass = np.zeros(space.shape, dtype=np.float32)
    solid = np.zeros(space.shape, dtype=np.float32)
    target = burden.share * float(np.count_nonzero(lungs.sides))
    fray = 0.85 * texture(space.axes, rng, scale_mm=18.0)
    fray += 0.45 * texture(space.axes, rng, scale_mm=8.0)
    sites = _draw_sites(space, habitus, lungs, rng) if lungs.sides.any() else []
    for centre in sites if target else []:
        lesion = _draw_lesion(centre, burden, rng)
        box = space.box_around(centre, margin_mm=1.7 * max(lesion.radii))
        _add_lesion(lesion, space, box, (glass, solid, fray, lungs.depth))
        if np.count_nonzero(glass > VISIBLE_COVERAGE) >= target:
            break
    visible = ((glass > VISIBLE_COVERAGE) | (solid > VISIBLE_COVERAGE)) & (lungs.sides > 0)
    return Infection(glass, solid, _reader_mask(visible, space, lungs))


def _draw_sites(space: Space, habitus: Habitus, lungs: Lungs, rng: Generator) -> list[Point]:
    inside = np.argwhere(lungs.sides > 0)
    i, j, k = inside[rng.integers(0, len(inside), 4000)].T
    x, y, z = space.x[i, j, k], space.y[i, j, k], space.z[0, 0, k]
    weight = np.exp(-y / (0.45 * habitus.cage_half_depth)) * np.exp(-1.6 * z / habitus.lung_height)
    weight *= np.exp(-lungs.depth[i, j, k] / 9.0)
    chance = weight.astype(np.float64)
    picked = rng.choice(len(i), MOST_LESIONS, replace=False, p=chance / chance.sum())
    return [(float(x[n]), float(y[n]), float(z[n])) for n in picked]


def _draw_lesion(centre: Point, burden: Burden, rng: Generator) -> Lesion:
    radius = burden.size_mm * float(rng.lognormal(0.0, 0.3))
    rx, ry, rz = (radius * float(s) for s in rng.uniform(0.75, 1.3, 3))
    return Lesion(
        centre=centre,
        radii=(rx, ry, max(rz, 10.0)),
        reach_mm=float(rng.uniform(0.7, 2.2)) * radius,
        solid=float(np.clip(rng.normal(burden.consolidated, 0.25), 0.0, 0.95)),
    )


def _add_lesion(lesion: Lesion, space: Space, box: Box, fields: tuple[Floats, ...]) -> None:
    glass, solid, fray, depth = (field[box] for field in fields)
    square = sum(
        ((c - m) / r) ** 2
        for c, m, r in zip(space.at(box), lesion.centre, lesion.radii, strict=True)
    )
    core = 1.0 - np.sqrt(square)
    core = np.minimum(core, 0.9 * (1.0 - depth / lesion.reach_mm)) + 0.17 * fray
    inside = (depth > 0).astype(np.float32)
    np.maximum(glass, smoothstep(core / 0.3 + 0.4) * inside, out=glass)
    if lesion.solid > 0.15:
        solid_core = core - 0.75 * (1.0 - lesion.solid) + 0.15 * (fray - depth / 20.0)
        # One voxel beyond the pleura: otherwise a rim of air separates it from the chest wall.
        filled = smoothstep(solid_core / 0.16) * (depth > -space.pixel_mm)
        np.maximum(solid, filled, out=solid)


def _reader_mask(visible: NDArray[np.bool_], space: Space, lungs: Lungs) -> NDArray[np.bool_]:
    # A reader outlines whole patches, without small gaps and without small spots.
    whole = ndimage.binary_closing(visible, _IN_PLANE, iterations=2) & (lungs.sides > 0)
    patches, _ = ndimage.label(ndimage.binary_opening(whole, _IN_PLANE))
    voxel_ml = space.pixel_mm**2 * space.slice_mm / 1000.0
    large = np.bincount(patches.ravel()) * voxel_ml >= SMALLEST_PATCH_ML
    large[0] = False
    outlined: NDArray[np.bool_] = large[patches]
    return outlined


def draw_ground_glass(
    hu: Floats, space: Space, infection: Infection, burden: Burden, *, rng: Generator
) -> None:
    """Draw ground-glass with patchy and reticular texture, in place."""
    patches = texture(space.axes, rng, scale_mm=10.0)
    lines = np.clip(1.0 - np.abs(texture(space.axes, rng, scale_mm=6.0)) / 0.35, 0.0, 1.0)
    density = burden.glass_hu + 55.0 * patches + 90.0 * lines
    paint(hu, infection.glass, density)


def draw_consolidation(
    hu: Floats, space: Space, infection: Infection, burden: Burden, *, rng: Generator
) -> None:
    """Draw consolidation, in which vessels are not visible, in place."""
    density = burden.solid_hu + 18.0 * texture(space.axes, rng, scale_mm=8.0)
    paint(hu, infection.solid, density)
