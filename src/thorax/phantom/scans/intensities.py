"""Densities and textures beyond the believable, which do not move the contours."""

import numpy as np
from numpy.random import Generator

from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space, coverage, texture

KNOTS_HU = (
    -2000.0,
    -1050.0,
    -985.0,
    -850.0,
    -650.0,
    -400.0,
    -110.0,
    0.0,
    55.0,
    300.0,
    1200.0,
    4000.0,
)
"""Densities that are moved; those between are interpolated."""

SPREAD_HU = (0.0, 15.0, 10.0, 45.0, 60.0, 60.0, 35.0, 20.0, 30.0, 90.0, 250.0, 0.0)
"""Standard deviation of the movement of each."""


def randomise_intensities(hu: Floats, space: Space, lungs: Lungs, rng: Generator) -> None:
    """Move the densities of tissues by a monotone random curve, and add texture, in place."""
    knots = np.array(KNOTS_HU)
    moved = np.sort(knots + rng.normal(0.0, SPREAD_HU))
    hu[:] = np.interp(hu, knots, moved)
    scale_mm = float(np.exp(rng.uniform(np.log(4.0), np.log(60.0))))
    strength_hu = float(rng.gamma(1.5, 15.0))
    inside = coverage(lungs.depth, space.pixel_mm)
    hu += strength_hu * texture(space.axes, rng, scale_mm=scale_mm) * inside
    mottle_hu = float(rng.gamma(1.5, 8.0))
    hu += mottle_hu * texture(space.axes, rng, scale_mm=float(rng.uniform(5.0, 40.0))) * (hu > -500)
