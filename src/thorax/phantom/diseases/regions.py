"""Parts of the lungs in which diseases are drawn."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from thorax.phantom.anatomy import SIDES, Habitus
from thorax.phantom.lungs import LEFT, RIGHT, Lungs
from thorax.phantom.space import Box, Floats, Point, Space, coverage, paint, texture

LABELS = {"left": LEFT, "right": RIGHT}

TISSUE_SHARE = 0.15
"""Share of inflated lung that is tissue and blood; the rest is air."""

MARGIN_MM = 25.0
"""Margin of the box around both lungs, into which a lung can be extended."""

CANDIDATES = 60

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Site:
    """A box of the scan in which a disease is drawn; all arrays are views of the scan.

    Args:
        hu: Density.
        at: Body x, y and z, mm.
        depth: Depth below the pleura, mm.
        sides: 0, ``LEFT`` or ``RIGHT``.
        box: Position of the arrays in the scan.
        space: Positions of all voxels.
        habitus: The patient.
        rng: Source of shapes and densities.
    """

    hu: Floats
    at: tuple[Floats, Floats, Floats]
    depth: Floats
    sides: NDArray[np.uint8]
    box: Box
    space: Space
    habitus: Habitus
    rng: Generator

    @property
    def pixel_mm(self) -> float:
        """Distance between neighbouring voxels within a plane."""
        return self.space.pixel_mm

    def between(self, low: float, high: float) -> float:
        """Draw a number from a range."""
        return float(self.rng.uniform(low, high))

    def lung(self, side: str) -> Mask:
        """Return the voxels of one lung."""
        mask: Mask = self.sides == LABELS[side]
        return mask

    def around(self, side: str) -> Mask:
        """Return the voxels of one lung, and those that its edge fills partly."""
        edge = (self.sides == 0) & (self.depth > -2.0 * self.pixel_mm)
        return self.lung(side) | (edge & (self.at[0] * SIDES[side] > 0))

    def texture(self, scale_mm: float) -> Floats:
        """Draw a smooth random field, see `space.texture`."""
        x, y, z = (axis[part] for axis, part in zip(self.space.axes, self.box, strict=True))
        return texture((x, y, z), self.rng, scale_mm=scale_mm)

    def height(self) -> Floats:
        """Compute the height of each voxel against gravity, mm."""
        right, front = self.space.down
        height: Floats = -(right * self.at[0] + front * self.at[1])
        return height

    def level(self) -> Floats:
        """Compute the level of each plane: 0 at the lowest pleura, 1 at the apex."""
        level: Floats = self.at[2] / self.habitus.lung_height
        return level

    def near(self, *points: Point, margin_mm: float) -> "Site":
        """Return the part of the site around some points."""
        wide = self.space.box_around(*points, margin_mm=margin_mm)
        x, y, z = (
            slice(
                min(max(outer.start, own.start), own.stop) - own.start,
                min(max(outer.stop, own.start), own.stop) - own.start,
            )
            for outer, own in zip(wide, self.box, strict=True)
        )
        return self.crop((x, y, z))

    def crop(self, part: Box) -> "Site":
        """Return a part of the site, given relative to its box."""
        x, y, z = (
            slice(own.start + inner.start, own.start + inner.stop)
            for own, inner in zip(self.box, part, strict=True)
        )
        return replace(
            self,
            hu=self.hu[part],
            at=(self.at[0][part], self.at[1][part], self.at[2][:, :, part[2]]),
            depth=self.depth[part],
            sides=self.sides[part],
            box=(x, y, z),
        )

    def fill(self, inside: Floats, density: float | Floats, *, soft_mm: float = 0.0) -> None:
        """Fill a shape with solid tissue, up to the pleura.

        Args:
            inside: Depth inside the shape, mm.
            density: HU of the tissue.
            soft_mm: Width of the blurred edge; a voxel if it is smaller.
        """
        cover = coverage(inside, max(soft_mm, self.pixel_mm))
        # Half of a voxel beyond the pleura: otherwise a rim of air separates it from the wall.
        paint(self.hu, cover * (self.depth > -self.pixel_mm), density)

    def open(self, inside: Floats, density: float | Floats) -> None:
        """Fill a shape with air, not beyond the edge of the lung."""
        depth = self.depth - np.float32(self.habitus.variant.rim)
        paint(self.hu, coverage(np.minimum(inside, depth), self.pixel_mm), density)

    def draw_point(
        self, side: str, *, level: float | None = None, depth_mm: float | None = None
    ) -> Point | None:
        """Draw a voxel of a lung, near a level and a depth below the pleura; None if none is left.

        Args:
            side: ``left`` or ``right``.
            level: 0 at the lowest pleura, 1 at the apex.
            depth_mm: Depth below the pleura.
        """
        inside = np.argwhere(self.lung(side)[::2, ::2])
        if not len(inside):
            return None
        i, j, k = (inside[self.rng.integers(0, len(inside), CANDIDATES)] * (2, 2, 1)).T
        x, y, z = self.at
        miss = np.zeros(CANDIDATES)
        if level is not None:
            miss += np.abs(z[0, 0, k] - self.habitus.z(level))
        if depth_mm is not None:
            miss += 2.0 * np.abs(self.depth[i, j, k] - depth_mm)
        n = int(miss.argmin())
        return float(x[i[n], j[n], k[n]]), float(y[i[n], j[n], k[n]]), float(z[0, 0, k[n]])


@dataclass(frozen=True, eq=False)
class ReshapedLungs(Lungs):
    """Lungs next to pleural disease.

    Args:
        compressed: 0 to 1, how much of the air has left each voxel of lung.
        line: Coverage of a visceral pleura that is visible because air is on both sides.
        removed: Voxels that were lung and are filled with fluid, air or soft tissue.
        removed_hu: Density of each of them.
    """

    compressed: Floats
    line: Floats
    removed: Mask
    removed_hu: Floats


def whole_site(hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, rng: Generator) -> Site:
    """Return the whole scan as a site."""
    x, y, z = (slice(0, count) for count in space.shape)
    at = (space.x, space.y, space.z)
    return Site(hu, at, lungs.depth, lungs.sides, (x, y, z), space, habitus, rng)


def site_of(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, rng: Generator
) -> Site | None:
    """Return the smallest box around both lungs; None if the scan shows no lung."""
    if not lungs.sides.any():
        return None
    margin = int(np.ceil(MARGIN_MM / space.pixel_mm))
    parts = []
    for axis, wider in enumerate((margin, margin, 0)):
        others = tuple(n for n in range(3) if n != axis)
        (used,) = np.nonzero(lungs.sides.any(axis=others))
        stop = min(int(used[-1]) + 1 + wider, space.shape[axis])
        parts.append(slice(max(int(used[0]) - wider, 0), stop))
    whole = whole_site(hu, space, habitus, lungs, rng)
    return whole.crop((parts[0], parts[1], parts[2]))


def quantile(values: Floats, mask: Mask, share: float) -> float:
    """Return the value below which a share of the voxels of a mask is; every fifth is used."""
    return float(np.quantile(values[mask][::5], share))


def lobe_depth(site: Site, lobe: str) -> Floats:
    """Compute the depth inside a lobe, seen from its fissures, mm.

    Args:
        site: Part of the scan.
        lobe: ``upper``, ``middle`` or ``lower``; without a middle lobe, use ``upper``.
    """
    x, y, z = site.at
    habitus = site.habitus
    slope = 1.05 * (y + 0.75 * habitus.cage_half_depth)
    above: Floats = (z - habitus.z(0.74) + slope + 0.08 * np.abs(x)) * 0.69
    if lobe == "lower":
        return -above
    flat = z - habitus.z(0.52) + 0.1 * y
    return np.minimum(above, -flat if lobe == "middle" else flat)


def tissue_gain(remaining: float) -> float:
    """Compute the share of the air that leaves a lung that shrinks, as its tissue stays the same.

    Args:
        remaining: Volume of the lung relative to its inflated volume, above 0.
    """
    share = TISSUE_SHARE / max(remaining, TISSUE_SHARE)
    return (share - TISSUE_SHARE) / (1.0 - TISSUE_SHARE)


def hilum_centre(habitus: Habitus, side: str) -> Point:
    """Return a point just lateral of a hilum, in body mm."""
    x, y, z = habitus.hilum(side)
    return x + SIDES[side] * 8.0, y, z
