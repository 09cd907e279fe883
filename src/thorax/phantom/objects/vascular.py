"""Stents, valves and devices of heart and vessels, and their calcification."""

from itertools import pairwise

import numpy as np

from thorax.phantom import tissue
from thorax.phantom.mediastinum import Tube, airways, aorta, heart_depth
from thorax.phantom.objects.patient import METAL_HU, PatientAnatomy
from thorax.phantom.objects.scene import crop
from thorax.phantom.space import Point, capsule_depth, coverage, paint, texture


def draw_pacemaker(patient: PatientAnatomy) -> None:
    """Draw a pacemaker or defibrillator below a clavicle, with its leads to the heart."""
    side = patient.side(0.2)
    unit = patient.unit
    x, z = side * patient.between(62.0, 88.0) * unit, patient.habitus.z(patient.between(0.78, 0.9))
    thickness = patient.between(3.0, 6.5)
    depth = thickness + patient.between(4.0, 9.0)
    half = patient.between(19.0, 28.0)
    patient.device((x, depth, z), (half, thickness, 0.9 * half), METAL_HU)
    patient.device((x - side * 4.0, depth, z + 0.9 * half + 5.0), (13.0, thickness, 7.0), 450.0)
    y = patient.front_of_skin(x, z + half) - depth
    _draw_leads(patient, (x, y, z + half), side)


def _draw_leads(patient: PatientAnatomy, device: Point, side: float) -> None:
    x, y, z = patient.habitus.heart_centre
    size = patient.habitus.heart / 55.0
    ends: list[Point] = [
        (x - 26.0 * size, y + 30.0 * size, z - 24.0 * size),
        (x + 30.0 * size, y + 16.0 * size, z + 12.0 * size),
        (x - 30.0 * size, y - 26.0 * size, z + 4.0 * size),
    ]
    atrium: Point = (26.0, y - 2.0, z + 8.0)
    for end in ends[: int(patient.rng.integers(1, 4))]:
        vein = [patient.subclavian(side)[1], *patient.brachiocephalic(side)]
        path = [device, *vein, *patient.cava()[1:], atrium, end]
        patient.tube(path, radius=patient.between(0.8, 1.4), wall_hu=2600.0)
        if patient.rng.random() < 0.4:
            patient.tube([atrium, end], radius=1.9, wall_hu=METAL_HU)
        patient.ellipsoid(end, (2.5, 2.5, 2.5), METAL_HU)


def draw_valve(patient: PatientAnatomy) -> None:
    """Draw one or two prosthetic valves: a metal ring, with leaflets if mechanical."""
    x, y, z = patient.habitus.heart_centre
    unit = patient.habitus.heart / 55.0
    places: list[tuple[Point, Point]] = [
        ((8.0, y + 8.0, z + 18.0 * unit), (0.2, 0.3, 1.0)),
        ((x + 4.0, y - 10.0 * unit, z), (-0.9, 0.5, -0.3)),
        ((x + 26.0 * unit, y + 10.0 * unit, z - 6.0), (-0.8, 0.6, 0.0)),
    ]
    order = patient.rng.permutation(3)[: int(patient.rng.integers(1, 3))]
    for n in order:
        centre, normal = places[int(n)]
        radius, wire = patient.between(9.0, 14.0) * unit, patient.between(1.0, 2.2)
        patient.ring(centre, normal, radius, wire=wire, hu=METAL_HU)
        if patient.rng.random() < 0.5:
            patient.ellipsoid(centre, (1.5, 0.8 * radius, 0.7 * radius), 2200.0)


def draw_coronary_stents(patient: PatientAnatomy) -> None:
    """Draw stents on the surface of the heart."""
    for start, end in _coronary_pieces(patient, int(patient.rng.integers(1, 4)), 18.0):
        patient.tube([start, end], radius=1.9, wall_hu=1500.0, lumen=(0.9, 200.0))


def draw_coronary_calcification(patient: PatientAnatomy) -> None:
    """Draw calcified plaques in the coronary arteries."""
    for start, end in _coronary_pieces(patient, int(patient.rng.integers(3, 14)), 9.0):
        radius, density = patient.between(0.8, 2.2), patient.between(250.0, 1100.0)
        patient.tube([start, end], radius=radius, wall_hu=density)


def _coronary_pieces(
    patient: PatientAnatomy, number: int, length: float
) -> list[tuple[Point, Point]]:
    # The left anterior descending, circumflex and right coronary arteries, relative to the heart.
    arteries = (
        ((10.0, 26.0, 34.0), (-28.0, 44.0, -22.0)),
        ((4.0, 4.0, 36.0), (-46.0, -20.0, 4.0)),
        ((26.0, 26.0, 28.0), (44.0, 14.0, -24.0)),
    )
    centre, size = np.array(patient.habitus.heart_centre), patient.habitus.heart / 55.0
    pieces: list[tuple[Point, Point]] = []
    for _ in range(number):
        start, end = (np.array(p) * size for p in arteries[int(patient.rng.integers(3))])
        step = (end - start) / np.linalg.norm(end - start)
        middle = centre + start + (end - start) * patient.rng.uniform(0.0, 0.85)
        middle = middle + patient.rng.normal(0.0, 1.5, 3)
        stop = middle + step * length * patient.rng.uniform(0.3, 1.2)
        pieces.append(
            (
                (float(middle[0]), float(middle[1]), float(middle[2])),
                (float(stop[0]), float(stop[1]), float(stop[2])),
            )
        )
    return pieces


def draw_aortic_calcification(patient: PatientAnatomy) -> None:
    """Draw calcified plaques in the wall of the aorta."""
    amount = patient.between(-0.1, 1.1)
    density = patient.between(350.0, 1100.0)
    for tube in aorta(patient.habitus):
        box, inside = tube.depth(patient.space, margin_mm=4.0)
        if not inside.size:
            continue
        axes = crop(patient.space, box).axes
        spots = texture(axes, patient.rng, scale_mm=8.0)
        plaque = np.minimum(1.4 - np.abs(inside - 0.8), 3.0 * (spots - amount))
        patient.fill(box, plaque, density)


def draw_aortic_stent(patient: PatientAnatomy) -> None:
    """Draw a stent graft in the descending aorta."""
    tubes = aorta(patient.habitus)[4:]
    _draw_mesh(patient, tubes, shrink=1.0, cell_mm=6.0, density=patient.between(1400.0, 3000.0))


def draw_airway_stent(patient: PatientAnatomy) -> None:
    """Draw a stent in the trachea or in a main bronchus."""
    tube = airways(patient.habitus)[int(patient.rng.integers(1, 4))]
    _draw_mesh(patient, [tube], shrink=-0.6, cell_mm=4.0, density=patient.between(300.0, 2500.0))


def draw_oesophageal_stent(patient: PatientAnatomy) -> None:
    """Draw a stent in the oesophagus, filled with air or food."""
    radius = patient.between(8.0, 11.0) * patient.unit
    points = patient.oesophagus()[1:4]
    density = float(patient.rng.choice([tissue.GAS_HU, tissue.GAS_HU, 20.0]))
    pairs = list(pairwise(points))
    for start, end in pairs:
        patient.tube([start, end], radius=radius, wall_hu=density)
    tubes = [Tube(start, end, (radius, radius)) for start, end in pairs]
    _draw_mesh(patient, tubes, shrink=0.0, cell_mm=5.0, density=patient.between(1200.0, 3000.0))


def _draw_mesh(
    patient: PatientAnatomy, tubes: list[Tube], *, shrink: float, cell_mm: float, density: float
) -> None:
    """Draw a mesh of wires on the wall of tubes, `shrink` mm inside the wall."""
    for tube in tubes:
        box, inside = tube.depth(patient.space, margin_mm=5.0)
        x, y, z = patient.space.at(box)
        middle = 0.5 * (np.array(tube.start) + np.array(tube.end))
        turn = np.arctan2(y - middle[1], x - middle[0]) * max(tube.radii)
        wires = np.cos(np.pi * (turn + z) / cell_mm) * np.cos(np.pi * (turn - z) / cell_mm)
        shell = np.minimum(1.2 - np.abs(inside - shrink), -patient.lungs.depth[box])
        cover = coverage(shell, patient.space.pixel_mm) * (0.35 + 0.65 * (np.abs(wires) < 0.4))
        paint(patient.hu[box], cover, density)


def draw_balloon_pump(patient: PatientAnatomy) -> None:
    """Draw a gas-filled balloon in the descending aorta."""
    tubes = aorta(patient.habitus)[4:]
    radius = 0.72 * patient.habitus.aorta
    for tube in tubes[:3]:
        box = patient.space.box_around(tube.start, tube.end, margin_mm=radius + 3.0)
        inside = capsule_depth(patient.space.at(box), tube.start, tube.end, (radius, radius))
        patient.fill(box, inside, -950.0)
    points = [tubes[0].start, *(tube.end for tube in tubes)]
    patient.tube(points, radius=1.3, wall_hu=1500.0)


def draw_assist_device(patient: PatientAnatomy) -> None:
    """Draw a left ventricular assist device at the apex of the heart, with its graft."""
    x, y, z = patient.habitus.heart_centre
    size = patient.habitus.heart
    apex: Point = (x - 0.6 * size, y + 0.4 * size, z - 0.4 * size)
    radius = 24.0 * patient.unit
    patient.ellipsoid(apex, (radius, radius, 0.7 * radius), METAL_HU)
    patient.ellipsoid(apex, (0.5 * radius, 0.5 * radius, 0.3 * radius), 45.0)
    graft = [apex, (x + 30.0, y + size, z - 10.0), (20.0, y + 16.0, z + 40.0)]
    patient.tube(graft, radius=8.0, wall_hu=250.0, lumen=(6.5, patient.habitus.blood_hu))


def draw_loop_recorder(patient: PatientAnatomy) -> None:
    """Draw a small recorder under the skin in front of the heart."""
    x, z = -patient.between(15.0, 45.0), patient.habitus.z(patient.between(0.5, 0.65))
    y = patient.front_of_skin(x, z) - patient.between(5.0, 9.0)
    start: Point = (x, y, z)
    patient.tube([start, (x - 30.0, y - 4.0, z - 35.0)], radius=3.2, wall_hu=2800.0)


def draw_pericardial_calcification(patient: PatientAnatomy) -> None:
    """Draw a calcified shell around a part of the heart."""
    box, inside = heart_depth(patient.space, patient.habitus)
    if not inside.size:
        return
    axes = crop(patient.space, box).axes
    spots = texture(axes, patient.rng, scale_mm=30.0)
    shell = np.minimum(1.6 - np.abs(inside - 1.0), 6.0 * (spots - patient.between(0.0, 1.0)))
    patient.fill(box, shell, patient.between(300.0, 900.0))


VASCULAR = {
    "pacemaker": (2.4, draw_pacemaker),
    "prosthetic valve": (1.3, draw_valve),
    "coronary stents": (1.0, draw_coronary_stents),
    "coronary calcification": (1.8, draw_coronary_calcification),
    "aortic calcification": (1.8, draw_aortic_calcification),
    "aortic stent graft": (1.0, draw_aortic_stent),
    "airway stent": (1.0, draw_airway_stent),
    "oesophageal stent": (1.0, draw_oesophageal_stent),
    "aortic balloon pump": (1.0, draw_balloon_pump),
    "ventricular assist device": (1.0, draw_assist_device),
    "loop recorder": (1.0, draw_loop_recorder),
    "pericardial calcification": (1.0, draw_pericardial_calcification),
}
"""Relative frequency and drawing of each cardiovascular implant or calcification."""
