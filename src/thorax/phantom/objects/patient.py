"""Access to the anatomy of a patient for implants: skin, rib cage, spine, vessels."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from thorax.phantom.anatomy import Habitus, Outline, body_outline
from thorax.phantom.lungs import Lungs
from thorax.phantom.mediastinum import airways, oesophagus_axis
from thorax.phantom.objects.scene import RandomDrawing, crop, draw_tube, smooth_path, thin_share
from thorax.phantom.space import Box, Floats, Point, Space, coverage, ellipsoid_depth, paint
from thorax.phantom.wall import VERTEBRA_PITCH_MM

METAL_HU = 3000.0

ADULT_HALF_WIDTH_MM = 127.0

VERTEBRA_SHIFT = 0.15
"""Offset of the vertebral bodies from the ribs, as a fraction of a vertebra."""


@dataclass(frozen=True, eq=False)
class PatientAnatomy(RandomDrawing):
    """A patient who gets implants.

    Args:
        hu: Densities that are drawn, shape ``(X, Y, Z)``.
        space: Body coordinates.
        habitus: Build of the patient.
        lungs: Both lungs.
        rng: Source of sizes and positions.
    """

    hu: Floats
    space: Space
    habitus: Habitus
    lungs: Lungs
    rng: Generator

    @property
    def unit(self) -> float:
        """Size of the patient relative to a typical adult."""
        return self.habitus.cage_half_width / ADULT_HALF_WIDTH_MM

    def outline(self, box: Box) -> Outline:
        """Compute the outlines of body and rib cage in a box."""
        return body_outline(crop(self.space, box), self.habitus)

    def front_of_cage(self, x: float, z: float) -> float:
        """Compute body y of the front of the rib cage at a body x and z."""
        depth = 3.0 * self.habitus.cage_half_depth
        reach = self._reach("cage", ((x, -depth, z), (x, depth, z)))
        return 0.5 * self.habitus.cage_half_depth if reach is None else reach

    def front_of_skin(self, x: float, z: float) -> float:
        """Compute body y of the skin in front at a body x and z."""
        depth = 3.0 * self.habitus.cage_half_depth
        reach = self._reach("skin", ((x, -depth, z), (x, depth, z)))
        return self.habitus.cage_half_depth if reach is None else reach

    def lateral_skin(self, y: float, z: float, side: float) -> float:
        """Compute body x of the skin on one side at a body y and z."""
        width = 3.0 * self.habitus.cage_half_width
        reach = self._reach("skin", ((0.0, y, z), (side * width, y, z)))
        return side * self.habitus.cage_half_width if reach is None else reach

    def _reach(self, name: str, line: tuple[Point, Point]) -> float | None:
        """Find the point inside an outline nearest to the end of a line along x or y.

        The plane nearest to the line is taken, because a scan may end above or below it.
        """
        plane = float(self.space.axes[2][int(np.abs(self.space.axes[2] - line[0][2]).argmin())])
        start, end = ((x, y, plane) for x, y, _ in line)
        box = self.space.box_around(start, end, margin_mm=0.6)
        if 0 in self.hu[box].shape:
            return None
        inside, (x, y, _) = getattr(self.outline(box), name) > 0, self.space.at(box)
        along, across, other = (x, y, start[1]) if start[1] == end[1] else (y, x, start[0])
        positions = along[inside & (np.abs(across - other) < 0.8 * self.space.pixel_mm)]
        if not positions.size:
            return None
        forward = sum(end) > sum(start)
        return float(positions.max() if forward else positions.min())

    def tube(
        self,
        points: list[Point],
        *,
        radius: float,
        wall_hu: float,
        lumen: tuple[float, float] | None = None,
        in_lungs: bool = False,
    ) -> None:
        """Draw a smooth tube through points, outside the lungs if not `in_lungs`."""
        draw_tube(
            self.hu,
            self.space,
            smooth_path(points, 5 * len(points)),
            radius=radius,
            wall_hu=wall_hu,
            lumen=lumen,
            spared=None if in_lungs else self.lungs.depth,
        )

    def ellipsoid(self, centre: Point, radii: Point, density: float) -> None:
        """Draw an ellipsoid, outside the lungs."""
        high = max(radii[2], 0.5 * self.space.slice_mm)
        box = self.space.box_around(centre, margin_mm=max(*radii, high) + self.space.pixel_mm)
        inside = ellipsoid_depth(self.space.at(box), centre, (radii[0], radii[1], high))
        self.fill(box, inside, density, share=radii[2] / high)

    def fill(self, box: Box, inside: Floats, density: float, *, share: float = 1.0) -> None:
        """Fill a share of the inside of a shape, outside the lungs."""
        inside = np.minimum(inside, -self.lungs.depth[box])
        paint(self.hu[box], share * coverage(inside, self.space.pixel_mm), density)

    def device(self, centre: Point, half: Point, density: float) -> None:
        """Draw a flat rounded box parallel to the skin.

        Args:
            centre: Body x, depth of the centre below the skin, and body z, in mm.
            half: Half of its width, thickness and height, in mm.
            density: Density in HU.
        """
        x, depth, z = centre
        middle = (x, self.front_of_skin(x, z) - depth, z)
        box = self.space.box_around(middle, margin_mm=max(half) + 12.0)
        if 0 in self.hu[box].shape:
            return
        at = self.space.at(box)
        shape = 1.0 - (((at[0] - x) / half[0]) ** 4 + ((at[2] - z) / half[2]) ** 4) ** 0.25
        off_plane = np.abs(self.outline(box).skin - depth)
        ahead = at[1] - middle[1] + 12.0
        inside = np.minimum(np.minimum(shape * half[0], half[1] - off_plane), ahead)
        self.fill(box, inside, density)

    def ring(self, centre: Point, normal: Point, radius: float, *, wire: float, hu: float) -> None:
        """Draw a ring of wire around an axis."""
        margin_mm = radius + wire + max(self.space.pixel_mm, self.space.slice_mm)
        box = self.space.box_around(centre, margin_mm=margin_mm)
        share = thin_share(self.space, wire)
        axis = np.array(normal) / np.linalg.norm(normal)
        offsets = [c - m for c, m in zip(self.space.at(box), centre, strict=True)]
        along = sum(o * float(a) for o, a in zip(offsets, axis, strict=True))
        square = sum(o**2 for o in offsets)
        across = np.sqrt(np.clip(square - along**2, 0.0, None))
        inside = wire - np.sqrt((across - radius) ** 2 + (share * along) ** 2)
        inside = np.minimum(inside, -self.lungs.depth[box])
        filled = share * min(1.0, 2.2 * wire / self.space.pixel_mm)
        paint(self.hu[box], filled * coverage(inside, self.space.pixel_mm), hu)

    def vertebra_z(self, number: int) -> float:
        """Compute body z of the middle of a vertebra; numbers count from the lowest pleura."""
        return (number - self.habitus.vertebra_phase - VERTEBRA_SHIFT) * VERTEBRA_PITCH_MM

    def spine_point(self, x: float, behind: float, z: float) -> Point:
        """Return a point behind the centre of the vertebral bodies."""
        return x, self.habitus.spine_y(z / self.habitus.lung_height) - behind, z

    def cava(self) -> tuple[Point, Point, Point]:
        """Return the upper end, the middle and the lower end of the superior vena cava."""
        _, y, z = self.habitus.heart_centre
        return (
            (30.0, 4.0, self.habitus.z(0.95)),
            (26.0, y + 2.0, self.habitus.z(0.78)),
            (27.0, y - 2.0, z + 15.0),
        )

    def subclavian(self, side: float) -> tuple[Point, Point]:
        """Return a lateral and a medial point of a subclavian vein, below the clavicle."""
        half = self.habitus.cage_half_width
        lateral = (side * 0.8 * half, 4.0, self.habitus.z(0.98))
        return lateral, (side * 0.42 * half, 22.0 * self.unit, self.habitus.z(0.94))

    def brachiocephalic(self, side: float) -> list[Point]:
        """Return the path from a subclavian vein to the superior vena cava."""
        if side > 0:
            return [self.cava()[0]]
        y = self.habitus.heart_centre[1]
        return [(-28.0, 14.0, self.habitus.z(0.9)), (26.0, y + 4.0, self.habitus.z(0.8))]

    def trachea(self) -> list[Point]:
        """Return the axis of the trachea from the neck to the carina."""
        tubes = airways(self.habitus)
        return [tubes[0].start, tubes[0].end, tubes[1].end]

    def oesophagus(self) -> list[Point]:
        """Return the axis of the oesophagus from the neck to the stomach."""
        return oesophagus_axis(self.habitus)
