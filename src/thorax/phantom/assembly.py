"""Put a synthetic chest together: a patient, an illness, a scan."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from thorax.imaging.grid import Volume, make_volume
from thorax.phantom import tissue
from thorax.phantom.abdomen import draw_abdomen
from thorax.phantom.acquisition import (
    Protocol,
    canonical_affine,
    draw_couch,
    draw_protocol,
    expose,
    reorient,
    scanner_axes,
)
from thorax.phantom.anatomy import Habitus, draw_habitus, outline
from thorax.phantom.lesions import Infection, draw_burden, draw_consolidation, draw_glass, infect
from thorax.phantom.lungs import LEFT, RIGHT, Lungs, draw_fissures, draw_parenchyma, shape_lungs
from thorax.phantom.mediastinum import draw_mediastinum
from thorax.phantom.space import Floats, Space, lay_down
from thorax.phantom.vessels import draw_bronchi, draw_vessels, plant
from thorax.phantom.wall import draw_wall

INFECTION = 3


@dataclass(frozen=True, eq=False)
class Chest:
    """A synthetic chest CT and its mask, on one grid.

    Args:
        name: Name of the case, such as ``phantom_007``.
        scan: CT in HU, int16.
        mask: Labels, uint8: 1 left lung, 2 right lung, 3 infection, which lies in the lungs.
    """

    name: str
    scan: Volume
    mask: Volume


def chest(number: int, *, seed: int) -> Chest:
    """Make a synthetic chest CT.

    Args:
        number: Which case; every case is another patient.
        seed: Which cohort.

    Returns:
        The same voxels each time for the same number and seed.

    Raises:
        ValueError: `number` or `seed` is negative.
    """
    if number < 0 or seed < 0:
        raise ValueError(f"`number` and `seed` must be at least 0, got {number} and {seed}")
    build, illness, scanner = np.random.default_rng((seed, number)).spawn(3)
    habitus = draw_habitus(build)
    protocol = draw_protocol(habitus, scanner)
    space = lay_down(scanner_axes(protocol), build, roll_rad=protocol.roll_rad)
    hu, lungs = _draw_body(space, habitus, protocol, build)
    infection = _draw_lungs(hu, space, habitus, lungs, rng=illness)
    labels = np.where(infection.mask, np.uint8(INFECTION), lungs.sides)
    affine = canonical_affine(protocol)
    scan, turned = reorient(expose(hu, protocol, scanner), affine, protocol.orientation)
    mask, _ = reorient(labels, affine, protocol.orientation)
    return Chest(f"phantom_{number:03d}", make_volume(scan, turned), make_volume(mask, turned))


def _draw_body(
    space: Space, habitus: Habitus, protocol: Protocol, rng: Generator
) -> tuple[Floats, Lungs]:
    hu = np.full(space.shape, tissue.AIR_HU, dtype=np.float32)
    around = outline(space, habitus)
    draw_couch(hu, space, around.skin, protocol.couch_gap_mm)
    draw_wall(hu, space, habitus, around, rng=rng)
    draw_abdomen(hu, space, habitus, around, rng=rng)
    lungs = shape_lungs(space, habitus, around)
    draw_parenchyma(hu, space, habitus, lungs, rng=rng)
    draw_fissures(hu, space, habitus, lungs)
    return hu, lungs


def _draw_lungs(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, *, rng: Generator
) -> Infection:
    burden = draw_burden(rng)
    infection = infect(space, habitus, lungs, burden, rng=rng)
    draw_glass(hu, space, infection, burden, rng=rng)
    trees = [plant(space, habitus, lungs, label, rng=rng) for label in (LEFT, RIGHT)]
    for arteries, veins in trees:
        draw_vessels(hu, space, arteries, habitus.blood_hu)
        draw_vessels(hu, space, veins, habitus.blood_hu)
    draw_consolidation(hu, space, infection, burden, rng=rng)
    for arteries, _ in trees:
        draw_bronchi(hu, space, arteries)
    draw_mediastinum(hu, space, habitus, rng)
    return infection
