"""Assembly of a synthetic chest: patient, disease, objects, scan."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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
from thorax.phantom.diseases import (
    Findings,
    draw_findings,
    draw_parenchymal_diseases,
    draw_solid_diseases,
    reshape_lungs,
)
from thorax.phantom.lesions import (
    Infection,
    draw_burden,
    draw_consolidation,
    draw_ground_glass,
    place_lesions,
)
from thorax.phantom.lungs import LEFT, RIGHT, Lungs, draw_fissures, draw_parenchyma, shape_lungs
from thorax.phantom.mediastinum import draw_mediastinum
from thorax.phantom.objects import Equipment, draw_equipment, draw_implants, draw_support
from thorax.phantom.scans import acquire_varied, draw_varied_protocol
from thorax.phantom.scans.intensities import randomise_intensities
from thorax.phantom.space import Floats, Space, position_patient
from thorax.phantom.varied_anatomy import draw_varied_habitus
from thorax.phantom.variety import PLAIN, Variety
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
        consolidated: Voxels of the infection that are consolidated, in the shape of the mask; the
            others are ground-glass.
        kinds: Variations that this chest shows, such as ``giant bulla``; none if plain.
    """

    name: str
    scan: Volume
    mask: Volume
    consolidated: NDArray[np.bool_]
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChestPlan:
    """Everything drawn about a patient and the scan before the voxels.

    Args:
        habitus: Build of the patient.
        findings: Diseases other than infection.
        equipment: Objects other than the plain couch.
        protocol: Acquisition parameters.
        kinds: Variations of build and protocol.
        variety: Groups of variations that are on.
    """

    habitus: Habitus
    findings: Findings
    equipment: Equipment
    protocol: Protocol
    kinds: tuple[str, ...]
    variety: Variety


@dataclass(frozen=True)
class Streams:
    """Independent random numbers for each part of a chest, so that one does not move the others."""

    body: Generator
    disease: Generator
    scanner: Generator
    findings: Generator
    equipment: Generator
    intensities: Generator


def chest(number: int, *, seed: int, variety: Variety = PLAIN) -> Chest:
    """Make a synthetic chest CT.

    Args:
        number: Number of the case; every case is another patient.
        seed: Seed of the cohort.
        variety: Groups of variations.

    Returns:
        The same voxels for the same number, seed and variety.

    Raises:
        ValueError: `number` or `seed` is negative.
    """
    if number < 0 or seed < 0:
        raise ValueError(f"`number` and `seed` must be at least 0, got {number} and {seed}")
    streams = Streams(*np.random.default_rng((seed, number)).spawn(6))
    plan = _draw_plan(variety, streams)
    protocol = plan.protocol
    space = position_patient(
        scanner_axes(protocol),
        streams.body,
        roll_rad=protocol.roll_rad,
        gravity_rad=protocol.gravity_rad,
    )
    hu, lungs = _draw_body(space, plan, streams)
    infection = _draw_lungs(hu, space, plan, lungs, streams=streams)
    labels = np.where(infection.mask, np.uint8(INFECTION), lungs.sides)
    image, scan_kinds = _acquire(hu, space, lungs, plan, streams)
    affine = canonical_affine(protocol)
    scan, stored_affine = reorient(image, affine, protocol.orientation)
    mask, _ = reorient(labels, affine, protocol.orientation)
    consolidated, _ = reorient(infection.consolidated, affine, protocol.orientation)
    return Chest(
        f"phantom_{number:03d}",
        make_volume(scan, stored_affine),
        make_volume(mask, stored_affine),
        consolidated,
        (*plan.kinds, *plan.findings.kinds, *plan.equipment.kinds, *scan_kinds),
    )


def _draw_plan(variety: Variety, streams: Streams) -> ChestPlan:
    if variety.anatomy:
        habitus, habitus_kinds = draw_varied_habitus(streams.body)
    else:
        habitus, habitus_kinds = draw_habitus(streams.body), ()
    findings = draw_findings(streams.findings) if variety.diseases else Findings()
    habitus = findings.change_habitus(habitus)
    if variety.scans:
        protocol, protocol_kinds = draw_varied_protocol(habitus, streams.scanner)
    else:
        protocol, protocol_kinds = draw_protocol(habitus, streams.scanner), ()
    equipment = draw_equipment(streams.equipment) if variety.objects else Equipment()
    kinds = (*habitus_kinds, *protocol_kinds)
    return ChestPlan(habitus, findings, equipment, protocol, kinds, variety)


def _draw_body(space: Space, plan: ChestPlan, streams: Streams) -> tuple[Floats, Lungs]:
    habitus, rng = plan.habitus, streams.body
    hu = np.full(space.shape, tissue.AIR_HU, dtype=np.float32)
    outline = body_outline(space, habitus)
    gap_mm = plan.protocol.couch_gap_mm
    if plan.variety.objects:
        equipment = plan.equipment
        draw_support(hu, space, outline, equipment, gap_mm=gap_mm, rng=streams.equipment)
    else:
        draw_couch(hu, space, outline.skin, gap_mm)
    draw_wall(hu, space, habitus, outline, rng=rng)
    draw_abdomen(hu, space, habitus, outline, rng=rng)
    lungs = shape_lungs(space, habitus, outline)
    if plan.findings.kinds:
        findings = plan.findings
        lungs = reshape_lungs(hu, space, habitus, lungs, findings, rng=streams.findings)
    draw_parenchyma(hu, space, habitus, lungs, rng=rng)
    draw_fissures(hu, space, habitus, lungs)
    return hu, lungs


def _draw_lungs(
    hu: Floats, space: Space, plan: ChestPlan, lungs: Lungs, *, streams: Streams
) -> Infection:
    habitus, findings, rng = plan.habitus, plan.findings, streams.disease
    burden = draw_burden(rng)
    infection = place_lesions(space, habitus, lungs, burden, rng=rng)
    draw_ground_glass(hu, space, infection, burden, rng=rng)
    if findings.kinds:
        draw_parenchymal_diseases(hu, space, habitus, lungs, findings, rng=streams.findings)
    trees = [grow_vessels(space, habitus, lungs, label, rng=rng) for label in (LEFT, RIGHT)]
    for arteries, veins in trees:
        draw_vessels(hu, space, arteries, habitus.blood_hu)
        draw_vessels(hu, space, veins, habitus.blood_hu)
    draw_consolidation(hu, space, infection, burden, rng=rng)
    for arteries, _ in trees:
        draw_bronchi(hu, space, arteries)
    if findings.kinds:
        draw_solid_diseases(hu, space, habitus, lungs, findings, rng=streams.findings)
    draw_mediastinum(hu, space, habitus, rng)
    if plan.equipment.kinds:
        draw_implants(hu, space, habitus, lungs, plan.equipment, rng=streams.equipment)
    return infection


def _acquire(
    hu: Floats, space: Space, lungs: Lungs, plan: ChestPlan, streams: Streams
) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    if plan.variety.intensities:
        randomise_intensities(hu, space, lungs, streams.intensities)
    if plan.variety.scans:
        return acquire_varied(hu, plan.protocol, streams.scanner)
    return acquire(hu, plan.protocol, streams.scanner), ()
