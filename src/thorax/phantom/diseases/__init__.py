"""Diseases of lungs and pleura beyond infection.

Lung is what RTOG 1106 calls lung: also collapsed, consolidated, fibrotic and emphysematous lung,
bullae, and tumours inside the lungs. Fluid and air in the pleural space are not lung.
"""

from numpy.random import Generator

from thorax.phantom.anatomy import Habitus
from thorax.phantom.diseases import parenchyma, pleura, solid
from thorax.phantom.diseases.findings import Finding, Findings, draw_findings
from thorax.phantom.diseases.regions import ReshapedLungs, site_of
from thorax.phantom.lungs import Lungs
from thorax.phantom.space import Floats, Space

__all__ = [
    "Finding",
    "Findings",
    "draw_findings",
    "draw_parenchymal_diseases",
    "draw_solid_diseases",
    "reshape_lungs",
]


def reshape_lungs(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> Lungs:
    """Draw pleural effusion, pneumothorax and resected lungs in place; return what is lung."""
    return pleura.reshape(hu, space, habitus, lungs, findings.findings, rng)


def draw_parenchymal_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that vessels run through, such as emphysema and fibrosis, in place."""
    site = site_of(hu, space, habitus, lungs, rng)
    if site is None:
        return
    for finding in findings.findings:
        parenchyma.draw(site, finding)
    if isinstance(lungs, ReshapedLungs):
        parenchyma.draw_compression(site, lungs)


def draw_solid_diseases(
    hu: Floats, space: Space, habitus: Habitus, lungs: Lungs, findings: Findings, *, rng: Generator
) -> None:
    """Draw diseases that replace lung and hide vessels, such as masses and collapse, in place."""
    if isinstance(lungs, ReshapedLungs):
        # Vessels and bronchi do not run through fluid and air.
        hu[lungs.removed] = lungs.removed_hu
    site = site_of(hu, space, habitus, lungs, rng)
    for finding in findings.findings if site else ():
        if site is not None:
            solid.draw(site, finding)
