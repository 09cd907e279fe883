"""Objects in a scan that are no patient: support, clothes, lines, implants."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from thorax.phantom.anatomy import Habitus, Outline
from thorax.phantom.lungs import Lungs
from thorax.phantom.objects.arms import ARMS, draw_arms
from thorax.phantom.objects.couches import COUCHES, draw_couch_deck
from thorax.phantom.objects.covers import COVERS
from thorax.phantom.objects.cushions import CUSHIONS
from thorax.phantom.objects.implants import IMPLANTS
from thorax.phantom.objects.lines import LINES
from thorax.phantom.objects.patient import PatientAnatomy
from thorax.phantom.objects.scene import make_scene
from thorax.phantom.objects.streaks import draw_streaks
from thorax.phantom.objects.vascular import VASCULAR
from thorax.phantom.space import Floats, Space

INSIDE = {**LINES, **VASCULAR, **IMPLANTS}
"""Relative frequency and drawing of everything inside the patient."""

NUMBER_INSIDE = (0.5, 0.25, 0.13, 0.08, 0.04)
"""Chance of 0, 1, 2, ... objects inside the patient."""

INTENSIVE_CARE = (
    "endotracheal tube",
    "central venous catheter",
    "feeding tube",
    "ECG electrodes",
    "cables",
    "ventilator hoses",
    "chest drain",
)

INTENSIVE_CARE_CHANCE = 0.03

NOTHING_CHANCE = 0.25
"""Chance of a scan with a couch, and with nothing else."""

SINK_MM = (-6.0, 14.0)
"""Range of the gap between the back and the couch; soft surfaces give way to the back."""


@dataclass(frozen=True)
class Equipment:
    """Objects of one scan.

    Args:
        kinds: Name of each object, such as ``hollow couch``.
    """

    kinds: tuple[str, ...] = ()


def draw_equipment(rng: Generator) -> Equipment:
    """Draw the objects of a scan."""
    chances = np.array([chance for chance, _ in COUCHES.values()])
    couch = list(COUCHES)[int(rng.choice(len(COUCHES), p=chances / chances.sum()))]
    kinds = [couch] if couch else []
    if rng.random() < NOTHING_CHANCE:
        return Equipment(tuple(kinds))
    kinds += [name for name, (chance, _, _) in CUSHIONS.items() if rng.random() < chance]
    kinds += [name for name, (chance, _) in COVERS.items() if rng.random() < chance]
    position = float(rng.random())
    for name, chance in ARMS.items():
        if 0.0 <= position < chance:
            kinds.append(name)
        position -= chance
    kinds += _draw_inside(rng)
    if rng.random() < INTENSIVE_CARE_CHANCE:
        kinds += [name for name in INTENSIVE_CARE if rng.random() < 0.75]
    return Equipment(tuple(dict.fromkeys(kinds)))


def _draw_inside(rng: Generator) -> list[str]:
    number = int(rng.choice(len(NUMBER_INSIDE), p=NUMBER_INSIDE))
    weights = np.array([weight for weight, _ in INSIDE.values()])
    picked = rng.choice(len(INSIDE), number, replace=False, p=weights / weights.sum())
    return [list(INSIDE)[int(n)] for n in picked]


def draw_support(
    hu: Floats,
    space: Space,
    outline: Outline,
    equipment: Equipment,
    *,
    gap_mm: float,
    rng: Generator,
) -> None:
    """Draw couch, cushions, clothes and cables into the air around the patient, in place.

    Args:
        hu: Densities; all is air, shape ``(X, Y, Z)``.
        space: Body coordinates.
        outline: Outlines of the patient; what is inside the skin is drawn over later.
        equipment: The objects.
        gap_mm: Air between the back and the usual couch.
        rng: Source of sizes and positions.
    """
    scene = make_scene(hu, space, outline, rng)
    name = next((kind for kind in equipment.kinds if kind in COUCHES), "")
    couch = COUCHES[name][1](rng)
    cushions = [CUSHIONS[kind][1:] for kind in equipment.kinds if kind in CUSHIONS]
    back = scene.contact(couch.rise(scene.across)) - (scene.between(*SINK_MM) if name else gap_mm)
    level = back - max((thickness for thickness, _ in cushions), default=0.0)
    draw_couch_deck(scene, couch, level)
    for _, draw_cushion in cushions:
        draw_cushion(scene, level, back)
    for kind in equipment.kinds:
        if kind in ARMS:
            draw_arms(scene, kind, level)
    for kind in equipment.kinds:
        if kind in COVERS:
            COVERS[kind][1](scene)


def draw_implants(
    hu: Floats,
    space: Space,
    habitus: Habitus,
    lungs: Lungs,
    equipment: Equipment,
    *,
    rng: Generator,
) -> None:
    """Draw lines, tubes, drains, pacemakers and prostheses inside the patient, in place.

    Metal outside and inside the patient then causes streaks. The lungs do not change.
    """
    patient = PatientAnatomy(hu, space, habitus, lungs, rng)
    for kind in equipment.kinds:
        if kind in INSIDE:
            INSIDE[kind][1](patient)
    draw_streaks(hu, space, rng)
