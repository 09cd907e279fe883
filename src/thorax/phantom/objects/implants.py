"""Breast implants, orthopaedic metal, clips and foreign bodies."""

import numpy as np

from thorax.phantom import tissue
from thorax.phantom.anatomy import SIDES
from thorax.phantom.objects.patient import METAL_HU, PatientAnatomy
from thorax.phantom.objects.scene import crop
from thorax.phantom.space import Point, capsule_depth, coverage, ellipsoid_depth, paint, texture
from thorax.phantom.wall import RIB_DROP_MM, SKIN_MM, VERTEBRA_PITCH_MM


def draw_breast_implants(patient: PatientAnatomy) -> None:
    """Draw silicone or saline implants in front of the ribs; they raise the skin."""
    size, flat = patient.between(46.0, 68.0) * patient.unit, patient.between(0.45, 0.75)
    filling_hu = float(patient.rng.choice([5.0, 85.0, 130.0]))
    capsule_hu = float(patient.rng.choice([140.0, 140.0, 450.0]))
    layer = patient.between(6.0, 22.0) * patient.unit
    sides = list(SIDES.values())
    if patient.rng.random() < 0.2:
        sides = sides[: 1 + int(patient.rng.integers(2))][-1:]
    for side in sides:
        radii = (size, flat * size, patient.between(0.9, 1.1) * size)
        _draw_breast(patient, side, radii, (filling_hu, capsule_hu, layer))


def draw_tissue_expander(patient: PatientAnatomy) -> None:
    """Draw a breast expander filled with gas or saline, with or without a metal port."""
    size, side = patient.between(42.0, 62.0) * patient.unit, patient.side()
    filling_hu = float(patient.rng.choice([-990.0, -990.0, 5.0]))
    radii = (size, patient.between(0.5, 0.75) * size, size)
    layer = patient.between(6.0, 14.0) * patient.unit
    centre = _draw_breast(patient, side, radii, (filling_hu, 150.0, layer))
    if patient.rng.random() < 0.6:
        port: Point = (centre[0], centre[1] + 0.7 * radii[1], centre[2])
        patient.ellipsoid(port, (14.0, 4.0, 14.0), METAL_HU)


def _draw_breast(
    patient: PatientAnatomy, side: float, radii: Point, filling: tuple[float, float, float]
) -> Point:
    filling_hu, capsule_hu, layer = filling
    x = side * patient.between(0.55, 0.68) * patient.habitus.cage_half_width
    z = patient.habitus.z(patient.between(0.42, 0.52))
    centre: Point = (x, patient.front_of_cage(x, z) + 12.0 + 0.55 * radii[1], z)
    box = patient.space.box_around(centre, margin_mm=max(radii) + layer + 4.0)
    if 0 in patient.hu[box].shape:
        return centre
    outline, soft = patient.outline(box), patient.space.pixel_mm
    at, hu = patient.space.at(box), patient.hu[box]
    around = (radii[0] + layer, radii[1] + layer, radii[2] + layer)
    ahead = -outline.cage - 12.0 * patient.unit
    bulge = np.minimum(ellipsoid_depth(at, centre, around), ahead)
    added = coverage(SKIN_MM - outline.skin, soft)
    paint(hu, coverage(bulge, soft) * added, tissue.SKIN_HU)
    paint(hu, coverage(bulge - SKIN_MM, soft) * added, tissue.FAT_HU)
    inside = np.minimum(ellipsoid_depth(at, centre, radii), ahead)
    paint(hu, coverage(inside, soft), capsule_hu)
    paint(hu, coverage(inside - 1.8, soft), filling_hu)
    return centre


def draw_sternal_wires(patient: PatientAnatomy) -> None:
    """Draw rings of wire around the sternum after a sternotomy."""
    for level in np.linspace(0.4, 0.8, int(patient.rng.integers(4, 8))):
        z = patient.habitus.z(float(level)) + patient.between(-3.0, 3.0)
        y = patient.front_of_cage(0.0, z) + 6.0
        normal = (0.0, patient.between(-0.3, 0.3), 1.0)
        centre = (patient.between(-3.0, 3.0), y, z)
        patient.ring(centre, normal, patient.between(8.0, 11.0), wire=0.9, hu=METAL_HU)


def draw_clips(patient: PatientAnatomy) -> None:
    """Draw surgical clips in a breast, an axilla, the mediastinum or at a hilum."""
    half, z = patient.habitus.cage_half_width, patient.habitus.z
    side = patient.side()
    places: list[Point] = [
        (side * 0.6 * half, 0.95 * patient.habitus.cage_half_depth + 10.0, z(0.45)),
        (side * (0.86 * half + 18.0), 0.0, z(0.8)),
        (-10.0, 0.5 * patient.habitus.cage_half_depth, z(0.6)),
        (side * 40.0, -6.0, z(0.53)),
    ]
    centre = np.array(places[int(patient.rng.integers(len(places)))])
    for _ in range(int(patient.rng.integers(3, 13))):
        start = centre + patient.rng.normal(0.0, (12.0, 9.0, 16.0))
        end = start + patient.rng.normal(0.0, 2.5, 3)
        points: list[Point] = [(float(p[0]), float(p[1]), float(p[2])) for p in (start, end)]
        patient.tube(points, radius=1.1, wall_hu=METAL_HU, in_lungs=True)


def _spine_levels(patient: PatientAnatomy, number: int) -> list[int]:
    top = max(2, int(0.85 * patient.habitus.lung_height / VERTEBRA_PITCH_MM) - number)
    first = int(patient.rng.integers(0, top))
    return list(range(first, first + number))


def draw_spinal_rods(patient: PatientAnatomy) -> None:
    """Draw pedicle screws and rods behind the spine."""
    size = patient.habitus.vertebra
    levels = _spine_levels(patient, int(patient.rng.integers(2, 8)))
    for side in SIDES.values():
        heads: list[Point] = []
        for number in levels:
            z = patient.vertebra_z(number)
            head = patient.spine_point(side * 21.0, size + 28.0, z)
            tip = patient.spine_point(side * 7.0, -0.5 * size, z)
            patient.tube([head, tip], radius=2.8, wall_hu=METAL_HU)
            patient.ellipsoid(head, (6.0, 6.0, 6.0), METAL_HU)
            heads.append(head)
        patient.tube(heads, radius=2.8, wall_hu=METAL_HU)


def draw_bone_cement(patient: PatientAnatomy) -> None:
    """Draw cement in vertebral bodies after vertebroplasty."""
    density = patient.between(1200.0, 3000.0)
    for number in _spine_levels(patient, int(patient.rng.integers(1, 4))):
        size = 0.62 * patient.habitus.vertebra
        centre = patient.spine_point(patient.between(-3.0, 3.0), 0.0, patient.vertebra_z(number))
        box = patient.space.box_around(centre, margin_mm=1.8 * size)
        if 0 in patient.hu[box].shape:
            continue
        lumps = texture(crop(patient.space, box).axes, patient.rng, scale_mm=7.0)
        inside = ellipsoid_depth(patient.space.at(box), centre, (1.25 * size, size, 0.9 * size))
        inside += 2.2 * lumps
        patient.fill(box, inside, density)


def draw_shoulder_prosthesis(patient: PatientAnatomy) -> None:
    """Draw the head and stem of a shoulder prosthesis on one or both sides."""
    for side in (patient.side(),) if patient.rng.random() < 0.8 else (-1.0, 1.0):
        radius, z = 22.0 * patient.unit, patient.habitus.z(patient.between(0.9, 1.03))
        x = patient.lateral_skin(-4.0, z, side) - side * (radius + 8.0)
        head: Point = (x, -4.0, z)
        patient.ellipsoid(head, (radius, radius, radius), METAL_HU)
        down = -1.0 if patient.rng.random() < 0.5 else 1.0
        stem: Point = (x + side * 14.0, 2.0, head[2] + down * 110.0 * patient.unit)
        patient.tube([head, stem], radius=6.5, wall_hu=METAL_HU)


def draw_rib_plates(patient: PatientAnatomy) -> None:
    """Draw metal plates with screws on the outer face of two to five ribs."""
    side, half = patient.side(), patient.habitus.cage_half_width
    low, high = patient.habitus.z(0.15), patient.habitus.z(0.75)
    deep = 1.2 * patient.habitus.cage_half_depth
    corners: list[Point] = [(0.3 * side * half, -deep, low), (1.2 * side * half, deep, high)]
    box = patient.space.box_around(*corners, margin_mm=6.0)
    if 0 in patient.hu[box].shape:
        return
    outline, z = patient.outline(box), patient.space.at(box)[2]
    turn = (z + RIB_DROP_MM * outline.front) / VERTEBRA_PITCH_MM + patient.habitus.vertebra_phase
    number = np.round(turn)
    lowest, highest = int(number.min()) + 2, int(number.max()) - 3
    first = int(patient.rng.integers(lowest, max(lowest + 1, highest)))
    plated = (number >= first) & (number < first + int(patient.rng.integers(2, 6)))
    start = patient.between(0.2, 0.5)
    ends = np.minimum(outline.front - start, start + patient.between(0.12, 0.3) - outline.front)
    inside = np.minimum(
        1.7 - np.abs(outline.cage + 13.0), 4.0 - VERTEBRA_PITCH_MM * np.abs(turn - number)
    )
    inside = np.minimum(np.minimum(inside, 100.0 * ends), np.where(plated, 9.0, -9.0))
    patient.fill(box, inside, METAL_HU)


def draw_fragments(patient: PatientAnatomy) -> None:
    """Draw a bullet, or many lead pellets, anywhere in the chest."""
    pellets = patient.rng.random() < 0.4
    spread = np.array([0.8, 0.8, 0.35])
    size = np.array(
        [patient.habitus.cage_half_width, patient.habitus.cage_half_depth + 15.0, 250.0]
    )
    centre = patient.rng.uniform(-1.0, 1.0, 3) * spread * size + (0.0, 0.0, patient.habitus.z(0.5))
    for _ in range(
        int(patient.rng.integers(8, 40)) if pellets else int(patient.rng.integers(1, 4))
    ):
        place = centre + patient.rng.normal(0.0, 26.0, 3)
        step = patient.rng.normal(0.0, 0.1 if pellets else 5.0, 3)
        points: list[Point] = [
            (float(p[0]), float(p[1]), float(p[2])) for p in (place, place + step)
        ]
        radius = patient.between(1.2, 2.2) if pellets else patient.between(2.5, 4.8)
        patient.tube(points, radius=radius, wall_hu=3071.0, in_lungs=True)


def draw_clavicle_plate(patient: PatientAnatomy) -> None:
    """Draw a plate with screws on a clavicle."""
    side, half = patient.side(), patient.habitus.cage_half_width
    start = (side * 45.0, 0.52 * patient.habitus.cage_half_depth, patient.habitus.z(0.89))
    end = (side * 0.8 * half, 4.0, patient.habitus.z(1.01))
    raised: list[Point] = [(p[0], p[1] + 6.0, p[2] + 4.0) for p in (start, end)]
    box = patient.space.box_around(*raised, margin_mm=8.0)
    inside = capsule_depth(patient.space.at(box), raised[0], raised[1], (2.4, 2.4))
    patient.fill(box, inside, METAL_HU)
    for share in np.linspace(0.05, 0.95, 6):
        x, y, z = (float(a + share * (b - a)) for a, b in zip(*raised, strict=True))
        patient.tube([(x, y, z), (x, y - 12.0, z - 6.0)], radius=1.4, wall_hu=METAL_HU)


def draw_stimulator(patient: PatientAnatomy) -> None:
    """Draw an electrode of a spinal cord stimulator in the spinal canal."""
    canal, low = patient.habitus.vertebra + 8.0, patient.habitus.z(patient.between(0.05, 0.35))
    path = [patient.spine_point(patient.between(-2.0, 2.0), canal, low + d) for d in (-90, 0, 60)]
    patient.tube(path, radius=1.0, wall_hu=1200.0)
    for step in np.linspace(0.0, 50.0, 6):
        centre = patient.spine_point(0.0, canal, low + float(step))
        patient.ellipsoid(centre, (2.2, 2.2, 3.0), METAL_HU)


def draw_piercing(patient: PatientAnatomy) -> None:
    """Draw jewellery: piercings of the nipples or a necklace."""
    if patient.rng.random() < 0.5:
        for side in SIDES.values():
            x, z = side * 0.68 * patient.habitus.cage_half_width, patient.habitus.z(0.48)
            y = patient.front_of_skin(x, z)
            patient.tube([(x - 9.0, y, z), (x + 9.0, y, z)], radius=1.3, wall_hu=METAL_HU)
        return
    width = patient.between(40.0, 70.0) * patient.unit
    shape = ((-1.0, 1.05), (-0.6, 0.9), (0.0, 0.82), (0.6, 0.9), (1.0, 1.05))
    chain: list[Point] = []
    for a, level in shape:
        x, z = a * width, patient.habitus.z(level)
        chain.append((x, patient.front_of_skin(x, z) + 2.0, z))
    patient.tube(chain, radius=1.2, wall_hu=METAL_HU)


IMPLANTS = {
    "breast implants": (2.4, draw_breast_implants),
    "tissue expander": (1.0, draw_tissue_expander),
    "sternal wires": (1.8, draw_sternal_wires),
    "surgical clips": (1.6, draw_clips),
    "spinal rods": (1.6, draw_spinal_rods),
    "bone cement": (0.9, draw_bone_cement),
    "shoulder prosthesis": (1.0, draw_shoulder_prosthesis),
    "rib plates": (1.0, draw_rib_plates),
    "bullet or pellets": (1.0, draw_fragments),
    "clavicle plate": (1.0, draw_clavicle_plate),
    "spinal cord stimulator": (1.0, draw_stimulator),
    "jewellery": (1.0, draw_piercing),
}
"""Relative frequency and drawing of each implant or foreign body."""
