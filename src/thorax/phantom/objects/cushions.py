"""Mattresses, cushions, vacuum bags, boards and holders between the patient and the couch."""

from collections.abc import Callable

import numpy as np

from thorax.phantom.objects.scene import Scene, draw_tube
from thorax.phantom.space import Floats, coverage, paint, texture

Painter = Callable[[Scene, float, float], None]
"""Draw a cushion between the height of the couch and the height of the back, in place."""


def _mattress(scene: Scene, bottom: float, top: float) -> None:
    half_width, sink = scene.between(160.0, 270.0), scene.between(0.0, 22.0)
    inside = np.minimum(top + sink - scene.height, scene.height - bottom)
    inside = np.minimum(inside, half_width - np.abs(scene.across))
    foam_hu, cover_hu = scene.between(-975.0, -860.0), scene.between(-850.0, -200.0)
    _fill(scene.hu, inside, scene.space.pixel_mm, cover=(1.5, cover_hu), fill_hu=foam_hu)


def _air_mattress(scene: Scene, bottom: float, top: float) -> None:
    half_width, sink = scene.between(170.0, 260.0), scene.between(0.0, 15.0)
    pitch, radius = scene.between(45.0, 100.0), 0.5 * (top + sink - bottom)
    position = scene.across if scene.rng.random() < 0.6 else scene.space.z
    off_middle = np.abs((position / pitch) % 1.0 - 0.5) * pitch
    # Cells are wider than high or higher than wide: the walls bulge between the seams.
    round_off = (off_middle / (0.5 * pitch)) ** 2 + ((scene.height - bottom) / radius - 1.0) ** 2
    inside = (1.0 - np.sqrt(round_off)) * min(0.5 * pitch, radius)
    inside = np.minimum(inside, half_width - np.abs(scene.across))
    cover = (scene.between(1.0, 2.5), scene.between(-500.0, 50.0))
    _fill(scene.hu, inside, scene.space.pixel_mm, cover=cover, fill_hu=-1000.0)


def _cushion(scene: Scene, bottom: float, top: float) -> None:
    upper = scene.apex_z - scene.between(-10.0, 60.0) * scene.unit
    planes = scene.planes(upper, np.inf)
    half_width, thickness = scene.between(70.0, 160.0), scene.between(30.0, 80.0)
    swell = thickness * (1.0 - (scene.across / half_width) ** 2)
    inside = np.minimum(bottom + 15.0 + swell - scene.height, scene.height - bottom)
    z = scene.space.z[:, :, planes]
    inside = np.minimum(inside, 0.5 * (z - upper))
    foam_hu = scene.between(-970.0, -800.0)
    _fill(scene.hu[:, :, planes], inside, scene.space.pixel_mm, cover=(2, -600.0), fill_hu=foam_hu)


def _wedge(scene: Scene, bottom: float, top: float) -> None:
    side, slope = scene.side(), scene.between(0.3, 0.9)
    inner = scene.between(0.3, 0.75) * scene.reach
    across = side * scene.across - inner
    inside = np.minimum(scene.height - bottom, bottom + 6.0 + slope * across - scene.height)
    inside = np.minimum(inside, np.minimum(across, 150.0 - across))
    foam_hu = scene.between(-975.0, -820.0)
    _fill(scene.hu, inside, scene.space.pixel_mm, cover=(1.5, -400.0), fill_hu=foam_hu)


def _vacuum_bag(scene: Scene, bottom: float, top: float) -> None:
    thickness = scene.between(25.0, 60.0)
    rim = top + scene.between(0.3, 1.0) * scene.reach
    planes = scene.planes(scene.apex_z - scene.between(120.0, 500.0) * scene.unit, np.inf)
    wobble = 5.0 * texture(scene.space.axes, scene.rng, scale_mm=45.0)
    inside = scene.envelope + thickness + wobble
    inside = np.minimum(inside, np.minimum(rim + wobble - scene.height, scene.height - bottom))
    z = scene.space.z
    inside = np.minimum(inside, z - z[:, :, planes.start : planes.start + 1] + 4.0)[:, :, planes]
    axes = (*scene.space.axes[:2], scene.space.axes[2][planes])
    beads = texture(axes, scene.rng, scale_mm=scene.between(3.0, 5.0))
    fill_hu = scene.between(-965.0, -780.0) + scene.between(10.0, 60.0) * beads
    shell = (scene.between(1.0, 2.5), scene.between(-500.0, -50.0))
    _fill(scene.hu[:, :, planes], inside, scene.space.pixel_mm, cover=shell, fill_hu=fill_hu)


def _head_holder(scene: Scene, bottom: float, top: float) -> None:
    start = scene.apex_z + scene.between(-10.0, 25.0) * scene.unit
    planes = scene.planes(start, np.inf)
    away = -scene.envelope[:, :, planes]
    gap, wall = scene.between(4.0, 22.0), scene.between(4.0, 10.0)
    inside = np.minimum(away - gap, gap + wall - away)
    rim = top + scene.between(0.5, 0.9) * scene.reach
    inside = np.minimum(inside, rim - scene.height)
    hu, pixel = scene.hu[:, :, planes], scene.space.pixel_mm
    pad = np.minimum(np.minimum(gap - away, away), rim - scene.height)
    paint(hu, coverage(pad, pixel), scene.between(-970.0, -900.0))
    shell_hu = scene.between(-500.0, 150.0)
    _fill(hu, inside, pixel, cover=(1.5, shell_hu), fill_hu=scene.between(-980.0, -700.0))


def _arm_support(scene: Scene, bottom: float, top: float) -> None:
    planes = scene.planes(scene.apex_z - 40.0 * scene.unit, np.inf)
    hu, pixel = scene.hu[:, :, planes], scene.space.pixel_mm
    radius, wall = scene.between(45.0, 70.0), scene.between(2.5, 6.0)
    shell_hu = scene.between(-300.0, 200.0)
    height, spread = scene.between(-20.0, 40.0), scene.between(0.85, 1.2) * scene.reach
    for side in (-1.0, 1.0):
        away = np.hypot(scene.across - side * spread, scene.height - height)
        shell = np.minimum(radius - away, away - radius + wall)
        shell = np.minimum(shell, height - scene.height)
        post = np.minimum(
            8.0 - np.abs(scene.across - side * spread), height - radius - scene.height
        )
        post = np.minimum(post, scene.height - bottom)
        inside = np.broadcast_to(np.maximum(shell, post), hu.shape)
        paint(hu, coverage(inside, pixel), shell_hu)


def _breast_board(scene: Scene, bottom: float, top: float) -> None:
    half_width, plate = scene.between(170.0, 260.0), scene.between(4.0, 9.0)
    board_hu = scene.between(-150.0, 200.0)
    z = scene.space.z
    fall = (z - z.min()) / max(float(np.ptp(z)), 1.0) * (top - bottom - 2.0 * plate)
    for level in (np.full_like(z, top), top - plate - fall):
        inside = np.minimum(level - scene.height, scene.height - level + plate)
        inside = np.minimum(inside, half_width - np.abs(scene.across))
        paint(scene.hu, coverage(inside, scene.space.pixel_mm), board_hu)


def _calibration_rods(scene: Scene, bottom: float, top: float) -> None:
    inside = np.minimum(top - 1.0 - scene.height, scene.height - bottom)
    inside = np.minimum(inside, 140.0 - np.abs(scene.across))
    paint(scene.hu, coverage(np.broadcast_to(inside, scene.hu.shape), scene.space.pixel_mm), 80.0)
    ends = float(scene.space.axes[2][0]), float(scene.space.axes[2][-1])
    height, radius = 0.5 * (bottom + top), min(10.0, 0.36 * (top - bottom))
    for across, density in zip((-110, -55, 0, 55, 110), (-90, 5, 150, 420, 900), strict=True):
        points = [scene.point(float(across), height, z) for z in ends]
        draw_tube(scene.hu, scene.space, points, radius=radius, wall_hu=float(density))


def _fill(
    hu: Floats,
    inside: Floats,
    soft_mm: float,
    *,
    cover: tuple[float, float],
    fill_hu: float | Floats,
) -> None:
    if inside.shape != hu.shape:
        inside = np.broadcast_to(inside, hu.shape)
    paint(hu, coverage(inside, soft_mm), cover[1])
    paint(hu, coverage(inside - cover[0], soft_mm), fill_hu)


CUSHIONS: dict[str, tuple[float, float, Painter]] = {
    "mattress": (0.12, 40.0, _mattress),
    "air mattress": (0.04, 65.0, _air_mattress),
    "cushion": (0.06, 3.0, _cushion),
    "wedge cushion": (0.05, 3.0, _wedge),
    "vacuum bag": (0.08, 25.0, _vacuum_bag),
    "head holder": (0.06, 0.0, _head_holder),
    "arm supports": (0.05, 0.0, _arm_support),
    "breast board": (0.04, 70.0, _breast_board),
    "calibration rods": (0.025, 30.0, _calibration_rods),
}
"""Chance, thickness below the back in mm, and drawing of each kind of cushion."""
