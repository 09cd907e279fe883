"""Blankets, clothes, cables, electrodes and hoses on and around the patient."""

from collections.abc import Callable

import numpy as np

from thorax.phantom import tissue
from thorax.phantom.objects.scene import Scene, draw_tube, smooth_path
from thorax.phantom.space import Box, Floats, Point, coverage, ellipsoid_depth, paint, texture

METAL_HU = 3000.0


def _blanket(scene: Scene) -> None:
    base, folds = scene.between(3.0, 18.0), scene.between(2.0, 14.0)
    floor = scene.between(-80.0, 20.0) * scene.unit
    for _ in range(int(scene.rng.integers(1, 4))):
        thickness = scene.between(1.5, 5.0)
        _draw_sheet(scene, (base, folds, thickness), floor, scene.between(-900.0, -350.0))
        base += thickness + scene.between(1.0, 15.0)


def _clothes(scene: Scene) -> None:
    folds = scene.between(1.0, 7.0)
    density = scene.between(-700.0, 0.0)
    _draw_sheet(scene, (2.0, folds, scene.between(1.0, 2.5)), -np.inf, density)
    if scene.rng.random() < 0.4:
        _draw_sheet(scene, (6.0, 2.0 * folds, 2.0), -np.inf, density)
    for _ in range(int(scene.rng.integers(0, 6))):
        point = _place(scene, scene.between(-0.5, 0.5), scene.between(0.0, 1.0), gap_mm=3.0)
        density = float(scene.rng.choice([200.0, 200.0, METAL_HU]))
        _draw_disc(scene, point, (5.0, 2.5, 5.0), density)


def _draw_sheet(
    scene: Scene, sheet: tuple[float, float, float], floor: float, density: float
) -> None:
    base, folds, thickness = sheet
    inside = folds * np.abs(texture(scene.space.axes, scene.rng, scale_mm=scene.between(14, 40)))
    inside += base
    inside += scene.envelope
    np.abs(inside, out=inside)
    np.subtract(0.5 * thickness, inside, out=inside)
    if np.isfinite(floor):
        inside = np.minimum(inside, scene.height - floor)
    filled = min(1.0, 1.3 * thickness / scene.space.pixel_mm)
    cover = coverage(inside, scene.space.pixel_mm) * filled
    cover *= scene.envelope < 0
    paint(scene.hu, cover, density)


def _place(scene: Scene, across: float, level: float, *, gap_mm: float) -> Point:
    # Level 0 is 240 mm below the apex of an adult, level 1 is the apex.
    z = scene.apex_z - (1.0 - level) * 240.0 * scene.unit
    a = across * scene.reach
    return scene.point(a, scene.top(a, z) + gap_mm, z)


def _box(scene: Scene, point: Point, margin_mm: float) -> Box:
    return scene.space.box_around(point, margin_mm=margin_mm)


def _draw_disc(scene: Scene, centre: Point, radii: Point, density: float) -> None:
    box = _box(scene, centre, max(radii) + 3.0)
    high = max(radii[2], 0.5 * scene.space.slice_mm)
    inside = ellipsoid_depth(scene.space.at(box), centre, (radii[0], radii[1], high))
    paint(scene.hu[box], radii[2] / high * coverage(inside, scene.space.pixel_mm), density)


def _electrodes(scene: Scene) -> None:
    for _ in range(int(scene.rng.integers(3, 9))):
        across, level = scene.between(-0.85, 0.85), scene.between(0.1, 0.95)
        point = _place(scene, across, level, gap_mm=1.0)
        size = scene.between(11.0, 20.0)
        _draw_disc(scene, point, (size, 2.6, size), scene.between(-200.0, 400.0))
        snap = _place(scene, across, level, gap_mm=4.0)
        _draw_disc(scene, snap, (3.5, 3.0, 4.5), METAL_HU if scene.rng.random() < 0.5 else 800.0)
        if scene.rng.random() < 0.75:
            _draw_cable(scene, (across, level), radius=scene.between(1.0, 1.8))


def _cables(scene: Scene) -> None:
    for _ in range(int(scene.rng.integers(1, 6))):
        start = (scene.between(-0.9, 0.9), scene.between(-0.1, 0.9))
        _draw_cable(scene, start, radius=scene.between(1.0, 3.5))


def _draw_cable(scene: Scene, start: tuple[float, float], *, radius: float) -> None:
    def position(across: float, level: float) -> tuple[float, float]:
        z = scene.apex_z - (1.0 - level) * 240.0 * scene.unit
        return across * scene.reach, z

    end = position(scene.between(-0.8, 0.8), scene.between(0.9, 1.3))
    gap, wander = radius + scene.between(0.0, 8.0), scene.between(5.0, 30.0)
    points = scene.surface_path(position(*start), end, gap_mm=gap, wander=wander)
    density = float(scene.rng.choice([150.0, 500.0, 1500.0, METAL_HU]))
    path = smooth_path(points, 16)
    draw_tube(scene.hu, scene.space, path, radius=radius, wall_hu=density)


def _oxygen_tube(scene: Scene) -> None:
    side = scene.side()
    start = (side * scene.between(0.0, 0.9) * scene.reach, scene.apex_z - 260.0)
    end = (side * 0.2 * scene.reach, scene.apex_z + 70.0)
    points = scene.surface_path(start, end, gap_mm=4.0, wander=30.0)
    for offset in (0.0, 9.0)[: int(scene.rng.integers(1, 3))]:
        path = [(x + offset, y, z) for x, y, z in smooth_path(points, 16)]
        lumen = (2.0, tissue.AIR_HU)
        draw_tube(scene.hu, scene.space, path, radius=3.6, wall_hu=60.0, lumen=lumen)


def _ventilator_hoses(scene: Scene) -> None:
    side = scene.side()
    for n in range(int(scene.rng.integers(1, 3))):
        radius = scene.between(10.0, 16.0)
        start = (
            side * scene.between(0.2, 1.3) * scene.reach,
            scene.apex_z - 280.0 * scene.unit,
        )
        end = (side * scene.between(0.0, 0.5) * scene.reach, scene.apex_z + 60.0)
        gap = radius + 2.0 + 30.0 * n
        points = scene.surface_path(start, end, gap_mm=gap, wander=25.0)
        lumen = (radius - scene.between(1.0, 2.5), -995.0)
        path, wall_hu = smooth_path(points, 14), scene.between(-200.0, 200.0)
        draw_tube(scene.hu, scene.space, path, radius=radius, wall_hu=wall_hu, lumen=lumen)


def _belt(scene: Scene) -> None:
    low = scene.apex_z - scene.between(120.0, 330.0) * scene.unit
    planes = scene.planes(low, low + scene.between(40.0, 90.0))
    away = -scene.envelope[:, :, planes]
    gap, thickness = scene.between(0.0, 5.0), scene.between(2.5, 5.0)
    inside = np.minimum(away - gap, gap + thickness - away)
    inside = np.minimum(inside, scene.height + 60.0)
    paint(scene.hu[:, :, planes], coverage(inside, scene.space.pixel_mm), scene.between(-250, 150))
    if scene.rng.random() < 0.4 and planes.stop > planes.start:
        z = float(scene.space.axes[2][planes.start])
        top = scene.point(0.0, scene.top(0.0, z) + gap + thickness, z)
        _draw_disc(scene, top, (22.0, 3.0, 15.0), METAL_HU)


def _hollow_box(scene: Scene) -> None:
    """Draw an air-filled box on the chest, such as a respiration belt or a coil."""
    centre = _place(scene, scene.between(-0.3, 0.3), scene.between(-0.1, 0.6), gap_mm=0.0)
    size = np.array([scene.between(35.0, 120.0), scene.between(15.0, 35.0), scene.between(30, 90)])
    box = _box(scene, centre, float(size.max()) + 4.0)
    offsets = [np.abs(c - m) for c, m in zip(scene.space.at(box), centre, strict=True)]
    inside: Floats = np.minimum.reduce(
        [np.broadcast_to(s - o, scene.hu[box].shape) for s, o in zip(size, offsets, strict=True)]
    )
    paint(scene.hu[box], coverage(inside, scene.space.pixel_mm), scene.between(-100.0, 250.0))
    paint(scene.hu[box], coverage(inside - 3.0, scene.space.pixel_mm), tissue.AIR_HU)


COVERS: dict[str, tuple[float, Callable[[Scene], None]]] = {
    "blanket": (0.12, _blanket),
    "clothes": (0.10, _clothes),
    "ECG electrodes": (0.09, _electrodes),
    "cables": (0.08, _cables),
    "oxygen tube": (0.05, _oxygen_tube),
    "ventilator hoses": (0.035, _ventilator_hoses),
    "belt": (0.04, _belt),
    "hollow box on the chest": (0.025, _hollow_box),
}
"""Chance and drawing of each kind of cover."""
