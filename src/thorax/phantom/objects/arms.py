"""Arms next to the chest: raised, at the sides, on the belly."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thorax.phantom import tissue
from thorax.phantom.objects.scene import Scene, crop, draw_tube
from thorax.phantom.space import Floats, Point, capsule_depth, coverage, paint, texture

ARMS = {
    "arms raised": 0.2,
    "arms down": 0.15,
    "one arm down": 0.06,
    "hands on the belly": 0.06,
    "arms on the chest": 0.03,
}
"""Chance of each position of the arms; otherwise no arm is in the field of view."""

UPPER_ARM_MM = 300.0


@dataclass(frozen=True)
class Limb:
    """An arm: its joints with radii in mm, and its bones.

    Args:
        joints: Points on the axis.
        radii: Radius at each joint.
        fat: Thickness of the fat below the skin.
        bones: Start, end and radius of each bone.
    """

    joints: tuple[Point, ...]
    radii: tuple[float, ...]
    fat: float
    bones: tuple[tuple[Point, Point, float], ...]


def draw_arms(scene: Scene, kind: str, couch_level: float) -> None:
    """Draw both arms or one arm, in place, and add them to the envelope of the patient.

    Args:
        scene: The surroundings.
        kind: Position of the arms, see `ARMS`. Arms are in front of the body in supine patients
            only, and a patient does not lie on an arm.
        couch_level: Height of the couch, on which arms at the sides rest.
    """
    single, supine = scene.side(), scene.space.down[1] < -0.5
    for side in (-1.0, 1.0):
        if kind == "arms raised" or (kind == "one arm down" and side != single):
            limb = _raised(scene, side)
        elif scene.lateral and side * scene.space.down[0] > 0:
            continue
        elif kind in ("arms down", "one arm down") or not supine:
            limb = _lowered(scene, side, couch_level)
        else:
            limb = _folded(scene, side, on_chest=kind == "arms on the chest")
        _draw_limb(scene, limb)


def _raised(scene: Scene, side: float) -> Limb:
    unit, z = scene.unit, scene.apex_z - 20.0 * scene.unit
    x = side * 0.93 * scene.width_at(z)
    shoulder: Point = (x, scene.between(-20.0, 15.0) * unit, z)
    spread = side * scene.between(0.55, 1.25) * scene.half_width
    elbow: Point = (spread, scene.between(0.0, 70.0) * unit, z + 280.0 * unit)
    radius = scene.between(36.0, 54.0) * unit
    bones = ((shoulder, elbow, 11.5 * unit), (shoulder, shoulder, 22.0 * unit))
    fat = scene.between(0.06, 0.3) * radius
    return Limb((shoulder, elbow), (radius, 0.85 * radius), fat, bones)


def _shoulder(scene: Scene, side: float) -> Point:
    unit, z = scene.unit, scene.apex_z
    width = scene.width_at(z - 15.0 * unit) + scene.between(4.0, 14.0) * unit
    return side * width, scene.between(-15.0, 10.0) * unit, z - 5.0 * unit


def _lowered(scene: Scene, side: float, couch_level: float) -> Limb:
    unit, z = scene.unit, scene.apex_z
    radius = scene.between(33.0, 50.0) * unit
    shoulder = _shoulder(scene, side)
    x = side * (scene.half_width + radius + scene.between(-6.0, 22.0) * unit)
    # Arms at the sides rest on the couch or on a cushion next to the chest.
    height = max(couch_level + 0.9 * radius, -70.0 * unit) + scene.between(0.0, 45.0) * unit
    y = -scene.space.down[1] * height
    elbow: Point = (x, y, z - UPPER_ARM_MM * unit)
    hand: Point = (x + 10.0 * side, y + 20.0 * unit, z - 560.0 * unit)
    bones = (
        (shoulder, elbow, 11.5 * unit),
        (shoulder, shoulder, 23.0 * unit),
        *_forearm_bones(elbow, hand, unit),
    )
    fat = scene.between(0.06, 0.35) * radius
    radii = (1.12 * radius, 0.88 * radius, 0.6 * radius)
    return Limb((shoulder, elbow, hand), radii, fat, bones)


def _folded(scene: Scene, side: float, *, on_chest: bool) -> Limb:
    unit, z = scene.unit, scene.apex_z
    radius = scene.between(33.0, 46.0) * unit
    shoulder = _shoulder(scene, side)
    rise = scene.between(90.0, 150.0) if on_chest else scene.between(0.0, 50.0)
    elbow_z = z - (UPPER_ARM_MM - 0.3 * rise) * unit
    x = side * (scene.half_width + radius + scene.between(-4.0, 12.0) * unit)
    elbow: Point = (x, scene.between(-20.0, 20.0) * unit, elbow_z)
    bend, wrist = (
        scene.point(side * a, scene.top(side * a, k) + 0.8 * radius, k)
        for a, k in (
            (0.8 * scene.half_width, elbow_z + 0.4 * rise * unit),
            (scene.between(-30.0, 50.0) * unit, elbow_z + rise * unit),
        )
    )
    bones = (
        (shoulder, elbow, 11.5 * unit),
        (shoulder, shoulder, 23.0 * unit),
        *_forearm_bones(elbow, bend, unit),
        *_forearm_bones(bend, wrist, unit),
    )
    radii = (1.12 * radius, 0.88 * radius, 0.78 * radius, 0.6 * radius)
    fat = scene.between(0.06, 0.3) * radius
    return Limb((shoulder, elbow, bend, wrist), radii, fat, bones)


def _forearm_bones(
    elbow: Point, wrist: Point, unit: float
) -> tuple[tuple[Point, Point, float], ...]:
    def moved(point: Point, offset: float) -> Point:
        return point[0] + offset * unit, point[1] - 0.5 * offset * unit, point[2] + offset * unit

    radius_bone = (moved(elbow, 9.0), moved(wrist, 9.0), 7.0 * unit)
    ulna = (moved(elbow, -9.0), moved(wrist, -9.0), 7.0 * unit)
    return radius_bone, ulna, (elbow, elbow, 20.0 * unit)


def _draw_limb(scene: Scene, limb: Limb) -> None:
    space = scene.space
    box = space.box_around(*limb.joints, margin_mm=max(limb.radii) + 4.0)
    inside = crop(space, box)
    if 0 in inside.x.shape:
        return
    depth = _limb_depth(inside.at((slice(None),) * 3), limb)
    soft, hu = space.pixel_mm, scene.hu[box]
    mottle = texture(inside.axes, scene.rng, scale_mm=20.0)
    seams = np.clip(1.0 - (mottle / 0.16) ** 2, 0.0, 1.0)
    muscle = tissue.MUSCLE_HU - seams * (tissue.MUSCLE_HU - tissue.FAT_HU)
    paint(hu, coverage(depth, soft), tissue.SKIN_HU)
    paint(hu, coverage(depth - 2.2, soft), tissue.FAT_HU + 6.0 * mottle)
    paint(hu, coverage(depth - 2.2 - limb.fat * (1.0 + 0.2 * mottle), soft), muscle)
    np.maximum(scene.envelope[box], depth, out=scene.envelope[box])
    for start, end, radius in limb.bones:
        cortex, marrow = (500.0, 250.0) if start == end else (1050.0, 20.0)
        lumen = (0.6 * radius, marrow)
        draw_tube(scene.hu, space, [start, end], radius=radius, wall_hu=cortex, lumen=lumen)


def _limb_depth(at: tuple[Floats, Floats, Floats], limb: Limb) -> Floats:
    pieces = zip(pairwise(limb.joints), pairwise(limb.radii), strict=True)
    depths = [capsule_depth(at, start, end, radii) for (start, end), radii in pieces]
    depth: Floats = np.maximum.reduce(depths)
    return depth
