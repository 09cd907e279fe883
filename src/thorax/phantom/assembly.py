"""Assembly of a synthetic chest: patient, disease, scan."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from thorax.imaging.grid import Volume, make_volume
from thorax.phantom import tissue
from thorax.phantom.abdomen import draw_abdomen
from thorax.phantom.acquisition import (
    Protocol,
    acquire,
    canonical_affine,
    draw_couch,
    draw_protocol,
    reorient,
    scanner_axes,
)
from thorax.phantom.anatomy import Habitus, body_outline, draw_habitus
from thorax.phantom.lesions import (
    Infection,
    draw_burden,
    draw_consolidation,
    draw_ground_glass,
    place_lesions,
)
from thorax.phantom.lungs import LEFT, RIGHT, Lungs, draw_fissures, draw_parenchyma, shape_lungs
from thorax.phantom.mediastinum import draw_mediastinum
from thorax.phantom.space import Floats, Space, position_patient
from thorax.phantom.vessels import draw_bronchi, draw_vessels, grow_vessels
from thorax.phantom.wall import draw_wall

INFECTION = 3


@dataclass(frozen=True, eq=False)
class Chest:
    """A synthetic chest CT and its mask, on one grid.

    Args:
        name: Name of the case, such as ``phantom_007``.
        scan: CT in HU, int16.
        mask: Labels, uint8: 1 left lung, 2 right lung, 3 infection, which is inside the lungs.
    """

    name: str
    scan: Volume
    mask: Volume


def chest(number: int, *, seed: int) -> Chest:
    """Make a synthetic chest CT.

    Args:
        number: Number of the case; every case is another patient.
        seed: Seed of the cohort.

    Returns:
        The same voxels for the same number and seed.

    Raises:
        ValueError: `number` or `seed` is negative.
    """
    if number < 0 or seed < 0:
        raise ValueError(f"`number` and `seed` must be at least 0, got {number} and {seed}")
    body, disease, scanner = np.random.default_rng((seed, number)).spawn(3)
    habitus = draw_habitus(body)
    protocol = draw_protocol(habitus, scanner)
    space = position_patient(scanner_axes(protocol), body, roll_rad=protocol.roll_rad)
    hu, lungs = _draw_body(space, habitus, protocol, body)
    infection = _draw_lungs(hu, space, habitus, lungs, rng=disease)
    labels = np.where(infection.mask, np.uint8(INFECTION), lungs.sides)
    affine = canonical_affine(protocol)
    scan, stored_affine = reorient(acquire(hu, protocol, scanner), affine, protocol.orientation)
    mask, _ = reorient(labels, affine, protocol.orientation)
    return Chest(
        f"phantom_{number:03d}", make_volume(scan, stored_affine), make_volume(mask, stored_affine)
    )


def _draw_body(
    space: Space, habitus: Habitus, protocol: Protocol, rng: Generator
) -> tuple[Floats, Lungs]:
    hu = np.full(space.shape, tissue.AIR_HU, dtype=np.float32)
    outline = body_outline(space, habitus)
    draw_couch(hu, space, outline.skin, protocol.couch_gap_mm)
    draw_wall(hu, space, habitus, outline, rng=rng)
    draw_abdomen(hu, space, habitus, outline, rng=rng)
    lungs = shape_lungs(space, habitus, outline)
    draw_parenchyma(hu, space, habitus, lungs, rng=rng)
    draw_fissures(hu, space, habitus, lungs)
    return hu, lungs


def _draw_lungs(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, *, rng: Generator
) -> Infection:
    burden = draw_burden(rng)
    infection = place_lesions(space, habitus, lungs, burden, rng=rng)
    draw_ground_glass(hu, space, infection, burden, rng=rng)
    trees = [grow_vessels(space, habitus, lungs, label, rng=rng) for label in (LEFT, RIGHT)]
    for arteries, veins in trees:
        draw_vessels(hu, space, arteries, habitus.blood_hu)
        draw_vessels(hu, space, veins, habitus.blood_hu)
    draw_consolidation(hu, space, infection, burden, rng=rng)
    for arteries, _ in trees:
        draw_bronchi(hu, space, arteries)
    draw_mediastinum(hu, space, habitus, rng)
    return infection
