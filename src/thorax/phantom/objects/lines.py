"""Catheters, tubes and drains inside the patient."""

import numpy as np

from thorax.phantom import tissue
from thorax.phantom.objects.patient import METAL_HU, PatientAnatomy
from thorax.phantom.space import Point


def draw_central_line(patient: PatientAnatomy) -> None:
    """Draw one or two catheters from the neck or a subclavian vein to the vena cava."""
    for _ in range(int(patient.rng.integers(1, 3))):
        side = patient.side(0.7)
        if patient.rng.random() < 0.6:
            start: list[Point] = [(side * 38.0, -6.0, patient.habitus.z(1.35))]
        else:
            start = list(patient.subclavian(side))
        path = [*start, *patient.brachiocephalic(side), *patient.cava()[1:]]
        density, radius = patient.between(250.0, 1100.0), patient.between(1.0, 2.3)
        patient.tube(path, radius=radius, wall_hu=density)


def draw_dialysis_catheter(patient: PatientAnatomy) -> None:
    """Draw a thick catheter with two lumens, tunnelled under the skin, into the right atrium."""
    x, z = 60.0 * patient.unit, patient.habitus.z(0.75)
    low: Point = (x, patient.front_of_skin(x, z) - 5.0, z)
    neck: Point = (36.0, 10.0, patient.habitus.z(1.12))
    _, _, atrium = patient.cava()
    path = [low, neck, *patient.cava()[:2], (atrium[0], atrium[1], atrium[2] - 20.0)]
    patient.tube(path, radius=3.2, wall_hu=500.0, lumen=(1.6, tissue.WATER_HU))


def draw_port(patient: PatientAnatomy) -> None:
    """Draw a port under the skin of the chest, with a catheter to the vena cava."""
    side = patient.side(0.7)
    x, z = side * patient.between(55.0, 85.0) * patient.unit, patient.habitus.z(0.82)
    depth = patient.between(9.0, 13.0)
    y = patient.front_of_skin(x, z) - depth
    metal = patient.rng.random() < 0.5
    patient.device((x, depth, z), (14.0, 6.0, 14.0), METAL_HU if metal else 350.0)
    patient.device((x, depth - 2.0, z), (7.0, 4.5, 7.0), 120.0)
    medial = patient.subclavian(side)[1]
    path = [(x, y, z + 12.0), medial, *patient.brachiocephalic(side), *patient.cava()[1:]]
    patient.tube(path, radius=1.5, wall_hu=patient.between(300.0, 900.0))


def draw_tracheal_tube(patient: PatientAnatomy) -> None:
    """Draw an endotracheal tube with a cuff; it may reach into the right main bronchus."""
    neck, inlet, carina = patient.trachea()
    low = np.array(carina) + (np.array(inlet) - np.array(carina)) * patient.between(0.1, 0.7)
    end: Point = (float(low[0]), float(low[1]), float(low[2]))
    radius = 0.68 * patient.habitus.trachea
    cuff: Point = (end[0], end[1], end[2] + 32.0 * patient.unit)
    size = patient.habitus.trachea + patient.between(0.0, 2.5)
    patient.ellipsoid(cuff, (size, size, 16.0 * patient.unit), tissue.AIRWAY_HU)
    wall_hu, lumen = patient.between(60.0, 350.0), (0.72 * radius, tissue.AIRWAY_HU)
    patient.tube([neck, inlet, end], radius=radius, wall_hu=wall_hu, lumen=lumen)


def draw_tracheostomy(patient: PatientAnatomy) -> None:
    """Draw a curved tube from the front of the neck into the trachea, with its flange."""
    _, inlet, carina = patient.trachea()
    z = patient.habitus.z(patient.between(1.05, 1.15))
    skin = patient.front_of_skin(2.0, z)
    start: Point = (2.0, skin + 12.0, z + 4.0)
    bend: Point = (2.0, inlet[1] + 3.0, z - 3.0)
    share = patient.between(0.3, 0.6)
    end: Point = (2.5, 0.5 * (inlet[1] + carina[1]), inlet[2] + share * (carina[2] - inlet[2]))
    radius = 0.7 * patient.habitus.trachea
    wall_hu = float(patient.rng.choice([150.0, 350.0, 2600.0]))
    lumen = (0.7 * radius, tissue.AIRWAY_HU)
    patient.ellipsoid((2.0, skin + 3.0, z + 2.0), (30.0, 2.5, 12.0), 150.0)
    patient.tube([start, bend, end], radius=radius, wall_hu=wall_hu, lumen=lumen)


def draw_feeding_tube(patient: PatientAnatomy) -> None:
    """Draw a nasogastric tube through the oesophagus into the stomach."""
    stomach: Point = (-55.0, 14.0, patient.habitus.dome - 45.0)
    radius = patient.between(1.8, 3.2)
    patient.tube(
        [*patient.oesophagus(), stomach],
        radius=radius,
        wall_hu=patient.between(150.0, 1200.0),
        lumen=(0.5 * radius, tissue.GAS_HU) if patient.rng.random() < 0.5 else None,
    )


def draw_chest_drain(patient: PatientAnatomy) -> None:
    """Draw one or two drains through the chest wall into the pleural space."""
    for _ in range(1 + int(patient.rng.random() < 0.3)):
        side, half = patient.side(), patient.habitus.cage_half_width
        z, y = patient.habitus.z(patient.between(0.3, 0.55)), patient.between(-10.0, 30.0)
        outside: Point = (side * (half + 70.0 * patient.unit), y + 15.0, z - 45.0)
        entry: Point = (side * 0.95 * half, y, z)
        if patient.rng.random() < 0.6:
            middle: Point = (side * 0.82 * half, -20.0 * patient.unit, patient.habitus.z(0.68))
            tip: Point = (side * 0.42 * half, -15.0 * patient.unit, patient.habitus.z(0.9))
        else:
            middle = (side * 0.8 * half, -0.6 * patient.habitus.cage_half_depth, z + 5.0)
            tip = (side * 0.4 * half, -0.75 * patient.habitus.cage_half_depth, z + 25.0)
        radius = patient.between(3.0, 6.5)
        wall_hu = float(patient.rng.choice([120.0, 300.0, 900.0]))
        lumen_hu = float(patient.rng.choice([-985.0, -985.0, tissue.WATER_HU]))
        path, lumen = [outside, entry, middle, tip], (0.66 * radius, lumen_hu)
        patient.tube(path, radius=radius, wall_hu=wall_hu, lumen=lumen, in_lungs=True)


def draw_cannulas(patient: PatientAnatomy) -> None:
    """Draw the thick cannulas of extracorporeal circulation in the caval veins."""
    _, y, z = patient.habitus.heart_centre
    foot: list[Point] = [
        (26.0, y - 22.0, patient.habitus.z(-0.3)),
        (20.0, y - 18.0, z - 10.0),
        (26.0, y - 6.0, z + 12.0),
    ]
    patient.tube(foot, radius=4.4, wall_hu=900.0, lumen=(3.3, 45.0))
    if patient.rng.random() < 0.6:
        neck: Point = (38.0, -6.0, patient.habitus.z(1.35))
        patient.tube([neck, *patient.cava()[:2]], radius=4.0, wall_hu=900.0, lumen=(3.0, 45.0))


def draw_contrast_bolus(patient: PatientAnatomy) -> None:
    """Draw undiluted contrast medium in the veins of one arm and in the vena cava."""
    side = patient.side()
    lateral, medial = patient.subclavian(side)
    axilla: Point = (lateral[0] * 1.35, lateral[1] - 2.0, lateral[2] - 10.0)
    density = patient.between(1500.0, 3000.0)
    path = [axilla, lateral, medial, *patient.brachiocephalic(side)]
    patient.tube(path, radius=patient.between(3.5, 6.5), wall_hu=density)
    cava = list(patient.cava())
    patient.tube(cava, radius=8.0, wall_hu=density * patient.between(0.25, 0.8))


def draw_epidural(patient: PatientAnatomy) -> None:
    """Draw a thin catheter from the skin of the back into the spinal canal."""
    z = patient.habitus.z(patient.between(0.2, 0.6))
    canal = patient.habitus.vertebra + 7.0
    path = [patient.spine_point(x, b + canal, z + d) for x, b, d in _EPIDURAL]
    patient.tube(path, radius=1.1, wall_hu=700.0)


_EPIDURAL = ((14.0, 55.0, -40.0), (8.0, 28.0, -8.0), (0.0, 3.0, 10.0), (1.0, 2.0, 70.0))

LINES = {
    "central venous catheter": (2.2, draw_central_line),
    "dialysis catheter": (1.0, draw_dialysis_catheter),
    "port": (1.6, draw_port),
    "endotracheal tube": (1.6, draw_tracheal_tube),
    "tracheostomy tube": (1.0, draw_tracheostomy),
    "feeding tube": (1.6, draw_feeding_tube),
    "chest drain": (1.8, draw_chest_drain),
    "circulation cannulas": (1.0, draw_cannulas),
    "contrast in a subclavian vein": (1.5, draw_contrast_bolus),
    "spinal catheter": (1.0, draw_epidural),
}
"""Relative frequency and drawing of each line, tube or drain."""
