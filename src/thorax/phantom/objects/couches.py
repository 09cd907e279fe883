"""Couches of CT, PET/CT and radiotherapy: cross-sections that do not change along the patient."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from thorax.phantom import tissue
from thorax.phantom.objects.scene import Scene
from thorax.phantom.space import Floats, coverage, paint, smooth_minimum

SAG_AT_MM = 190.0


@dataclass(frozen=True)
class Deck:
    """Cross-section of one part of a couch.

    Args:
        half_width: Half of the width, in mm.
        thickness: Thickness in the middle, in mm.
        bottom: Curvature of the lower face relative to the upper; above 1, the edges are thin.
        shell_mm: Thickness of the shell.
        shell_hu: Density of the shell.
        fill_hu: Density inside the shell.
        gap_mm: Air between this part and the part above.
        struts: Number of walls inside.
    """

    half_width: float
    thickness: float
    bottom: float
    shell_mm: float
    shell_hu: float
    fill_hu: float
    gap_mm: float = 0.0
    struts: int = 0


@dataclass(frozen=True)
class Couch:
    """A couch: rise of its upper face towards the sides, and its parts from top to bottom.

    Args:
        sag_mm: Height of the upper face 190 mm from the middle above the middle.
        decks: Parts from top to bottom; none if no couch is in the field of view.
        rails: True if dense rails run along the sides.
    """

    sag_mm: float
    decks: tuple[Deck, ...]
    rails: bool = False

    def rise(self, across: Floats) -> Floats:
        """Compute the height of the upper face above its middle."""
        return self.sag_mm * (across / SAG_AT_MM) ** 2


def _standard(rng: Generator) -> Couch:
    deck = Deck(205.0, 34.0, 0.35, 3.0, tissue.COUCH_SHELL_HU, tissue.COUCH_FOAM_HU)
    return Couch(float(rng.uniform(18.0, 34.0)), (deck,))


def _flat(rng: Generator) -> Couch:
    half_width, thickness, shell_mm, shell_hu, fill_hu = rng.uniform(
        (190.0, 15.0, 1.5, -350.0, -985.0), (290.0, 75.0, 5.0, 120.0, -900.0)
    )
    return Couch(0.0, (Deck(half_width, thickness, 0.0, shell_mm, shell_hu, fill_hu),))


def _deep(rng: Generator) -> Couch:
    sag, half_width, thickness, shell_mm, shell_hu = rng.uniform(
        (42.0, 190.0, 12.0, 2.0, -300.0), (85.0, 250.0, 45.0, 4.0, 150.0)
    )
    fill_hu = float(rng.choice([-1000.0, -965.0, -900.0]))
    return Couch(sag, (Deck(half_width, thickness, 0.9, shell_mm, shell_hu, fill_hu),))


def _hollow(rng: Generator) -> Couch:
    sag, half_width, thickness, bottom, shell_mm, shell_hu = rng.uniform(
        (0.0, 180.0, 45.0, -1.0, 1.5, -350.0), (45.0, 280.0, 110.0, 1.0, 4.5, 250.0)
    )
    struts = int(rng.choice([0, 0, 1, 2, 4]))
    deck = Deck(half_width, thickness, bottom, shell_mm, shell_hu, tissue.AIR_HU, struts=struts)
    return Couch(sag, (deck,), rails=bool(rng.random() < 0.3))


def _pet_ct(rng: Generator) -> Couch:
    upper = _hollow(rng)
    deck = replace(upper.decks[0], thickness=float(rng.uniform(25.0, 50.0)), struts=0)
    half_width, thickness, gap = rng.uniform((120.0, 30.0, 3.0), (230.0, 80.0, 35.0))
    lower = replace(deck, half_width=half_width, thickness=thickness, bottom=-0.5, gap_mm=gap)
    return replace(upper, decks=(deck, lower))


def _foam(rng: Generator) -> Couch:
    sag, half_width, thickness, fill_hu = rng.uniform(
        (0.0, 190.0, 60.0, -985.0), (30.0, 280.0, 130.0, -700.0)
    )
    return Couch(sag, (Deck(half_width, thickness, 0.3, 1.5, -500.0, fill_hu),))


def _carbon(rng: Generator) -> Couch:
    half_width, thickness, shell_mm, shell_hu, fill_hu = rng.uniform(
        (200.0, 35.0, 1.0, -200.0, -960.0), (265.0, 60.0, 2.5, 350.0, -880.0)
    )
    deck = Deck(half_width, thickness, 3.0, shell_mm, shell_hu, fill_hu, struts=2)
    return Couch(float(rng.choice([0.0, 6.0])), (deck,), rails=bool(rng.random() < 0.5))


def _boards(rng: Generator) -> Couch:
    half_width, thickness, board_hu, gap = rng.uniform(
        (150.0, 8.0, -700.0, 10.0), (270.0, 22.0, 160.0, 55.0)
    )
    board = Deck(half_width, thickness, 1.0, 0.5 * thickness + 1.0, board_hu, board_hu)
    below = (_flat, _standard, _hollow)[int(rng.integers(3))](rng)
    lower = replace(below.decks[0], gap_mm=gap)
    return Couch(0.0, (board, lower))


def _absent(rng: Generator) -> Couch:
    return Couch(float(rng.uniform(0.0, 30.0)), ())


COUCHES: dict[str, tuple[float, Callable[[Generator], Couch]]] = {
    "": (0.2, _standard),
    "flat couch": (0.12, _flat),
    "deep-curved couch": (0.09, _deep),
    "hollow couch": (0.15, _hollow),
    "PET/CT couch": (0.08, _pet_ct),
    "thick foam couch": (0.08, _foam),
    "carbon couch": (0.09, _carbon),
    "double board": (0.07, _boards),
    "no couch": (0.12, _absent),
}
"""Chance and drawing of each kind of couch; the usual curved couch has no name."""


def draw_couch_deck(scene: Scene, couch: Couch, level: float) -> None:
    """Draw a couch with the middle of its upper face at a height, in every plane, in place."""
    image = scene.hu[:, :, :1].copy()
    rise = couch.rise(scene.across)
    for deck in couch.decks:
        level -= deck.gap_mm
        _draw_deck(image, scene, deck, rise=rise, level=level)
        level -= deck.thickness
    if couch.rails and couch.decks:
        _draw_rails(image, scene, couch, level)
    scene.hu[:] = image


def _draw_deck(image: Floats, scene: Scene, deck: Deck, *, rise: Floats, level: float) -> None:
    pixel = scene.space.pixel_mm
    bottom = level - deck.thickness + np.minimum(deck.bottom * rise, 0.9 * deck.thickness + rise)
    if deck.bottom > 1.0:
        bottom = level - deck.thickness * (1.0 - (scene.across / deck.half_width) ** 2)
    inside = np.minimum(level + rise - scene.height, scene.height - bottom)
    inside = smooth_minimum(inside, deck.half_width - np.abs(scene.across), rounding_mm=10.0)
    paint(image, coverage(inside, pixel), deck.shell_hu)
    inner = coverage(inside - deck.shell_mm, pixel)
    for n in range(deck.struts):
        wall = deck.half_width * ((n + 1.0) / (deck.struts + 1.0) * 2.0 - 1.0)
        inner *= coverage(np.abs(scene.across - wall) - 0.5 * deck.shell_mm, pixel)
    paint(image, inner, deck.fill_hu)


def _draw_rails(image: Floats, scene: Scene, couch: Couch, bottom: float) -> None:
    edge = couch.decks[0].half_width + 6.0
    centre = bottom + 0.6 * couch.decks[-1].thickness
    for sign in (-1.0, 1.0):
        off = np.maximum(
            np.abs(scene.across - sign * edge) / 6.0, np.abs(scene.height - centre) / 9
        )
        paint(image, coverage((1.0 - off) * 6.0, scene.space.pixel_mm), 300.0)
