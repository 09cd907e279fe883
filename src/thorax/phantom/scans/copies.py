"""Varied copies of real scans: other field of view, slices, kernel, noise, export."""

from numpy.random import Generator

from thorax.imaging.grid import Volume


def varied_copy(
    scan: Volume, mask: Volume, rng: Generator
) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Return a varied copy of a scan in HU and of its mask, and the kinds of variation."""
    return scan, mask, ()
