"""Chest wall: skin, fat, muscle, ribs, spine, sternum, scapulae."""

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.anatomy import SIDES, Habitus, Outline
from thorax.phantom.space import (
    Floats,
    Space,
    capsule_depth,
    coverage,
    ellipsoid_depth,
    paint,
    texture,
)

SKIN_MM = 2.2

VERTEBRA_PITCH_MM = 25.0

RIB_DROP_MM = 78.0

RIB_MIDDLE_MM = -7.0

RIB_HALF_THICKNESS_MM = 4.6

RIB_HALF_HEIGHT_MM = 7.0


def draw_wall(
    hu: Floats, space: Space, habitus: Habitus, outline: Outline, *, rng: Generator
) -> None:
    """Draw the tissues between skin and pleura, and the spine, in place."""
    planes = texture(space.axes, rng, scale_mm=22.0)
    _draw_layers(hu, space, habitus, outline, planes=planes, rng=rng)
    _draw_axillae(hu, space, habitus)
    _draw_neck(hu, space, habitus, outline, planes=planes)
    _draw_ribs(hu, space, habitus, outline)
    _draw_scapulae(hu, space, habitus, outline)
    _draw_sternum(hu, space, habitus)
    _draw_clavicles(hu, space, habitus)
    _draw_spine(hu, space, habitus, rng)
    if habitus.variant.complete:
        draw_shoulders(hu, space, habitus)
        draw_head(hu, space, habitus, outline.skin)


def _draw_layers(
    hu: Floats,
    space: Space,
    habitus: Habitus,
    outline: Outline,
    *,
    planes: Floats,
    rng: Generator,
) -> None:
    soft = space.pixel_mm
    mottle = texture(space.axes, rng, scale_mm=60.0)
    fat_mm = habitus.fat * (0.75 + 0.3 * outline.front + 0.18 * mottle)
    if habitus.breast:
        fat_mm += 0.8 * habitus.breast * coverage(outline.front - 0.66, 0.5)
    paint(hu, coverage(outline.skin, soft), tissue.SKIN_HU)
    paint(hu, coverage(outline.skin - SKIN_MM, soft), tissue.FAT_HU + 4.0 * planes)
    muscle = coverage(np.maximum(outline.skin - SKIN_MM - fat_mm, outline.cage + 12.0), soft)
    seams = _near_zero(planes, 0.16) * (outline.cage < -13.0)
    paint(hu, muscle, tissue.MUSCLE_HU - seams * (tissue.MUSCLE_HU - tissue.FAT_HU))
    pleural_fat = np.clip(1.0 - np.abs(outline.cage + 3.0) / 3.0, 0.0, 0.75)
    paint(hu, pleural_fat * coverage(habitus.z(0.95) - space.z, 30.0), tissue.FAT_HU)
    paint(hu, coverage(outline.cage, soft), tissue.FAT_HU + 14.0 * mottle)


def _near_zero(field: Floats, width: float) -> Floats:
    # The zero set of a smooth random field is a surface: fat between muscles.
    surface: Floats = np.clip(1.0 - (field / width) ** 2, 0.0, 1.0)
    return surface


def _draw_neck(
    hu: Floats, space: Space, habitus: Habitus, outline: Outline, *, planes: Floats
) -> None:
    # Above the apex, the scalene and paraspinal muscles close the cage.
    above = coverage(space.z - habitus.z(1.0), 18.0) * coverage(outline.cage, space.pixel_mm)
    oesophagus = np.exp(-((space.x / 26.0) ** 2) - ((space.y - 6.0) / 22.0) ** 2)
    muscle = above * coverage(0.6 - oesophagus, 0.2) * (1.0 - _near_zero(planes, 0.3))
    paint(hu, muscle, tissue.MUSCLE_HU)


def _draw_axillae(hu: Floats, space: Space, habitus: Habitus) -> None:
    for side in SIDES.values():
        centre = (side * (0.86 * habitus.cage_half_width + 18.0), -4.0, habitus.z(0.8))
        box = space.box_around(centre, margin_mm=55.0)
        inside = ellipsoid_depth(space.at(box), centre, (16.0, 34.0, 48.0))
        paint(hu[box], coverage(inside, 8.0), tissue.FAT_HU)
        start = (centre[0] * 0.95, 6.0, centre[2] - 40.0)
        end = (centre[0] * 1.08, 2.0, centre[2] + 60.0)
        vein = capsule_depth(space.at(box), start, end, (3.5, 5.0))
        paint(hu[box], coverage(vein, space.pixel_mm), tissue.BLOOD_HU)


def _draw_ribs(hu: Floats, space: Space, habitus: Habitus, outline: Outline) -> None:
    # Ribs slope down from the spine to the front, so an axial plane cuts several of them.
    turn = (space.z + RIB_DROP_MM * outline.front) / VERTEBRA_PITCH_MM + habitus.vertebra_phase
    off_middle = (turn - np.round(turn)) * VERTEBRA_PITCH_MM
    radial = (outline.cage - RIB_MIDDLE_MM) / RIB_HALF_THICKNESS_MM
    inside = np.float32(1.0) - np.sqrt(radial**2 + (off_middle / RIB_HALF_HEIGHT_MM) ** 2)
    top = habitus.z(1.02) - RIB_DROP_MM * 0.75 * outline.front
    present = coverage(top - space.z, 12.0) * coverage(np.abs(space.x) - 16.0, 6.0)
    if habitus.variant.complete:
        present = present * coverage(space.z - habitus.z(-0.3), 20.0)
    cover = coverage(inside * RIB_HALF_THICKNESS_MM, space.pixel_mm) * present
    bone = np.where(inside > 0.42, tissue.MARROW_HU, tissue.CORTEX_HU).astype(np.float32)
    cartilage = coverage(outline.front - 0.86, 0.06)
    bone += (tissue.CARTILAGE_HU - bone) * cartilage
    paint(hu, cover, bone)


def _draw_scapulae(hu: Floats, space: Space, habitus: Habitus, outline: Outline) -> None:
    level = space.z / habitus.lung_height
    off_plate = np.abs(outline.cage + 20.0 + 26.0 * np.clip(level - 0.7, 0.0, 1.0)) - 1.8
    # With raised arms, the scapulae rotate outwards and forwards along the ribs.
    edge = np.minimum(outline.front - 0.10, 0.42 - outline.front) * 120.0
    edge = np.minimum(edge, np.minimum(level - 0.5, 1.05 - level) * 150.0)
    deep = np.minimum(outline.skin - 9.0, edge)
    inside = np.minimum(-off_plate, deep)
    paint(hu, coverage(inside, space.pixel_mm), 0.8 * tissue.CORTEX_HU)


def _draw_sternum(hu: Floats, space: Space, habitus: Habitus) -> None:
    cage = 0.5 * habitus.cage_half_depth
    low, high = habitus.z(0.3), habitus.z(0.84)
    box = space.box_around((-30.0, cage, low), (30.0, 2.6 * cage, high), margin_mm=6.0)
    x, y, z = space.at(box)
    level = (z - low) / (high - low)
    middle = habitus.front_of_cage_y(space)[:, :, box[2]] + 6.5
    half_width = 15.0 + 10.0 * np.clip(level - 0.7, 0.0, 1.0) / 0.3
    inside = 1.0 - np.sqrt((x / half_width) ** 2 + ((y - middle) / 7.0) ** 2)
    inside = np.minimum(inside * 7.0, np.minimum(z - low, high - z))
    bone = np.where(inside > 2.6, tissue.MARROW_HU - 60.0, 0.6 * tissue.CORTEX_HU)
    paint(hu[box], coverage(inside, space.pixel_mm), bone.astype(np.float32))


def _draw_clavicles(hu: Floats, space: Space, habitus: Habitus) -> None:
    for side in SIDES.values():
        start = (side * 22.0, 0.66 * habitus.cage_half_depth, habitus.z(0.83))
        end = (side * 0.95 * habitus.cage_half_width, -8.0, habitus.z(1.06))
        box = space.box_around(start, end, margin_mm=9.0)
        inside = capsule_depth(space.at(box), start, end, (8.0, 5.5))
        bone = np.where(inside > 3.0, tissue.MARROW_HU, tissue.CORTEX_HU).astype(np.float32)
        paint(hu[box], coverage(inside, space.pixel_mm), bone)


def _draw_spine(hu: Floats, space: Space, habitus: Habitus, rng: Generator) -> None:
    low, high = float(space.axes[2][0]), float(space.axes[2][-1])
    back = -habitus.cage_half_depth
    wide = 45.0 + abs(habitus.variant.scoliosis)
    deep = 60.0 + 1.5 * habitus.variant.kyphosis
    box = space.box_around((-wide, back - deep, low), (wide, back + deep + 10.0, high), margin_mm=1)
    x, y, z = space.at(box)
    levels = space.axes[2] / habitus.lung_height
    if habitus.variant.scoliosis:
        x = x - np.array([habitus.spine_x(v) for v in levels], dtype=np.float32)
    y = y - np.array([habitus.spine_y(v) for v in levels], dtype=np.float32)
    turn = (z / VERTEBRA_PITCH_MM) + habitus.vertebra_phase + 0.15
    off_middle = np.abs(turn - np.round(turn)) * VERTEBRA_PITCH_MM
    local = (x, y, off_middle)
    air = hu[box] < -300.0 if habitus.variant.complete else None
    _draw_arch(hu[box], local, habitus, space)
    axes = (space.axes[0][box[0]], space.axes[1][box[1]], space.axes[2])
    _draw_vertebrae(hu[box], local, habitus, texture(axes, rng, scale_mm=5.0))
    if air is not None:
        # In thin patients, the processes would be outside the skin.
        hu[box][air] = tissue.AIR_HU


def _draw_vertebrae(
    hu: Floats, local: tuple[Floats, Floats, Floats], habitus: Habitus, grain: Floats
) -> None:
    x, y, off_middle = local
    size = habitus.vertebra
    dent = 2.5 * np.exp(-((x / 8.0) ** 2)) * (y < 0)
    inside = (1.0 - np.sqrt((x / (1.15 * size)) ** 2 + (y / (0.95 * size)) ** 2)) * size - dent
    bone = np.where(inside > 2.4, tissue.MARROW_HU, 0.62 * tissue.CORTEX_HU) + 35.0 * grain
    disc = coverage(off_middle - 0.5 * VERTEBRA_PITCH_MM + 3.0, 2.0)
    endplate = np.clip(1.0 - np.abs(off_middle - 0.5 * VERTEBRA_PITCH_MM + 4.6) / 2.0, 0.0, 1.0)
    bone = bone + endplate * 230.0
    bone += (tissue.DISC_HU - bone) * disc
    paint(hu, coverage(inside, 2.0), bone.astype(np.float32))


def _draw_arch(
    hu: Floats, local: tuple[Floats, Floats, Floats], habitus: Habitus, space: Space
) -> None:
    x, y, off_middle = local
    canal_y = -habitus.vertebra - 7.0
    ring = np.sqrt(x**2 + (y - canal_y) ** 2)
    lamina = np.minimum(ring - 8.5, 13.5 - ring)
    lamina = np.minimum(lamina, 9.0 - off_middle)
    spinous = np.minimum(3.6 - np.abs(x), np.minimum(canal_y - 9.0 - y, y - canal_y + 36.0))
    spinous = np.minimum(spinous, off_middle - 3.0)
    wing = np.minimum(5.0 - np.abs(y - canal_y - 0.3 * (10.0 - np.abs(x))), 33.0 - np.abs(x))
    wing = np.minimum(np.minimum(wing, np.abs(x) - 10.0), 7.0 - off_middle)
    inside = np.maximum(lamina, np.maximum(spinous, wing))
    bone = np.where(inside > 2.2, 1.4 * tissue.MARROW_HU, 0.75 * tissue.CORTEX_HU)
    paint(hu, coverage(inside, space.pixel_mm), bone.astype(np.float32))
    paint(hu, coverage(9.0 - ring, 2.0), tissue.FAT_HU + 60.0)
    paint(hu, coverage(6.5 - ring, 2.0), tissue.CORD_HU)


def spine_depth(space: Space, habitus: Habitus) -> Floats:
    """Compute the depth inside the spine and the paraspinal muscles, which bound the lungs."""
    levels = space.axes[2] / habitus.lung_height
    y = space.y - np.array([habitus.spine_y(v) for v in levels], dtype=np.float32)
    size, x = habitus.vertebra, space.x
    if habitus.variant.scoliosis:
        x = x - np.array([habitus.spine_x(v) for v in levels], dtype=np.float32)
    body = 1.0 - np.sqrt((x / (1.15 * size + 4.0)) ** 2 + (y / (0.95 * size + 3.0)) ** 2)
    arch = 1.0 - np.sqrt((x / 32.0) ** 2 + ((y + size + 13.0) / 20.0) ** 2)
    depth: Floats = np.maximum(body * (size + 3.0), arch * 20.0)
    return depth


def draw_shoulders(hu: Floats, space: Space, habitus: Habitus) -> None:
    """Draw the heads of the humerus, their sockets and the muscles around them, in place."""
    reach = habitus.cage_half_width + 25.0 + 0.35 * habitus.fat
    for side in SIDES.values():
        head = (side * (1.16 * reach - 36.0), -14.0, habitus.z(1.06))
        box = space.box_around(head, margin_mm=70.0)
        muscle = ellipsoid_depth(space.at(box), head, (38.0, 44.0, 52.0))
        inside_skin = hu[box] > -200.0
        paint(hu[box], 0.9 * coverage(muscle, 10.0) * inside_skin, tissue.MUSCLE_HU)
        socket = (head[0] - side * 30.0, head[1] - 8.0, head[2] - 8.0)
        blade = ellipsoid_depth(space.at(box), socket, (12.0, 16.0, 26.0))
        ball = ellipsoid_depth(space.at(box), head, (24.0, 24.0, 24.0))
        shaft = (head[0] + side * 12.0, head[1], head[2] - 60.0)
        ball = np.maximum(ball, capsule_depth(space.at(box), head, shaft, (20.0, 12.0)))
        for depth in (blade, ball):
            bone = np.where(depth > 3.5, tissue.MARROW_HU, tissue.CORTEX_HU).astype(np.float32)
            paint(hu[box], coverage(depth, space.pixel_mm) * inside_skin, bone)


def draw_head(hu: Floats, space: Space, habitus: Habitus, skin: Floats) -> None:
    """Draw skull, brain, jaw and the air of nose and throat above the neck, in place."""
    first = int(np.searchsorted(space.axes[2], habitus.z(1.38)))
    if first >= space.shape[2]:
        return
    box = (slice(None), slice(None), slice(first, None))
    x, y, z = space.at(box)
    depth, level = skin[box], z / habitus.lung_height
    skull = np.minimum(depth - 6.0, (level - 1.62) * 150.0)
    shell = np.minimum(skull, 8.0 - skull)
    paint(hu[box], coverage(skull, space.pixel_mm), 35.0)
    paint(hu[box], coverage(shell, space.pixel_mm), 1.3 * tissue.CORTEX_HU)
    jaw = np.minimum(np.minimum(depth - 9.0, 20.0 - depth), y + 5.0)
    jaw = np.minimum(jaw, np.minimum(level - 1.42, 1.56 - level) * 150.0)
    paint(hu[box], coverage(jaw, space.pixel_mm), tissue.CORTEX_HU)
    throat = ellipsoid_depth((x, y, z), (0.0, 12.0, habitus.z(1.5)), (11.0, 7.0, 40.0))
    nose = ellipsoid_depth((x, y, z), (0.0, 42.0, habitus.z(1.62)), (16.0, 30.0, 18.0))
    air = np.maximum(throat, nose - 4.0 * (np.abs(x) < 2.0))
    paint(hu[box], coverage(air, space.pixel_mm), tissue.AIRWAY_HU)
