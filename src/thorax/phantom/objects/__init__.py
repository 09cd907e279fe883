"""Objects in a scan that are no patient: support, clothes, lines, implants."""

from dataclasses import dataclass

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus, Outline
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space


@dataclass(frozen=True)
class Equipment:
    """Objects of one scan.

    Args:
        kinds: Name of each object, such as ``hollow couch``.
    """

    kinds: tuple[str, ...] = ()


def draw_equipment(rng: Generator) -> Equipment:
    """Draw the objects of a scan."""
    return Equipment()


def draw_support(
    hu: Floats,
    space: Space,
    outline: Outline,
    equipment: Equipment,
    *,
    gap_mm: float,
    rng: Generator,
) -> None:
    """Draw couch, cushions, clothes and cables into the air around the patient, in place."""


def draw_implants(
    hu: Floats,
    space: Space,
    habitus: Habitus,
    lungs: Lungs,
    equipment: Equipment,
    *,
    rng: Generator,
) -> None:
    """Draw lines, tubes, drains, pacemakers and prostheses inside the patient, in place."""
