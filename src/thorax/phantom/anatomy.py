"""Random body build of a patient: sizes, levels and outlines."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from thorax.phantom.space import Floats, Point, Space

SIDES = {"left": -1.0, "right": 1.0}
"""Sign of body x on each side."""

_LEVELS = (-0.3, 0.0, 0.3, 0.6, 0.8, 0.92, 1.0, 1.2)

_CAGE_WIDTH = (0.96, 1.0, 1.0, 0.93, 0.79, 0.63, 0.50, 0.42)

_CAGE_DEPTH = (0.94, 1.0, 1.0, 0.95, 0.83, 0.70, 0.60, 0.52)

_BODY_WIDTH = (0.95, 0.98, 1.0, 1.0, 0.99, 0.95, 0.90, 0.72)

_BODY_FRONT = (1.0, 1.0, 1.0, 0.97, 0.86, 0.74, 0.66, 0.56)

_BODY_BACK = (0.98, 1.0, 1.0, 1.0, 0.97, 0.92, 0.87, 0.78)


_SKIN_LEVELS = (0.8, 0.92, 1.02, 1.12, 1.2, 1.27, 1.36, 1.45, 1.55, 1.75, 1.95, 2.03)

_SHOULDER_WIDTH = (1.0, 1.06, 1.16, 1.2, 1.04, 0.66, 0.4, 0.39, 0.44, 0.47, 0.36, 0.05)

_SHOULDER_FRONT = (0.88, 0.8, 0.74, 0.68, 0.6, 0.52, 0.46, 0.52, 0.66, 0.72, 0.55, 0.05)

_SHOULDER_BACK = (0.97, 0.94, 0.9, 0.84, 0.76, 0.66, 0.56, 0.54, 0.6, 0.7, 0.52, 0.05)


@dataclass(frozen=True)
class Variant:
    """Deviations of one patient from a plain adult; the defaults are none. Lengths in mm.

    Args:
        complete: Draw shoulders, neck, head and lower abdomen instead of a tube.
        scale: Size of the patient; all other lengths are those of an adult of this shape.
        heart_shift: Displacement of the heart.
        dextrocardia: The apex of the heart points to the right.
        pericardium: Thickness of a pericardial effusion.
        thymus: Radius of the thymus.
        goitre: Radius of an enlarged thyroid.
        nodes: Radius of enlarged lymph nodes.
        trachea_shift: Displacement of the trachea to the right.
        diverticulum: Radius of an air-filled diverticulum of the trachea.
        azygos: Draw an azygos fissure.
        pectus: Depth of a funnel chest.
        kyphosis: Displacement of the middle of the spine to the back.
        scoliosis: Lateral displacement of the spine.
        scoliosis_phase: Level of the curve of the spine, in rad.
        breast_x: Distance of the breasts from the midline.
        breast_width: Half of the width of a breast, nearly.
        flatness: 0 for domes like a parabola, 0.5 for flatter ones.
        tendon: Fall of the diaphragm from a dome towards the midline, relative to its lateral fall.
        recess: Displacement of the domes to the front, which makes the lungs deep behind them.
        rim: Distance of the contour outside the middle of the edge of the lung; experts outline a
            voxel that contains a little lung.
        vessels: Radius of the vessels, relative to an average one.
        scallops: Height of the muscle slips of the diaphragm.
        bump: Height of a local bulge of the diaphragm.
        bump_at: Side (-1 left, 1 right), and position of the bulge along x and y, relative to the
            half width and depth of the cage.
        hernia: Radius of a hiatal hernia.
        oesophagus: Radius of air in a wide oesophagus.
        free_gas: Thickness of free gas under the diaphragm.
        interposition: Draw colon between liver and diaphragm.
        stomach: Size of the stomach, relative to an average one.
    """

    complete: bool = False
    scale: float = 1.0
    heart_shift: Point = (0.0, 0.0, 0.0)
    dextrocardia: bool = False
    pericardium: float = 0.0
    thymus: float = 0.0
    goitre: float = 0.0
    nodes: float = 0.0
    trachea_shift: float = 0.0
    diverticulum: float = 0.0
    azygos: bool = False
    pectus: float = 0.0
    kyphosis: float = 0.0
    scoliosis: float = 0.0
    scoliosis_phase: float = 0.0
    breast_x: float = 85.0
    breast_width: float = 42.0
    flatness: float = 0.5
    tendon: float = 0.35
    recess: float = 0.0
    rim: float = 0.0
    vessels: float = 1.0
    scallops: float = 0.0
    bump: float = 0.0
    bump_at: Point = (1.0, 0.5, 0.0)
    hernia: float = 0.0
    oesophagus: float = 0.0
    free_gas: float = 0.0
    interposition: bool = False
    stomach: float = 1.0


@dataclass(frozen=True)
class Habitus:
    """The build of one patient; lengths in mm, levels as fractions of the lungs' height.

    Level 0 is the lowest pleura, level 1 the apex of the lungs.

    Args:
        lung_height: From the lowest pleura to the apex.
        cage_half_width: Half of the widest inner breadth of the rib cage.
        cage_half_depth: Half of the deepest inner depth of the rib cage.
        wall: Thickness of ribs and muscle.
        fat: Thickness of the fat under the skin.
        breast: Thickness of the breasts of a supine patient, 0 for none.
        dome: Top of the left half of the diaphragm above the lowest pleura.
        dome_asymmetry: Height of the right half above the left.
        heart: Half of the length of the heart, nearly.
        vertebra: Half of the depth of a vertebral body, nearly.
        vertebra_phase: Position of the discs, as a fraction of a vertebra.
        trachea: Radius of the trachea.
        aorta: Radius of the aorta.
        blood_hu: Density of the blood, with or without contrast medium.
        gas: Relative amount of gas in stomach and bowel, 0 for none.
        lung_hu: Density of healthy lung halfway between front and back.
        dependent_hu: Increase of the lung density from front to back.
        variant: Deviations from a plain adult.
    """

    lung_height: float
    cage_half_width: float
    cage_half_depth: float
    wall: float
    fat: float
    breast: float
    dome: float
    dome_asymmetry: float
    heart: float
    vertebra: float
    vertebra_phase: float
    trachea: float
    aorta: float
    blood_hu: float
    gas: float
    lung_hu: float
    dependent_hu: float
    variant: Variant = Variant()

    def z(self, level: float) -> float:
        """Compute body z of a level, in mm."""
        return level * self.lung_height

    def profile(self, space: Space, values: tuple[float, ...]) -> Floats:
        """Interpolate values at the reference levels for each plane, shape ``(1, 1, Z)``."""
        levels = space.axes[2] / self.lung_height
        return np.interp(levels, _LEVELS, values).astype(np.float32)[None, None, :]

    def cage_centre_y(self, space: Space) -> Floats:
        """Compute body y of the centre of the rib cage in each plane."""
        centre = self.profile(space, (-2.0, 0.0, 0.0, -4.0, -9.0, -13.0, -16.0, -18.0))
        return centre + self.bend(space) if self.variant.kyphosis else centre

    def bend(self, space: Space) -> Floats:
        """Compute the displacement of each plane along y by kyphosis, shape ``(1, 1, Z)``."""
        levels = space.axes[2] / self.lung_height
        return np.array([self._bend_y(v) for v in levels], dtype=np.float32)[None, None, :]

    def _bend_y(self, level: float) -> float:
        # The middle of the spine is behind, the neck is ahead.
        return float(
            self.variant.kyphosis * (0.3 - np.sin(np.pi * np.clip(level, -0.2, 1.4) / 1.2))
        )

    def front_of_cage_y(self, space: Space) -> Floats:
        """Compute body y of the inner face of the sternum in each plane."""
        front = self.cage_centre_y(space) + self.cage_half_depth * self.profile(space, _CAGE_DEPTH)
        return front - self.funnel(space) if self.variant.pectus else front

    def funnel(self, space: Space) -> Floats:
        """Compute the depth of a funnel chest in each plane, shape ``(1, 1, Z)``."""
        levels = self.profile(space, (0.2, 0.6, 1.0, 0.5, 0.1, 0.0, 0.0, 0.0))
        return np.float32(self.variant.pectus) * levels

    def spine_y(self, level: float) -> float:
        """Compute body y of the centre of the vertebral bodies at a level."""
        depth = float(np.interp(level, _LEVELS, _CAGE_DEPTH))
        centre = float(np.interp(level, (0.3, 1.0), (0.0, -16.0)))
        bend = self._bend_y(level) if self.variant.kyphosis else 0.0
        return centre - depth * self.cage_half_depth + self.vertebra + 10.0 + bend

    def spine_x(self, level: float) -> float:
        """Compute body x of the centre of the vertebral bodies at a level."""
        bent = np.sin(4.0 * level + self.variant.scoliosis_phase)
        return float(self.variant.scoliosis * bent)

    def dome_z(self, side: str) -> float:
        """Compute body z of the top of one half of the diaphragm."""
        return self.dome + (self.dome_asymmetry if side == "right" else 0.0)

    @property
    def heart_centre(self) -> Point:
        """Centre of the heart: left of the midline, on the diaphragm."""
        x, y, z = self.variant.heart_shift
        x -= 22.0
        return (
            -x if self.variant.dextrocardia else x,
            0.27 * self.cage_half_depth + y,
            self.dome + 0.62 * self.heart + z,
        )

    def hilum(self, side: str) -> Point:
        """Locate the hilum, where vessels and bronchi enter a lung."""
        level = 0.53 if side == "right" else 0.56
        return (SIDES[side] * 36.0, -8.0, self.z(level))


def draw_habitus(rng: Generator) -> Habitus:
    """Draw a random patient."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    width = between(116.0, 138.0)
    contrast = rng.random() < 0.35
    return Habitus(
        lung_height=between(215.0, 270.0),
        cage_half_width=width,
        cage_half_depth=width * between(0.64, 0.74),
        wall=between(20.0, 26.0),
        fat=float(rng.gamma(3.0, 4.0)) + 5.0,
        breast=between(8.0, 22.0) if rng.random() < 0.45 else 0.0,
        dome=between(56.0, 80.0),
        dome_asymmetry=between(6.0, 20.0),
        heart=between(50.0, 60.0),
        vertebra=between(14.5, 17.5),
        vertebra_phase=between(0.0, 1.0),
        trachea=between(7.0, 9.5),
        aorta=between(12.0, 16.5),
        blood_hu=between(120.0, 280.0) if contrast else between(36.0, 48.0),
        gas=between(0.6, 1.3) if rng.random() < 0.7 else 0.0,
        lung_hu=between(-875.0, -815.0),
        dependent_hu=between(40.0, 110.0),
    )


@dataclass(frozen=True, eq=False)
class Outline:
    """Depth of each voxel below the skin and inside the rib cage, and its position around the cage.

    Args:
        skin: Depth below the skin, shape ``(X, Y, Z)``.
        cage: Depth inside the inner face of the ribs, shape ``(X, Y, Z)``.
        front: 0 at the back of the cage, 0.5 at its sides and 1 at its front.
    """

    skin: Floats
    cage: Floats
    front: Floats


def body_outline(space: Space, habitus: Habitus) -> Outline:
    """Compute the outlines of body and rib cage in every plane."""
    y = space.y - habitus.cage_centre_y(space)
    width = habitus.cage_half_width * habitus.profile(space, _CAGE_WIDTH)
    depth = habitus.cage_half_depth * habitus.profile(space, _CAGE_DEPTH)
    radius = np.sqrt(space.x**2 + y**2) + np.float32(1e-3)
    cage = _rounded_box(space.x / radius, y / radius, width, depth) - radius
    if habitus.variant.pectus:
        dent = np.exp(-((space.x / (0.38 * habitus.cage_half_width)) ** 2)) * (y > 0)
        cage -= habitus.funnel(space) * dent
    stretch = y / depth
    front = 0.5 + 0.5 * stretch / np.sqrt(stretch**2 + (space.x / width) ** 2 + 1e-6)
    return Outline(_skin_depth(space, habitus), cage, front)


def _skin_depth(space: Space, habitus: Habitus) -> Floats:
    wall = habitus.wall + habitus.fat
    width = (habitus.cage_half_width + wall) * habitus.profile(space, _BODY_WIDTH)
    front = (habitus.cage_half_depth + 0.85 * wall) * habitus.profile(space, _BODY_FRONT)
    back = (habitus.cage_half_depth + 1.1 * wall) * habitus.profile(space, _BODY_BACK)
    x, y = space.x, space.y
    if habitus.variant.complete:
        width, front, back = _with_shoulders(space, habitus, (width, front, back))
        y = y - habitus.bend(space) if habitus.variant.kyphosis else y
    radius = np.sqrt(x**2 + y**2) + np.float32(1e-3)
    reach = _rounded_box(x / radius, y / radius, width, np.where(y > 0, front, back))
    behind = np.clip(-y / radius, 0.0, 1.0) ** 2
    reach -= 9.0 * behind * np.exp(-((x / 16.0) ** 2))
    if habitus.breast:
        level = habitus.profile(space, (0.0, 0.25, 1.0, 0.75, 0.1, 0.0, 0.0, 0.0))
        before = np.clip(y / radius, 0.0, 1.0)
        reach += habitus.breast * level * before * _breast_bump(x, habitus)
    if habitus.variant.pectus:
        before = np.clip(y / radius, 0.0, 1.0)
        reach -= habitus.funnel(space) * before * np.exp(-((x / 42.0) ** 2))
    depth: Floats = reach - radius
    return depth


def _breast_bump(x: Floats, habitus: Habitus) -> Floats:
    off = (np.abs(x) - habitus.variant.breast_x) / habitus.variant.breast_width
    bump: Floats = np.exp(-(off**2))
    return bump


def _with_shoulders(
    space: Space, habitus: Habitus, reach: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """Replace half width, front and back of the body above the armpits by shoulders and head."""
    levels = space.axes[2] / habitus.lung_height
    upper = (levels > _SKIN_LEVELS[0])[None, None, :]
    # Shoulders and head do not grow with the fat around the chest.
    lean = habitus.cage_half_width + 25.0 + 0.35 * habitus.fat
    deep = habitus.cage_half_depth + 25.0 + 0.6 * habitus.fat
    sizes = ((lean, _SHOULDER_WIDTH), (deep, _SHOULDER_FRONT), (deep, _SHOULDER_BACK))
    width, front, back = (
        np.where(
            upper,
            _blend_up(levels, low, size * np.interp(levels, _SKIN_LEVELS, shape)),
            low,
        ).astype(np.float32)
        for low, (size, shape) in zip(reach, sizes, strict=True)
    )
    return width, front, back


def _blend_up(levels: Floats, low: Floats, high: Floats) -> Floats:
    share = np.clip((levels - 0.8) / 0.2, 0.0, 1.0)
    blended: Floats = low * (1.0 - share) + high * share
    return blended


def _rounded_box(cosine: Floats, sine: Floats, width: Floats, depth: Floats) -> Floats:
    across, along = (cosine / width) ** 2, (sine / depth) ** 2
    ellipse = 1.0 / np.sqrt(across + along)
    box = 1.0 / np.sqrt(np.sqrt(across**2 + along**2))
    radius: Floats = 0.55 * ellipse + 0.45 * box
    return radius
